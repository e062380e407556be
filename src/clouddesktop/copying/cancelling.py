"""Noticing, in the middle of long work, that the copy was cancelled."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from clouddesktop.catalog.backend import DatabaseUnavailableError
from clouddesktop.catalog.cancelling import find_failure
from clouddesktop.catalog.copies import CopyRun
from clouddesktop.catalog.engine import Database
from clouddesktop.errors import OperationCancelledError

_PAUSE_SECONDS = 0.25
"""Between two looks: a look costs about as much as hashing 100 KiB."""


class Cancellation:
    """Looks from time to time whether one run should stop. Thread-safe, and cheap to ask often."""

    def __init__(self, *, database: Database, run: CopyRun) -> None:
        self._database = database
        self._run = run
        self._lock = threading.Lock()
        self._next_look = 0.0
        self._is_cancelled = False

    def check(self) -> None:
        """Raise if the operation had an error at the last look, not long ago; see `look`."""
        if self._is_due():
            self.look()
        self._raise_if_cancelled()

    def look(self) -> None:
        """Raise if the operation has an error, its own or CANCELLED: its work has become useless.

        Raises:
            OperationCancelledError: it has one; the one that it has stays.
        """
        if not self._is_cancelled:
            with suppress(DatabaseUnavailableError):  # while it is away, nobody can cancel
                self._is_cancelled = self._database.read(find_failure, self._run) is not None
        self._raise_if_cancelled()

    def _raise_if_cancelled(self) -> None:
        if self._is_cancelled:
            raise OperationCancelledError(f"The operation {self._run.operation_id} was cancelled.")

    def _is_due(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if self._is_cancelled or now < self._next_look:
                return False
            self._next_look = now + _PAUSE_SECONDS
            return True
