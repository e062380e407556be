"""Queries of long work, which a database that is away, busy or full must not end at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import Any, TypeVar

import structlog

from clouddesktop.catalog.backend import DatabaseUnavailableError, DatabaseUnusableError
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.quotas import QuotaExceededError
from clouddesktop.errors import ResourceExhaustedError, UnavailableError

T = TypeVar("T")

_TRIES = 20
_PAUSE_SECONDS = 0.25
"""Five seconds in all: what the ranges at work give back when they fail for want of space."""

_TOLD_EVERY = 240
"""Tries, a minute or more, from the first seconds on."""

_log = structlog.get_logger(__name__)


class PatientDatabase:
    """A database whose user waits for as long as it is out of reach. Call it from threads.

    It waits, too, while the database refuses, such as for a password that was changed: the work
    goes on once that is mended, and without the database it could not even say that it has failed.

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
        for failures in count():
            try:
                return call()
            except QuotaExceededError:
                raise  # only people make room there
            except (DatabaseUnavailableError, DatabaseUnusableError) as error:
                if failures % _TOLD_EVERY == _TRIES:
                    _log.warning("long work waits for the database", why=error.message)
                self._check()
            except (UnavailableError, ResourceExhaustedError):
                tries_left -= 1
                if not tries_left:
                    raise
            time.sleep(_PAUSE_SECONDS)
        raise AssertionError("The loop has no end.")
