"""The processes that a test has started, told from the servers that a whole run of tests shares."""

from __future__ import annotations

import psutil

SHARED_PIDS: set[int] = set()
"""Of the servers that fixtures have started for all tests of this process."""


def own_children() -> list[psutil.Process]:
    """Give what runs below this process, but for the shared servers and what runs below them."""
    return [
        each
        for each in psutil.Process().children(recursive=True)
        if SHARED_PIDS.isdisjoint({each.pid, *(parent.pid for parent in each.parents())})
    ]
