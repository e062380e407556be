"""Notices a program that keeps its callers waiting, and ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_GLANCES = 8
"""How often it looks while one patience lasts: it barks late by that part at most."""


class Watchdog:
    """Calls `end` once nobody has got anything for `patience_seconds`; thread-safe.

    `count_progress` gives a number that grows while the program gets on, though its callers wait.
    """

    def __init__(
        self,
        *,
        patience_seconds: float,
        count_progress: Callable[[], int],
        end: Callable[[], None],
    ) -> None:
        self._patience = patience_seconds
        self._count_progress = count_progress
        self._end = end
        self._lock = threading.Condition()
        self._waiting: dict[object, tuple[float, float]] = {}
        self._is_over = False
        self._has_barked = False
        self._thread = threading.Thread(target=self._watch, name="disk-watchdog", daemon=True)
        self._thread.start()

    @property
    def has_barked(self) -> bool:
        """Whether it has called `end`."""
        return self._has_barked

    @contextmanager
    def watching(self, *, limit_seconds: float = float("inf")) -> Iterator[None]:
        """Watch over what is done inside, which may take `limit_seconds` whatever its progress."""
        token, now = object(), time.monotonic()
        with self._lock:
            self._waiting[token] = now, now + limit_seconds
            if len(self._waiting) == 1:
                self._lock.notify()
        try:
            yield
        finally:
            with self._lock:
                del self._waiting[token]

    def close(self) -> None:
        """Stop watching; a second call does nothing."""
        with self._lock:
            self._is_over = True
            self._lock.notify()
        self._thread.join()

    def _watch(self) -> None:
        progress, moved_at = self._count_progress(), time.monotonic()
        with self._lock:
            while not self._is_over:
                self._lock.wait(self._patience / _GLANCES if self._waiting else None)
                now, seen = time.monotonic(), self._count_progress()
                if seen != progress:
                    progress, moved_at = seen, now
                if any(
                    now >= limit or now - max(since, moved_at) >= self._patience
                    for since, limit in self._waiting.values()
                ):
                    self._has_barked = True
                    self._end()
                    return
