"""How often each subject may call: a bucket of tokens each, filled at a steady rate."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from google.protobuf.message import Message

from clouddesktop.api.calls import Call, Proceed
from clouddesktop.errors import ResourceExhaustedError

_MOST_SUBJECTS = 10_000
"""Who has not called for the longest is forgotten beyond that: it begins with a full bucket."""


class RateLimitedError(ResourceExhaustedError):
    """The subject calls more often than it may; nothing was done."""

    reason = "RATE_LIMITED"


class RateLimit:
    """Lets each subject make `calls_per_second` in the long run, and `burst` calls at once.

    Calls of methods without a token are not counted: nobody is known to count them for.
    """

    def __init__(
        self,
        *,
        calls_per_second: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with full buckets; `clock` gives seconds."""
        self._calls_per_second = calls_per_second
        self._burst = float(burst)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        if call.authenticated is not None:
            self._take(call.authenticated.id)
        return await proceed(call)

    def _take(self, subject_id: str) -> None:
        now = self._clock()
        tokens, filled_at = self._buckets.pop(subject_id, (self._burst, now))
        tokens = min(self._burst, tokens + (now - filled_at) * self._calls_per_second)
        is_refused = tokens < 1
        self._buckets[subject_id] = (tokens if is_refused else tokens - 1, now)
        if len(self._buckets) > _MOST_SUBJECTS:
            self._buckets.popitem(last=False)
        if is_refused:
            raise RateLimitedError(
                f"{subject_id} makes more than {self._calls_per_second:g} calls a second.",
                remedy="Wait as long as the detail RetryInfo says, then go on more slowly.",
                retry_after_seconds=(1 - tokens) / self._calls_per_second,
                facts={"subject_id": subject_id, "calls_per_second": f"{self._calls_per_second:g}"},
            )
