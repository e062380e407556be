"""The processes that a test has started, told from the servers that a whole run of tests shares."""

from __future__ import annotations

import psutil

SHARED_PIDS: set[int] = set()
"""Of the servers that fixtures have started for all tests of this process."""


def own_children() -> list[psutil.Process]:
    """Give what runs below this process, but for the shared servers and what runs below them."""
    return [each for each in psutil.Process().children(recursive=True) if _is_own(each)]


def _is_own(process: psutil.Process) -> bool:
    try:
        lineage = {process.pid, *(parent.pid for parent in process.parents())}
    except psutil.NoSuchProcess:
        return False  # it has ended since it was listed, as PostgreSQL's helpers do all the time
    return SHARED_PIDS.isdisjoint(lineage)
