"""Who asks: a service account's authorised key, traded for IAM tokens, or a token in a file."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import jwt
from yandex.cloud.iam.v1.iam_token_service_pb2 import CreateIamTokenRequest
from yandex.cloud.iam.v1.iam_token_service_pb2_grpc import IamTokenServiceStub

from clouddesktop.client.calls import translated_errors
from clouddesktop.client.profile import ProfileError, read_profile_file

if TYPE_CHECKING:
    import grpc
    from yandex.cloud.iam.v1.iam_token_service_pb2_grpc import IamTokenServiceAsyncStub

_JWT_LIFETIME = timedelta(hours=1)  # the longest that the public cloud takes
_RENEW_BEFORE = timedelta(minutes=5)
_PEM_MARK = "-----BEGIN"
_TIMEOUT_SECONDS = 30
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccountKey:
    """The private half of an authorised key, in memory only."""

    id: str
    service_account_id: str
    private_key: str = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the public cloud's JSON form; a guard line before the PEM is skipped."""
        raw = read_profile_file(path, what="authorised key")
        try:
            record: dict[str, Any] = json.loads(raw)
            pem = str(record["private_key"])
            return cls(
                id=str(record["id"]),
                service_account_id=str(record["service_account_id"]),
                private_key=pem[pem.index(_PEM_MARK) :],
            )
        except (ValueError, KeyError, TypeError):
            # Not chained: the cause might quote the key.
            raise ProfileError(
                f"{path} is no authorised key in the public cloud's JSON form.",
                remedy="Name the `keys/admin.json` of the server's data folder as `key`.",
            ) from None

    def sign_jwt(self, endpoint: str, *, now: datetime) -> str:
        """Sign what IamTokenService.Create takes, for the server that answers at `endpoint`."""
        claims = {
            "iss": self.service_account_id,
            "aud": f"https://iam.{endpoint}/iam/v1/tokens",
            "iat": now,
            "exp": now + _JWT_LIFETIME,
        }
        return jwt.encode(claims, self.private_key, algorithm="PS256", headers={"kid": self.id})


class Tokens(Protocol):
    """What gives the token for a call, and hears when the server refused it."""

    async def get(self) -> str: ...

    def forget(self, token: str) -> None: ...


class TokenFile:
    """A token that somebody else keeps in a file, read again when the server has refused it.

    Agents write a new one there before the old one ends.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = ""
        self._is_refused = False

    async def get(self) -> str:
        if not self._token or self._is_refused:
            text = read_profile_file(self._path, what="token file").decode("ascii", "replace")
            # What was given by a pipe is not there a second time.
            self._token = text.strip() or self._token
            self._is_refused = False
        if not _TOKEN.fullmatch(self._token):
            raise ProfileError(
                f"The token file {self._path} holds no token.",
                remedy="Write the token alone into it.",
            )
        return self._token

    def forget(self, token: str) -> None:
        self._is_refused = self._is_refused or token == self._token


class TokenSource:
    """IAM tokens for one key: asked for once, renewed some minutes before they expire.

    Many callers may ask at a time; one call goes out. `forget` makes the next `get` ask anew.
    """

    def __init__(self, *, channel: grpc.aio.Channel, endpoint: str, key: ServiceAccountKey) -> None:
        self._stub = cast("IamTokenServiceAsyncStub", IamTokenServiceStub(channel))
        self._endpoint = endpoint
        self._key = key
        self._lock = asyncio.Lock()
        self._token = ""
        self._renew_at = datetime.min.replace(tzinfo=UTC)

    async def get(self) -> str:
        async with self._lock:
            now = datetime.now(tz=UTC)
            if not self._token or now >= self._renew_at:
                request = CreateIamTokenRequest(jwt=self._key.sign_jwt(self._endpoint, now=now))
                with translated_errors(self._endpoint):
                    answer = await self._stub.Create(
                        request, timeout=_TIMEOUT_SECONDS, wait_for_ready=False
                    )
                self._token = answer.iam_token
                expires_at = answer.expires_at.ToDatetime(tzinfo=UTC)
                self._renew_at = max(expires_at - _RENEW_BEFORE, now + (expires_at - now) / 2)
            return self._token

    def forget(self, token: str) -> None:
        """Drop `token` if it is the current one: the server refused it."""
        if token == self._token:
            self._token = ""
