"""Following an operation to its end: progress, outages, Ctrl-C, and what it came to."""

from __future__ import annotations

import asyncio
import time

import typer
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.cli.progress import open_reporter
from clouddesktop.cli.texts import format_seconds, format_size
from clouddesktop.client import (
    CallError,
    Connection,
    OperationFailedError,
    OperationView,
    Phase,
    Progress,
)
from clouddesktop.client.operations import WAIT_SECONDS

_PHASE_WORDS = {
    Phase.QUEUED: "waiting for a worker",
    Phase.PLANNING: "looking at the disk",
    Phase.COPYING: "copying",
    Phase.SEALING: "sealing",
    Phase.PUBLISHING: "publishing",
    Phase.ROLLING_BACK: "rolling back",
    Phase.DONE: "done",
}


async def follow(
    connection: Connection, operation_id: str, *, timeout_seconds: float | None
) -> Operation:
    """Wait for the operation's end, showing how far it is.

    Ctrl-C leaves the operation running, and says how to pick it up again.

    Raises:
        OperationFailedError: the operation ended with an error.
    """
    started_at = time.monotonic()
    seen = _Seen()
    try:
        with open_reporter() as reporter:

            def report(view: OperationView) -> None:
                if seen.is_outage:
                    seen.is_outage = False
                    reporter.note("The server answers again.")
                if view.progress is not None and not view.operation.HasField("error"):
                    seen.progress = view.progress
                    reporter.report(
                        _PHASE_WORDS[view.progress.phase],
                        view.progress.bytes_done,
                        view.progress.bytes_total,
                    )

            def note_outage(error: CallError) -> None:
                if not seen.is_outage:
                    seen.is_outage = True
                    reporter.note(f"{error.message} Still trying.")

            operation = await connection.wait_operation(
                operation_id,
                on_progress=report,
                on_outage=note_outage,
                timeout_seconds=WAIT_SECONDS if timeout_seconds is None else timeout_seconds,
            )
    except asyncio.CancelledError:
        typer.echo(
            f"The operation {operation_id} goes on at the server. "
            f"`clouddesktop operation wait {operation_id}` picks it up again.",
            err=True,
        )
        raise
    check(operation)
    typer.echo(_summarize(seen.progress, time.monotonic() - started_at), err=True)
    return operation


def check(operation: Operation) -> None:
    """Raise OperationFailedError if the operation ended with an error."""
    if operation.done and operation.HasField("error"):
        raise OperationFailedError(operation)


class _Seen:
    progress: Progress | None = None
    is_outage: bool = False


def _summarize(progress: Progress | None, seconds: float) -> str:
    text = f"Done in {format_seconds(seconds)}"
    if progress is None or not progress.bytes_done:
        return f"{text}."
    return (
        f"{text}: {format_size(progress.bytes_done)} of data, of which "
        f"{format_size(progress.bytes_new)} new (stored as {format_size(progress.bytes_stored)}), "
        f"{format_size(progress.bytes_deduplicated)} known already, "
        f"{format_size(progress.bytes_zero)} zero."
    )
