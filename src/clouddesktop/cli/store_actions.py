"""What the verbs of `clouddesktop store` do, once a server is to be talked to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import typer

from clouddesktop.cli.options import Globals, Style
from clouddesktop.cli.progress import open_reporter
from clouddesktop.cli.render import Columns, print_many, print_one
from clouddesktop.cli.session import run_session
from clouddesktop.cli.store_texts import describe, print_run, print_stats
from clouddesktop.client import CallError, Connection
from clouddesktop.client.operations import WAIT_SECONDS
from clouddesktop.client.store import Run, StoreConnection, open_store_connection

_Result = TypeVar("_Result")

_RUN_COLUMNS: Columns = {
    "ID": "id",
    "KIND": "kind",
    "STATE": "state",
    "CREATED": "created_at",
    "ENDED": "ended_at",
}


def stats(options: Globals) -> None:
    print_stats(_run(options, lambda store: store.get_stats()), options.style)


def start(
    options: Globals,
    kind: str,
    run_options: Mapping[str, Any],
    *,
    is_async: bool,
    timeout_seconds: float | None,
) -> None:
    """Start a run, follow it, and print what it came to; options that are None are not sent."""

    async def work(store: StoreConnection) -> Run:
        given = {name: value for name, value in run_options.items() if value is not None}
        run = await store.start_run(kind, **given)
        if is_async:
            return run
        return await _follow(store, run["id"], timeout_seconds)

    run = _run(options, work)
    if is_async:
        print_one(run, options.style, _RUN_COLUMNS)
    else:
        print_run(run, options.style)


def hold(options: Globals, *, seconds: int, timeout_seconds: float | None) -> None:
    """Start a hold, wait until it has begun, and print it."""

    async def work(store: StoreConnection) -> Run:
        run = await store.start_run("hold", seconds=seconds)
        return await store.wait_begun(
            run["id"],
            timeout_seconds=WAIT_SECONDS if timeout_seconds is None else timeout_seconds,
        )

    print_one(_run(options, work), options.style, _RUN_COLUMNS)


def wait(options: Globals, run_id: str, *, timeout_seconds: float | None) -> None:
    print_run(_run(options, lambda store: _follow(store, run_id, timeout_seconds)), options.style)


def stop(options: Globals, run_id: str) -> None:
    run = _run(options, lambda store: store.stop_run(run_id))
    print_one(run, options.style, _RUN_COLUMNS)


def list_runs(options: Globals, *, limit: int) -> None:
    runs = _run(options, lambda store: store.list_runs(limit=limit))
    style = options.style
    if style in {None, Style.TEXT, Style.TABLE}:
        runs = [{"ended_at": "", **each} for each in runs]
    print_many(runs, style, _RUN_COLUMNS)


def _run(options: Globals, work: Callable[[StoreConnection], Awaitable[_Result]]) -> _Result:
    async def converse(connection: Connection) -> _Result:
        async with open_store_connection(connection) as store:
            return await work(store)

    return run_session(options, converse)


async def _follow(store: StoreConnection, run_id: str, timeout_seconds: float | None) -> Run:
    """Wait for the run's end, showing how far it is; Ctrl-C leaves it running."""
    is_out = False
    try:
        with open_reporter() as reporter:

            def report(run: Run) -> None:
                nonlocal is_out
                if is_out:
                    is_out = False
                    reporter.note("The server answers again.")
                reporter.report(describe(run), 0, 0)

            def note_outage(error: CallError) -> None:
                nonlocal is_out
                if not is_out:
                    is_out = True
                    reporter.note(f"{error.message} Still trying.")

            return await store.wait_run(
                run_id,
                on_progress=report,
                on_outage=note_outage,
                timeout_seconds=WAIT_SECONDS if timeout_seconds is None else timeout_seconds,
            )
    except asyncio.CancelledError:
        typer.echo(
            f"The run {run_id} goes on at the server. `clouddesktop store wait {run_id}` picks it "
            f"up again, `clouddesktop store stop {run_id}` ends it.",
            err=True,
        )
        raise
