"""Operations that ended long ago go, a small batch at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.pruning import PRUNED_AT_ONCE, prune_operations

_LOOK_SECONDS = 3600.0
_LEAST_KEY_AGE = timedelta(hours=24)
"""The API promises that an idempotency key is known for so long."""

_log = structlog.get_logger(__name__)


def _now() -> datetime:
    return datetime.now(tz=UTC)


class Retention:
    """Prunes operations that ended more than `days` days ago; 0 days: never.

    Each look removes one batch of operations and one of what the workflow engine has kept of its
    own, so that other writers come in between. While there is more, every look does; else one an
    hour.
    """

    def __init__(
        self,
        *,
        database: Database,
        days: float,
        prune_workflows: Callable[[datetime], int],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _now,
    ) -> None:
        """`prune_workflows` removes workflows that ended before an instant; says how many."""
        self._database = database
        self._age = timedelta(days=days)
        self._prune_workflows = prune_workflows
        self._clock = clock
        self._now = now
        self._next_look_at = clock()

    def look(self) -> None:
        """Prune a batch if it is time; cheap, to be called every few seconds."""
        if not self._age or self._clock() < self._next_look_at:
            return
        now = self._now()
        pruned = self._database.write(
            prune_operations, ended_before=now - self._age, keys_before=now - _LEAST_KEY_AGE
        )
        workflows = self._prune_workflows(now - self._age)
        if pruned or workflows:
            _log.info("pruned", operations=pruned, workflows=workflows)
        if pruned < PRUNED_AT_ONCE and workflows < PRUNED_AT_ONCE:
            self._next_look_at = self._clock() + _LOOK_SECONDS
