"""How fast a scrub may read; the clock is the test's own."""

from __future__ import annotations

import pytest

from clouddesktop.keeping.pace import Pace
from clouddesktop.keeping.runs import RunInterruptedError


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0
        self.checks = 0
        self.checks_left = 1000

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def check(self) -> None:
        self.checks += 1
        if self.checks > self.checks_left:
            raise RunInterruptedError("The turn is over.")

    def pace(self, rate: float, *, is_copying: bool = False) -> Pace:
        return Pace(
            bytes_per_second=rate,
            is_copying=lambda: is_copying,
            check=self.check,
            clock=lambda: self.now,
            wait=self.wait,
        )


@pytest.mark.parametrize(("is_copying", "seconds"), [(False, 10), (True, 40)])
def test_reading_keeps_to_the_rate(is_copying: bool, seconds: float) -> None:
    """A quarter of it while copies are at work."""
    clock = Clock()
    pace = clock.pace(1000, is_copying=is_copying)
    for _ in range(10):
        pace.spend(1000)
    assert clock.now == pytest.approx(100 + seconds)


def test_time_that_was_not_used_is_not_saved_up() -> None:
    """After a pause there is no burst."""
    clock = Clock()
    pace = clock.pace(1000)
    clock.now += 500
    pace.spend(2000)
    assert clock.now == pytest.approx(602)


@pytest.mark.parametrize("rate", [0, -5])
def test_without_a_rate_nobody_waits(rate: float) -> None:
    """The turn is looked at all the same."""
    clock = Clock()
    clock.pace(rate).spend(10**12)
    assert (clock.now, clock.checks) == (100, 1)


def test_a_wait_ends_with_the_turn() -> None:
    """Within a moment, however slow the rate is."""
    clock = Clock()
    clock.checks_left = 3
    with pytest.raises(RunInterruptedError):
        clock.pace(1).spend(10**9)
    assert clock.now < 101
