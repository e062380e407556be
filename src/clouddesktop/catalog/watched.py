"""Connections to PostgreSQL that do not wait for ever for a server that says nothing.

    statement sent ── silence ──> another connection asks: is that session at work?
                                      yes   wait on: a long statement, or a lock
                                      no, or no answer   the connection is cut

The kernel notices a machine that is gone, but not a server whose disk hangs, nor a proxy before a
server that is gone: those take what is sent, and acknowledge it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.waiting import Ready

if TYPE_CHECKING:
    from psycopg.abc import PQGen

T = TypeVar("T")

_SILENT_SECONDS = 10.0
"""How long an answer may take before somebody asks after it."""

_ANSWER_SECONDS = 5.0
"""How long a server may take over a question that needs no disk."""

_AT_WORK = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'"


class _Question(psycopg.Connection[Any]):
    """A connection that is given up when it does not answer soon."""

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        asked = _watched(gen, seconds=_ANSWER_SECONDS, is_at_work=lambda: False, cut=self.close)
        return super().wait(asked, *args, **kwargs)


class WatchedConnection(psycopg.Connection[Any]):
    """A connection whose server is asked after when it is silent; see the module's docstring."""

    parameters: dict[str, Any]

    @classmethod
    def open(cls, *args: Any, **parameters: Any) -> WatchedConnection:
        """Connect as `psycopg.connect` does."""
        connection = cls.connect(*args, **parameters)
        connection.parameters = parameters
        return connection

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        asked = _watched(gen, seconds=_SILENT_SECONDS, is_at_work=self._is_at_work, cut=self.close)
        return super().wait(asked, *args, **kwargs)

    def _is_at_work(self) -> bool:
        try:
            with _Question.connect(**self.parameters) as other:
                found = other.execute(_AT_WORK, (self.info.backend_pid,)).fetchone()
        except psycopg.Error:
            return False
        return found is not None


def _watched(
    answer: PQGen[T], *, seconds: float, is_at_work: Callable[[], bool], cut: Callable[[], None]
) -> PQGen[T]:
    """Go between the driver's wait and what it waits for; it wakes up several times a second."""
    try:
        wanted = next(answer)
        asked_at = time.monotonic()
        while True:
            came = yield wanted
            if came == Ready.NONE and time.monotonic() - asked_at > seconds:
                if not is_at_work():
                    cut()
                    raise psycopg.OperationalError("the server has not answered for some time")
                asked_at = time.monotonic()
            wanted = answer.send(came)
    except StopIteration as end:
        result: T = end.value
        return result
