"""Operations as a client sees them: how far they are, and how to wait for their end."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, fields

from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import CopyDesktopImageMetadata
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.client.calls import CallError
from clouddesktop.errors import Code, DeadlineExceededError
from clouddesktop.model.operation import Phase, Progress

WAIT_SECONDS = 24 * 3600.0
"""How long a wait lasts when nobody says otherwise: longer than any copy should take."""

POLL_SECONDS = 0.5
"""The longest pause between two looks at an operation; the first ones are shorter."""

_FIRST_POLL_SECONDS = 0.05
_POLL_GROWTH = 1.5
_LONGEST_OUTAGE_PAUSE_SECONDS = 5.0
_PROGRESS_KEY = "x-operation-progress"
_PASSING_CODES = (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)


class WaitTimeoutError(DeadlineExceededError):
    """The operation was not done when the caller's time was up; it goes on at the server."""

    reason = "WAIT_TIMEOUT"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationView:
    """An operation at one moment; `progress` is None when the server did not send it."""

    operation: Operation
    progress: Progress | None = None


def find_progress(metadata: Iterable[tuple[str, str | bytes]] | None) -> Progress | None:
    """Read the progress out of trailing metadata; None when it is missing or not understood.

    Figures that this version does not know are left out, so that a newer server may send more.
    """
    raw = next((value for key, value in metadata or () if key == _PROGRESS_KEY), None)
    if raw is None:
        return None
    try:
        record = json.loads(raw)
        counts = {
            each.name: int(record.get(each.name, 0))
            for each in fields(Progress)
            if each.name != "phase"
        }
        return Progress(phase=Phase(record["phase"]), **counts)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def image_id_of(operation: Operation) -> str:
    """Say which image a copy makes or made; empty when the operation is of another kind."""
    metadata = CopyDesktopImageMetadata()
    return metadata.image_id if operation.metadata.Unpack(metadata) else ""


async def wait_until_done(
    get_view: Callable[[], Awaitable[OperationView]],
    *,
    operation_id: str,
    on_progress: Callable[[OperationView], None],
    on_outage: Callable[[CallError], None],
    timeout_seconds: float,
    poll_seconds: float,
) -> Operation:
    """Look until the operation is done; see Connection.wait_operation."""
    deadline = time.monotonic() + timeout_seconds
    pause_seconds = min(_FIRST_POLL_SECONDS, poll_seconds)
    longest_pause_seconds = poll_seconds
    was_seen = False
    while True:
        try:
            view = await get_view()
        except CallError as error:
            if not was_seen or error.code not in _PASSING_CODES:
                raise
            on_outage(error)
            longest_pause_seconds = max(poll_seconds, _LONGEST_OUTAGE_PAUSE_SECONDS)
        else:
            if longest_pause_seconds != poll_seconds:
                longest_pause_seconds = pause_seconds = poll_seconds
            was_seen = True
            on_progress(view)
            if view.operation.done:
                return view.operation
        left_seconds = deadline - time.monotonic()
        if left_seconds <= 0:
            raise WaitTimeoutError(
                f"The operation {operation_id} is not done after {math.ceil(timeout_seconds)} s.",
                remedy="It goes on at the server: "
                f"`clouddesktop operation wait {operation_id}` picks it up again.",
            )
        await asyncio.sleep(min(pause_seconds, left_seconds))
        pause_seconds = min(pause_seconds * _POLL_GROWTH, longest_pause_seconds)
