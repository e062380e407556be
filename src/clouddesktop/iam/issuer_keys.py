"""The keys of one issuer, kept: fetched when they are first needed, and anew when they are old.

What happens when a token comes:

    no keys yet, or too old        fetch, and let the call wait
    not fresh any more             fetch, and go on with the old ones
    a key that nobody knows        fetch and wait, unless that was done a moment ago
    the last fetch failed          wait for twice as long as the time before
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

import structlog

from clouddesktop.iam.discovery import IssuerUnavailableError, SigningKey

FRESH_SECONDS = 600.0
"""How long a key that the issuer has withdrawn may go unnoticed."""

USABLE_SECONDS = timedelta(days=1).total_seconds()
"""How long tokens are taken while the issuer is out of reach."""

UNKNOWN_KEY_SECONDS = 10.0
"""How often forged tokens, which name keys that nobody has, can make this server ask the issuer."""

LONGEST_PAUSE_SECONDS = 60.0

MOST_WAITING = 100
"""Calls that wait for one fetch: an issuer that hangs must not hold all that can be made."""

_log = structlog.get_logger(__name__)


class IssuerKeys:
    """The keys of one issuer. For one event loop: a fetch blocks a thread, and never the loop.

    `fetch` may block, and raises IssuerUnavailableError. `clock` gives seconds.
    """

    def __init__(
        self,
        *,
        issuer_url: str,
        fetch: Callable[[], tuple[SigningKey, ...]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer_url = issuer_url
        self._fetch = fetch
        self._clock = clock
        self._keys: tuple[SigningKey, ...] = ()
        self._version = 0
        self._fetched_at: float | None = None
        self._asked_at = float("-inf")
        self._failures = 0
        self._waiting = 0
        self._work: asyncio.Future[tuple[SigningKey, ...]] | None = None

    @property
    def version(self) -> int:
        """Changes when the keys do: what was checked by earlier ones has to be checked again."""
        return self._version

    async def find(self, key_id: str | None, algorithm: str) -> SigningKey | None:
        """Find the key that a token names, or the only one that fits if it names none.

        Cancelling the call does not end a fetch that others wait for.

        Raises:
            IssuerUnavailableError: the issuer is out of reach, and its keys unknown or too old; or
                it is out of reach and this key is not among them.
        """
        if not self.are_usable():
            await self._refresh()
        found = self._look_up(key_id, algorithm)
        is_asked_long_ago = self._clock() - self._asked_at >= UNKNOWN_KEY_SECONDS
        if found is None and (is_asked_long_ago or self._work is not None or self._failures):
            await self._refresh()
            found = self._look_up(key_id, algorithm)
        return found

    def are_usable(self) -> bool:
        """Tell whether there are keys that are not too old; begins to fetch if they are not fresh.

        The answer does not wait for that fetch.
        """
        if self._fetched_at is None:
            return False
        age_seconds = self._clock() - self._fetched_at
        if age_seconds >= FRESH_SECONDS and self._work is None and self._pause_left() <= 0:
            self._begin()
        return age_seconds < USABLE_SECONDS

    def _look_up(self, key_id: str | None, algorithm: str) -> SigningKey | None:
        fitting = [
            each
            for each in self._keys
            if each.is_for(algorithm) and (key_id is None or each.id == key_id)
        ]
        # Without a name only one may be meant (OpenID Connect Core 1.0, section 10.1).
        return fitting[0] if fitting and (key_id is not None or len(fitting) == 1) else None

    async def _refresh(self) -> None:
        work = self._work
        if work is None and self._pause_left() <= 0:
            work = self._begin()
        is_full = work is not None and self._waiting >= MOST_WAITING
        if work is not None and not is_full:
            self._waiting += 1
            try:
                await asyncio.wait([work])
            finally:
                self._waiting -= 1
        if self._failures or is_full:
            raise IssuerUnavailableError(
                "The keys of the token's issuer cannot be fetched at the moment.",
                remedy="Try again after a pause; the server's log says why.",
                retry_after_seconds=max(self._pause_left(), 1.0),
            )

    def _pause_left(self) -> float:
        if not self._failures:
            return 0.0
        pause_seconds = min(2.0 ** (self._failures - 1), LONGEST_PAUSE_SECONDS)
        return self._asked_at + pause_seconds - self._clock()

    def _begin(self) -> asyncio.Future[tuple[SigningKey, ...]]:
        self._asked_at = self._clock()
        self._work = asyncio.get_running_loop().run_in_executor(None, self._fetch)
        self._work.add_done_callback(self._settle)
        return self._work

    def _settle(self, work: asyncio.Future[tuple[SigningKey, ...]]) -> None:
        self._work = None
        if work.cancelled():  # the loop ends
            return
        self._asked_at = self._clock()
        error = work.exception()
        if error is not None:
            self._failures = min(self._failures + 1, 32)
            _log.warning(
                "keys of an issuer cannot be fetched",
                issuer=self._issuer_url,
                why=str(error),
                exc_info=None if isinstance(error, IssuerUnavailableError) else error,
            )
            return
        if self._failures or self._fetched_at is None:
            _log.info("keys of an issuer fetched", issuer=self._issuer_url)
        self._failures = 0
        self._fetched_at = self._asked_at
        if work.result() != self._keys:
            self._keys = work.result()
            self._version += 1
