"""Room for ranges at work, shared by the copies of a worker: each of them always gets some.

3 places    A A A        a copy alone takes all of them
            A A A + B    another one begins at once, over the number, however slow A is
            A A B        until a range of A ends: its place is not given to A again
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from clouddesktop.catalog.copies import CopyRun


class RangeTurns:
    """Gives places to copies. Used by the tasks of one event loop."""

    def __init__(self, places: int) -> None:
        """Bound the ranges at work by `places`, but for the first of each copy."""
        self._places = places
        self._held: dict[CopyRun, int] = {}
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def joined(self, run: CopyRun) -> AsyncIterator[None]:
        """Count a run among those that have a place or want one."""
        self._held[run] = 0
        try:
            yield
        finally:
            del self._held[run]
            await self._tell()

    @asynccontextmanager
    async def taken(self, run: CopyRun) -> AsyncIterator[None]:
        """Take a place for a range of a run that has joined, as soon as there is one for it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._may_take(run))
            self._held[run] += 1
        try:
            yield
        finally:
            self._held[run] -= 1
            await self._tell()

    def _may_take(self, run: CopyRun) -> bool:
        if not self._held[run]:
            return True
        without = sum(not held for held in self._held.values())
        return sum(self._held.values()) + without < self._places

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
