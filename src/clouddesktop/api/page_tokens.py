"""Page tokens that carry a position of any length, and that only this installation can make.

    base64url(  checksum, 12 bytes  |  0  |  position              )    a short one
    base64url(  checksum, 12 bytes  |  1  |  its digest, 16 bytes  )    one that the catalogue keeps

The checksum is keyed. It covers the rest, and every field of the request but `page_size` and
`page_token`, so that neither another request's token nor a forged one is taken.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime

from google.protobuf.message import Message

from clouddesktop.api.paging import OWN_FIELDS, bad_token
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.installation import PAGE_KEY, settle_fact
from clouddesktop.catalog.page_positions import KEPT_FOR, find_position, keep_position

_CHECKSUM_SIZE = 12
_DIGEST_SIZE = 16
_INLINE, _KEPT = b"\0", b"\1"
_MOST_INLINE = 75 - _CHECKSUM_SIZE - 1
"""75 bytes are 100 characters, the longest token of the API."""


class PageTokens:
    """Makes and reads tokens. Thread-safe; servers of one database read each other's."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    ) -> None:
        self._database = database
        self._clock = clock
        self._key = b""

    async def make(self, request: Message, position: bytes) -> str:
        """Make the token for the page behind `position`."""
        await self._prepare()
        if len(position) <= _MOST_INLINE:
            rest = _INLINE + position
        else:
            digest = self._digest(request, position, size=_DIGEST_SIZE)
            await self._database.awrite(keep_position, digest, position, now=self._clock())
            rest = _KEPT + digest
        checksum = self._digest(request, rest, size=_CHECKSUM_SIZE)
        return urlsafe_b64encode(checksum + rest).rstrip(b"=").decode()

    async def read(self, request: Message, token: str) -> bytes | None:
        """Give the position to go on behind; None without a token.

        Raises:
            InvalidArgumentError: the token is not one of this request, or its position has expired.
        """
        if not token:
            return None
        await self._prepare()
        try:
            raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            raise bad_token() from None
        checksum, rest = raw[:_CHECKSUM_SIZE], raw[_CHECKSUM_SIZE:]
        expected = self._digest(request, rest, size=_CHECKSUM_SIZE)
        if not hmac.compare_digest(checksum, expected):
            raise bad_token()
        if rest[:1] == _INLINE:
            return rest[1:]
        position = await self._database.aread(find_position, rest[1:], now=self._clock())
        if position is None:
            hours = int(KEPT_FOR.total_seconds()) // 3600
            raise bad_token(f"Value has expired after {hours} hours: list from the first page on")
        return position

    async def _prepare(self) -> None:
        if not self._key:
            drawn = secrets.token_hex(32)
            self._key = bytes.fromhex(await self._database.awrite(settle_fact, PAGE_KEY, drawn))

    def _digest(self, request: Message, data: bytes, *, size: int) -> bytes:
        bound = type(request)()
        bound.CopyFrom(request)
        for field in OWN_FIELDS:
            bound.ClearField(field)
        digest = hashlib.blake2b(digest_size=size, key=self._key)
        for part in (
            request.DESCRIPTOR.full_name.encode(),
            bound.SerializeToString(deterministic=True),
            data,
        ):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()
