"""How often, how fast and how many at a time: what requests to another server may cost."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clouddesktop.errors import UnavailableError

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 20.0
_LONGEST_ASKED_SECONDS = 120.0


class RetriesExhaustedError(UnavailableError):
    """The other server failed again and again; what was fetched again has reached its bound."""

    reason = "RETRIES_EXHAUSTED"


class RetryBudget:
    """What one open file may cost in failures: in a row, and in all.

    Bytes are no part of it: a transfer goes on from where it was, so none is fetched again.
    Thread-safe. `wait` is for tests.
    """

    def __init__(
        self, *, in_a_row: int, in_all: int, wait: Callable[[float], None] = time.sleep
    ) -> None:
        self._in_a_row = in_a_row
        self._left = in_all
        self._wait = wait
        self._lock = threading.Lock()

    def spend(self, failures: int, error: UnavailableError) -> None:
        """Pause before the next attempt, longer each time.

        Args:
            failures: how often it has failed in a row.
            error: why; it may know when to come back.

        Raises:
            RetriesExhaustedError: it has failed often enough.
        """
        with self._lock:
            self._left -= 1
            is_spent = self._left < 0
        if failures >= self._in_a_row or is_spent:
            why = "too often in all" if is_spent else f"{failures} times in a row"
            raise RetriesExhaustedError(
                f"{error.message.rstrip('.')} ({why}).",
                remedy=error.remedy or "Look at the other server, then try again.",
                facts=error.facts,
            ) from error
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** (failures - 1), _LONGEST_PAUSE_SECONDS)
        pause *= random.uniform(0.5, 1.0)  # noqa: S311  (spreads retries)
        if error.retry_after_seconds is not None:
            pause = max(pause, min(error.retry_after_seconds, _LONGEST_ASKED_SECONDS))
        self._wait(pause)


class AdaptiveLimit:
    """How many requests are in flight. Thread-safe.

    One more after each round that went well, half after a failure, as TCP does with its window.
    """

    def __init__(self, *, first: int, most: int) -> None:
        self._limit = float(first)
        self._most = most
        self._running = 0
        self._changed = threading.Condition()

    @property
    def limit(self) -> int:
        return int(self._limit)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn; an exception of the body counts as a failure."""
        with self._changed:
            self._changed.wait_for(lambda: self._running < int(self._limit))
            self._running += 1
        try:
            yield
        except UnavailableError:
            self._end(max(1.0, self._limit / 2))
            raise
        except BaseException:
            self._end(self._limit)
            raise
        self._end(min(self._most, self._limit + 1 / self._limit))

    def _end(self, limit: float) -> None:
        with self._changed:
            self._running -= 1
            self._limit = limit
            self._changed.notify_all()
