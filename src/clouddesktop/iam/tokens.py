"""IAM tokens: issued for a service account's JWT, checked on every call.

    t1.<claims, JSON in base64url>.<Ed25519 signature over what stands before it, 86 characters>

The server keeps no list of tokens: a token is good until it expires, or until the key is revoked
that it was issued for.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clouddesktop.iam.errors import TokenExpiredError, TokenInvalidError, TokenRevokedError
from clouddesktop.iam.jwts import JwtChecker
from clouddesktop.model.access import AuthorizedKey, Subject

LIFETIME_SECONDS = 12 * 3600
"""The longest that the public cloud's tokens live."""

KEY_SECONDS = 5.0
"""How long a key's revocation by another process may go unnoticed; one of this process is not."""

PREFIX = "t1."
"""How IAM tokens begin, and JWTs never do."""

_MOST_CHARACTERS = 1000
_CACHED_TOKENS = 4096
_CACHED_KEYS = 10_000
_REMEDY = "Ask IamTokenService.Create for a new one."


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token to hand out; the only place where it is kept."""

    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _Claims:
    """What a token says that we have signed."""

    subject: Subject
    key_id: str
    expires_at: float


class TokenService:
    """Issues and checks IAM tokens; thread-safe.

    `signing_key` is the 32-byte seed of an Ed25519 key: whoever has it can make tokens. For
    `find_key` and `audiences` see JwtChecker. `clock` gives the seconds since 1970.
    """

    def __init__(
        self,
        *,
        signing_key: bytes,
        find_key: Callable[[str], AuthorizedKey | None],
        audiences: Collection[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._private_key = Ed25519PrivateKey.from_private_bytes(signing_key)
        self._public_key = self._private_key.public_key()
        self._jwts = JwtChecker(find_key=find_key, audiences=audiences)
        self._clock = clock
        self._find_key = find_key
        self._cache: OrderedDict[str, _Claims] = OrderedDict()
        self._fresh_keys: dict[str, tuple[str | None, float]] = {}  # whose it is, and until when
        self._version = 0
        self._lock = threading.Lock()

    def exchange_jwt(self, jwt: str) -> IssuedToken:
        """Issue a token to the service account that signed `jwt`; waits for `find_key`.

        Raises:
            JwtRefusedError: the JWT proves nothing.
        """
        now = self._clock()
        key = self._jwts.check(jwt, now=now)
        expires_at = int(now) + LIFETIME_SECONDS
        claims = {
            "sub": key.service_account_id,
            "key": key.id,
            "exp": expires_at,
            "id": secrets.token_hex(8),
        }
        body = _to_base64(json.dumps(claims, separators=(",", ":")).encode())
        signed = f"{PREFIX}{body}"
        signature = _to_base64(self._private_key.sign(signed.encode()))
        return IssuedToken(
            token=f"{signed}.{signature}", expires_at=datetime.fromtimestamp(expires_at, tz=UTC)
        )

    def check_token(self, token: str) -> Subject:
        """Say who a token was issued to; asks `find_key` once in five seconds for each key.

        Raises:
            TokenInvalidError: this server did not issue it.
            TokenExpiredError: its time is over.
            TokenRevokedError: its key is gone.
        """
        with self._lock:
            known = self._cache.get(token)
            if known is not None:
                self._cache.move_to_end(token)
        claims = known if known is not None else self._verify(token)
        now = self._clock()
        if claims.expires_at <= now:
            raise TokenExpiredError("The IAM token has expired.", remedy=_REMEDY)
        if self._owner_of_key(claims.key_id, now=now) != claims.subject.id:
            raise TokenRevokedError(
                "The IAM token's key has been revoked.",
                remedy="Ask IamTokenService.Create for a new one, with a key that is good.",
            )
        if known is None:
            with self._lock:
                self._cache[token] = claims
                if len(self._cache) > _CACHED_TOKENS:
                    self._cache.popitem(last=False)
        return claims.subject

    async def acheck_token(self, token: str) -> Subject:
        """Do as `check_token`, in a thread when that may have to wait for `find_key`."""
        with self._lock:
            known = self._cache.get(token)
            _, fresh_until = self._fresh_keys.get(known.key_id if known else "", (None, 0.0))
        if self._clock() < fresh_until:
            return self.check_token(token)
        return await asyncio.to_thread(self.check_token, token)

    def forget_keys(self) -> None:
        """Look every key up anew, since one was revoked."""
        with self._lock:
            self._version += 1
            self._fresh_keys.clear()

    def _owner_of_key(self, key_id: str, *, now: float) -> str | None:
        with self._lock:
            version = self._version
            owner, fresh_until = self._fresh_keys.get(key_id, (None, 0.0))
        if now < fresh_until <= now + KEY_SECONDS:  # a clock that was set back counts for nothing
            return owner
        key = self._find_key(key_id)
        owner = None if key is None else key.service_account_id
        with self._lock:
            if version == self._version:  # else it may have been revoked since it was read
                if len(self._fresh_keys) >= _CACHED_KEYS:
                    self._fresh_keys.clear()
                self._fresh_keys[key_id] = (owner, now + KEY_SECONDS)
        return owner

    def _verify(self, token: str) -> _Claims:
        try:
            claims = self._open(token[: _MOST_CHARACTERS + 1])
        except (ValueError, InvalidSignature):
            raise TokenInvalidError(
                "The IAM token was not issued by this server.", remedy=_REMEDY
            ) from None
        return _Claims(Subject(id=claims["sub"]), claims["key"], claims["exp"])

    def _open(self, token: str) -> dict[str, Any]:
        signed, _, signature = token.rpartition(".")
        if not signed.startswith(PREFIX) or len(token) > _MOST_CHARACTERS:
            raise ValueError("no token of ours")
        self._public_key.verify(_from_base64(signature), signed.encode())
        claims: dict[str, Any] = json.loads(_from_base64(signed.removeprefix(PREFIX)))
        return claims


def _to_base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _from_base64(text: str) -> bytes:
    """Decode, and take one spelling only: the last character has bits to spare."""
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except Base64Error as error:
        raise ValueError("no base64") from error
    if _to_base64(raw) != text:
        raise ValueError("another spelling")
    return raw
