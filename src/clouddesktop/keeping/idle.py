"""Collections that begin by themselves, while nothing is copied."""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy as sa
import structlog

from clouddesktop.catalog.collecting import list_dead_contents, list_unneeded_packs
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.keeper_runs import RunActiveError
from clouddesktop.catalog.operations import list_unfinished
from clouddesktop.keeping.runs import RunDesk
from clouddesktop.model.keeping import RunKind

_LOOK_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class IdleCollections:
    """Starts a collection once there has been something to collect for `after_seconds`.

    The time is this process's own and decides only when to look, never what goes. 0 seconds: never.
    """

    def __init__(
        self,
        *,
        database: Database,
        desk: RunDesk,
        after_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._desk = desk
        self._after_seconds = after_seconds
        self._clock = clock
        self._seen_at: float | None = None
        self._next_look_at = clock()

    def look(self) -> None:
        """Start a collection if it is time; cheap, to be called every few seconds."""
        now = self._clock()
        if not self._after_seconds or now < self._next_look_at:
            return
        self._next_look_at = now + min(_LOOK_SECONDS, self._after_seconds / 2)
        if not self._database.read(_has_garbage):
            self._seen_at = None
            return
        if self._seen_at is None:
            self._seen_at = now
        if now - self._seen_at >= self._after_seconds and not self._database.read(list_unfinished):
            self._seen_at = None
            self._start()

    def _start(self) -> None:
        try:
            # What an older database has never heard of is for a person to decide about.
            self._desk.start(RunKind.GC, options={"keep_unknown": True}, created_by="")
        except RunActiveError:
            _log.info("a collection runs already")


def _has_garbage(connection: sa.Connection) -> bool:
    return bool(list_dead_contents(connection, limit=1)) or bool(
        list_unneeded_packs(connection, limit=1)
    )
