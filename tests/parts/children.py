"""The processes that a test has started, told from the servers that a whole run of tests shares."""

from __future__ import annotations

from multiprocessing import resource_tracker

import psutil

SHARED_PIDS: set[int] = set()
"""Of the servers that fixtures have started for all tests of this process."""


def share_resource_tracker() -> None:
    """Start the helper that Python keeps, once it has spawned a process, for as long as it runs."""
    before = {each.pid for each in psutil.Process().children()}
    resource_tracker.ensure_running()
    SHARED_PIDS.update(each.pid for each in psutil.Process().children() if each.pid not in before)


def own_children() -> list[psutil.Process]:
    """Give what runs below this process, but for the shared servers and what runs below them."""
    return [each for each in psutil.Process().children(recursive=True) if _is_own(each)]


def _is_own(process: psutil.Process) -> bool:
    try:
        lineage = {process.pid, *(parent.pid for parent in process.parents())}
    except psutil.NoSuchProcess:
        return False  # it has ended since it was listed, as PostgreSQL's helpers do all the time
    return SHARED_PIDS.isdisjoint(lineage)
