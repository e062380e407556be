"""IAM tokens: issued for a service account's JWT, checked on every call.

    t1.<claims, JSON in base64url>.<Ed25519 signature over what stands before it, 86 characters>

The server keeps no list of tokens: a token is good until it expires.
"""

from __future__ import annotations

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

from clouddesktop.iam.errors import TokenExpiredError, TokenInvalidError
from clouddesktop.iam.jwts import JwtChecker
from clouddesktop.model.access import AuthorizedKey, Subject

LIFETIME_SECONDS = 12 * 3600
"""The longest that the public cloud's tokens live."""

_PREFIX = "t1"
_MOST_CHARACTERS = 1000
_CACHED_TOKENS = 4096
_REMEDY = "Ask IamTokenService.Create for a new one."


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token to hand out; the only place where it is kept."""

    token: str
    expires_at: datetime


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
        self._cache: OrderedDict[str, tuple[Subject, float]] = OrderedDict()
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
        signed = f"{_PREFIX}.{body}"
        signature = _to_base64(self._private_key.sign(signed.encode()))
        return IssuedToken(
            token=f"{signed}.{signature}", expires_at=datetime.fromtimestamp(expires_at, tz=UTC)
        )

    def check_token(self, token: str) -> Subject:
        """Say who a token was issued to; never waits.

        Raises:
            TokenInvalidError: this server did not issue it.
            TokenExpiredError: its time is over.
        """
        with self._lock:
            known = self._cache.get(token)
            if known is not None:
                self._cache.move_to_end(token)
        subject, expires_at = known if known is not None else self._verify(token)
        if expires_at <= self._clock():
            raise TokenExpiredError("The IAM token has expired.", remedy=_REMEDY)
        if known is None:
            with self._lock:
                self._cache[token] = (subject, expires_at)
                if len(self._cache) > _CACHED_TOKENS:
                    self._cache.popitem(last=False)
        return subject

    def _verify(self, token: str) -> tuple[Subject, float]:
        try:
            claims = self._open(token[: _MOST_CHARACTERS + 1])
        except (ValueError, InvalidSignature):
            raise TokenInvalidError(
                "The IAM token was not issued by this server.", remedy=_REMEDY
            ) from None
        return Subject(id=claims["sub"]), claims["exp"]

    def _open(self, token: str) -> dict[str, Any]:
        signed, _, signature = token.rpartition(".")
        prefix, _, body = signed.partition(".")
        if prefix != _PREFIX or len(token) > _MOST_CHARACTERS:
            raise ValueError("no token of ours")
        self._public_key.verify(_from_base64(signature), signed.encode())
        claims: dict[str, Any] = json.loads(_from_base64(body))
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
