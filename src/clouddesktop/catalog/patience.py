"""Queries of long work, which a database that is away, busy or full must not end at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from clouddesktop.catalog.backend import DatabaseUnavailableError
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.quotas import QuotaExceededError
from clouddesktop.errors import ResourceExhaustedError, UnavailableError

T = TypeVar("T")

_TRIES = 20
_PAUSE_SECONDS = 0.25
"""Five seconds in all: what the ranges at work give back when they fail for want of space."""


class PatientDatabase:
    """A database whose user waits for as long as it is out of reach. Call it from threads.

    A write whose connection broke may have been done, and is done again: queries that are given
    here may be repeated. What is full is tried again for some seconds only.
    """

    def __init__(self, database: Database, *, check: Callable[[], None]) -> None:
        """`check` is called between two tries, and raises when nobody wants the result any more."""
        self._database = database
        self._check = check

    def read(self, query: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Read as `Database.read` does."""
        return self._wait_for(lambda: self._database.read(query, *args, **kwargs))

    def write(self, query: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Write as `Database.write` does."""
        return self._wait_for(lambda: self._database.write(query, *args, **kwargs))

    def _wait_for(self, call: Callable[[], T]) -> T:
        tries_left = _TRIES
        while True:
            try:
                return call()
            except QuotaExceededError:
                raise  # only people make room there
            except DatabaseUnavailableError:
                self._check()
            except (UnavailableError, ResourceExhaustedError):
                tries_left -= 1
                if not tries_left:
                    raise
            time.sleep(_PAUSE_SECONDS)
