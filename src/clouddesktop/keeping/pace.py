"""How fast a scrub may read: so many bytes a second, and less while copies are at work."""

from __future__ import annotations

import time
from collections.abc import Callable

_SHARE_BESIDE_COPIES = 0.25
_LOOK_SECONDS = 0.2
"""How often a waiting scrub looks whether its turn is over, and whether a copy is at work."""


class Pace:
    """Makes its caller wait until what it has read fits the rate; 0 bytes a second is no bound.

    `check` is called at least once for each `spend`, and several times a second while it waits;
    what it raises ends the wait.
    """

    def __init__(
        self,
        *,
        bytes_per_second: float,
        is_copying: Callable[[], bool],
        check: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = bytes_per_second
        self._is_copying = is_copying
        self._check = check
        self._clock = clock
        self._wait = wait
        self._free_at = clock()

    def spend(self, size: int) -> None:
        """Account for `size` bytes that were read."""
        self._check()
        if self._rate <= 0:
            return
        share = _SHARE_BESIDE_COPIES if self._is_copying() else 1
        self._free_at = max(self._clock(), self._free_at) + size / (self._rate * share)
        while (left := self._free_at - self._clock()) > 0:
            self._wait(min(left, _LOOK_SECONDS))
            self._check()
