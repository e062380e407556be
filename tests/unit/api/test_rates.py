"""Rates: each subject by itself, refilled steadily, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped, unused-ignore]  # ships no types
    RetryInfo,
)

from clouddesktop.api import rates
from clouddesktop.api.calls import Call, Method
from clouddesktop.api.rates import RateLimit, RateLimitedError
from clouddesktop.api.status import to_status
from clouddesktop.catalog.engine import Database
from clouddesktop.errors import Code
from clouddesktop.iam.access import Access
from clouddesktop.model.access import Subject
from unit.api.serving import make_database


class Clock:
    """Stands still but for `seconds`."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Callers:
    """Calls through a rate limit as any subject."""

    def __init__(self, limit: RateLimit, database: Database) -> None:
        self._limit = limit
        self._access = Access(database=database)

    async def call(self, subject_id: str | None) -> None:
        async def answer(_request: Message | None, _call: Call) -> Message:
            return Empty()

        call = Call(
            method=Method(path="/s/m", request_class=None, answer=answer), metadata={}, peer=""
        )
        if subject_id is not None:
            call.authenticated = await self._access.find_caller(Subject(id=subject_id))
        await self._limit(call, lambda each: answer(None, each))

    async def count(self, subject_id: str, calls: int) -> int:
        """Call that often, and count what gets through."""
        passed = 0
        for _ in range(calls):
            try:
                await self.call(subject_id)
            except RateLimitedError:
                continue
            passed += 1
        return passed


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def callers(tmp_path: Path, clock: Clock) -> Iterator[Callers]:
    """Two calls a second, five at once."""
    database = make_database(tmp_path)
    yield Callers(RateLimit(calls_per_second=2, burst=5, clock=clock), database)
    database.close()


async def test_a_burst_passes_and_then_the_rate(callers: Callers, clock: Clock) -> None:
    """However long the pause before, no more than the burst is saved up."""
    assert await callers.count("ajea", 20) == 5
    clock.seconds += 1.5
    assert await callers.count("ajea", 20) == 3
    clock.seconds += 3600
    assert await callers.count("ajea", 20) == 5


async def test_refused_calls_cost_nothing(callers: Callers, clock: Clock) -> None:
    """Who goes on calling gets its rate all the same."""
    await callers.count("ajea", 5)
    passed = 0
    for _ in range(100):
        clock.seconds += 0.1
        passed += await callers.count("ajea", 3)
    assert passed == pytest.approx(20, abs=1)


async def test_a_refusal_says_when_to_come_back(callers: Callers, clock: Clock) -> None:
    """And then the call gets through."""
    await callers.count("ajea", 5)
    clock.seconds += 0.1
    with pytest.raises(RateLimitedError) as caught:
        await callers.call("ajea")
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    retry = RetryInfo()
    assert any(each.Unpack(retry) for each in to_status(caught.value.failure, "r").details)
    seconds = retry.retry_delay.ToMilliseconds() / 1000
    assert seconds == pytest.approx(0.4)
    clock.seconds += seconds + 0.001
    assert await callers.count("ajea", 3) == 1


async def test_subjects_do_not_share(callers: Callers) -> None:
    """And calls of nobody are not counted."""
    await callers.count("ajea", 20)
    assert await callers.count("ajeb", 20) == 5
    for _ in range(20):
        await callers.call(None)


async def test_memory_is_bounded(
    callers: Callers, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has not called for the longest is forgotten; who calls on is not."""
    monkeypatch.setattr(rates, "_MOST_SUBJECTS", 10)
    await callers.count("ajea", 20)
    for number in range(100):
        await callers.call(f"aje{number}")
        assert await callers.count("ajea", 1) == 0
    assert len(callers._limit._buckets) == 10
    clock.seconds += 0.5
    assert await callers.count("ajea", 5) == 1
