"""Places for ranges: a copy never waits for another one to let go of more than its share."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from clouddesktop.catalog.copies import CopyRun
from clouddesktop.copying.turns import RangeTurns
from clouddesktop.model.image import ComputeImage

SOURCE = ComputeImage(id="golden", folder_id="f", source="images", location="golden.qcow2")
RANGES = 10


class Copy:
    """A run that takes as many places as it can get, and keeps them until it is told to end."""

    def __init__(self, turns: RangeTurns, name: str) -> None:
        self.turns = turns
        self.run = CopyRun(
            operation_id=name,
            image_id=name,
            compute_image=SOURCE,
            epoch=1,
            attempts=1,
            failed=False,
        )
        self.held = 0
        self.end = asyncio.Event()

    async def begin(self, tasks: asyncio.TaskGroup) -> None:
        for _ in range(RANGES):
            tasks.create_task(self._take())
        await settle()

    async def _take(self) -> None:
        async with self.turns.taken(self.run):
            self.held += 1
            await self.end.wait()
            self.held -= 1


async def settle() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


async def test_a_copy_alone_takes_all() -> None:
    """Nobody else would use them."""
    turns = RangeTurns(4)
    copy = Copy(turns, "one")
    async with turns.joined(copy.run), asyncio.TaskGroup() as tasks:
        await copy.begin(tasks)
        assert copy.held == 4
        copy.end.set()


async def test_a_place_is_kept_for_each_copy_that_has_none() -> None:
    """However slow those are that have begun, the next one begins at once."""
    turns = RangeTurns(5)
    copies = [Copy(turns, name) for name in ("one", "two", "three", "four")]
    async with AsyncExitStack() as stack:
        for each in copies:
            await stack.enter_async_context(turns.joined(each.run))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        for each in copies:
            await each.begin(tasks)
        assert [each.held for each in copies] == [2, 1, 1, 1]
        copies[0].end.set()
        await settle()
        assert [each.held for each in copies] == [0, 2, 1, 1]  # one is kept for the first
        for each in copies:
            each.end.set()


async def test_a_copy_that_leaves_gives_its_place_up() -> None:
    """What was kept for it goes to the others."""
    turns = RangeTurns(3)
    copy, idle = Copy(turns, "busy"), Copy(turns, "idle")
    async with turns.joined(copy.run), asyncio.TaskGroup() as tasks:
        async with turns.joined(idle.run):
            await copy.begin(tasks)
            assert copy.held == 2
        await settle()
        assert copy.held == 3
        copy.end.set()


async def test_a_copy_begins_at_once_where_all_places_are_taken() -> None:
    """By one that stands still; and the first gets none back before it has fewer."""
    turns = RangeTurns(3)
    slow, late = Copy(turns, "slow"), Copy(turns, "late")
    async with turns.joined(slow.run), asyncio.TaskGroup() as tasks:
        await slow.begin(tasks)
        async with turns.joined(late.run):
            await late.begin(tasks)
            assert (slow.held, late.held) == (3, 1)
            late.end.set()
            await settle()
            assert (slow.held, late.held) == (3, 0)
        slow.end.set()
