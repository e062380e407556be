"""Writes of long work that a busy database or a full disk must not end at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.quotas import QuotaExceededError
from clouddesktop.errors import ResourceExhaustedError, UnavailableError

T = TypeVar("T")

_TRIES = 20
_PAUSE_SECONDS = 0.25
"""Five seconds in all: what the ranges at work give back when they fail for want of space."""


def write_patiently(database: Database, query: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Write as `Database.write` does, and try again for some seconds. Call it from a thread."""
    for tries_left in reversed(range(_TRIES)):
        try:
            return database.write(query, *args, **kwargs)
        except QuotaExceededError:
            raise  # only people make room there
        except (UnavailableError, ResourceExhaustedError):
            if not tries_left:
                raise
            time.sleep(_PAUSE_SECONDS)
    raise AssertionError("The last try returns or raises.")
