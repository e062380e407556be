"""Tokens for OpenStack: a given one, or those that Keystone issues for an application credential.

Secrets go to the Keystone that the operator named and into no message.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlsplit

from clouddesktop.errors import CloudDesktopError
from clouddesktop.source.base import SourceUnreadableError
from clouddesktop.source.fetch import Answer, Fetcher, suggesting
from clouddesktop.source.ranges import persist, raise_if_busy

_MOST_ANSWER = 8 << 20
"""Bytes of an answer: it holds the cloud's whole list of services."""

_SPARE_SECONDS = 120.0
"""What a token must have left, so that it outlives a request that waits for its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationCredential:
    """A login that Keystone gave for a program; `auth_url` is Keystone's, with or without /v3."""

    auth_url: str
    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStackAccess:
    """What the operator gave for OpenStack: one of the two, or neither for open servers."""

    token: str | None = field(default=None, repr=False)
    application_credential: ApplicationCredential | None = None


class Tokens(Protocol):
    """Gives tokens. Thread-safe; may wait."""

    def find_token(self, *, refused: str | None = None) -> str | None:
        """Give a token other than the one that was refused; None if there is none.

        Raises:
            SourceUnreadableError: Keystone refuses the login.
            RetriesExhaustedError, FetchForbiddenError: Keystone cannot be asked.
        """

    def close(self) -> None:
        """Hang up."""


class FixedToken:
    """The one token that the operator gave, or none."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def find_token(self, *, refused: str | None = None) -> str | None:
        return None if self._token == refused else self._token

    def close(self) -> None:
        """Do nothing: nobody was asked."""


class KeystoneTokens:
    """Tokens that Keystone's v3 API issues, each used until shortly before its end."""

    def __init__(
        self,
        credential: ApplicationCredential,
        *,
        ca_file: str | None,
        stall_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; Keystone is asked when the first token is wanted.

        Raises:
            FetchForbiddenError: its URL is none that is fetched from.
        """
        base = credential.auth_url.rstrip("/").removesuffix("/v3")
        self._url = f"{base}/v3/auth/tokens"
        self._host = urlsplit(base).hostname
        self._credential = credential
        with suggesting("Set OS_AUTH_URL to the https address of Keystone."):
            self._fetcher = Fetcher(self._url, ca_file=ca_file, stall_seconds=stall_seconds)
        self._clock = clock
        self._lock = threading.Lock()
        self._token: str | None = None
        self._until = 0.0
        self._failure: CloudDesktopError | None = None
        self._failed_at = 0.0

    def find_token(self, *, refused: str | None = None) -> str | None:
        asked_at = self._clock()
        with self._lock:  # many requests find at once that a token is over: one of them asks
            is_good = self._token not in (None, refused) and self._clock() < self._until
            if not is_good:
                if self._failure is not None and self._failed_at > asked_at:
                    raise self._failure  # it came while this one waited, and stands for both
                self._ask_anew()
            return self._token

    def close(self) -> None:
        self._fetcher.close()

    def _ask_anew(self) -> None:
        try:
            self._token, self._until = persist(self._issue)
        except CloudDesktopError as error:
            self._failure, self._failed_at = error, self._clock()
            raise
        self._failure = None

    def _issue(self) -> tuple[str, float]:
        asked_at = self._clock()
        body = json.dumps(
            {
                "auth": {
                    "identity": {
                        "methods": ["application_credential"],
                        "application_credential": {
                            "id": self._credential.id,
                            "secret": self._credential.secret,
                        },
                    }
                }
            }
        ).encode()
        with self._fetcher.post(self._url, body, {"content-type": "application/json"}) as answer:
            raise_if_busy(answer)
            if answer.status != HTTPStatus.CREATED:
                raise self._refusal(answer)
            token = answer.headers.get("x-subject-token", "")
            if not is_token(token):
                raise self._refusal(answer)
            return token, asked_at + _seconds_of_use(answer.read(most=_MOST_ANSWER))

    def _refusal(self, answer: Answer) -> SourceUnreadableError:
        facts = {"host": str(self._host), "http_status": str(answer.status)}
        if answer.status == HTTPStatus.UNAUTHORIZED:
            return SourceUnreadableError(
                f"Keystone at {self._host} refuses the application credential.",
                remedy="See that OS_APPLICATION_CREDENTIAL_ID and OS_APPLICATION_CREDENTIAL_SECRET "
                "are right, and that it has neither expired nor been deleted.",
                facts=facts,
            )
        return SourceUnreadableError(
            f"Keystone at {self._host} issues no token: it answers HTTP {answer.status}.",
            remedy="Correct OS_AUTH_URL: it is the public address of Keystone's v3 API.",
            facts=facts,
        )


def make_tokens(
    access: OpenStackAccess | None, *, ca_file: str | None, stall_seconds: float
) -> Tokens:
    """Choose by what the operator gave.

    Raises:
        FetchForbiddenError: Keystone's URL is none that is fetched from.
    """
    if access is None or access.application_credential is None:
        return FixedToken(None if access is None else access.token)
    return KeystoneTokens(
        access.application_credential, ca_file=ca_file, stall_seconds=stall_seconds
    )


def is_token(text: str) -> bool:
    """Tell whether a text can be sent as a token: visible ASCII characters."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _seconds_of_use(body: bytes) -> float:
    """Read from Keystone's answer how long its token can be used, by Keystone's own clock.

    One that does not tell is used until it is refused.
    """
    try:
        token: Mapping[str, Any] = json.loads(body)["token"]
        issued, expires = (
            datetime.fromisoformat(token[name]) for name in ("issued_at", "expires_at")
        )
        lifetime = (expires - issued).total_seconds()
    except (ValueError, TypeError, KeyError, RecursionError):
        return float("inf")
    return lifetime - min(_SPARE_SECONDS, lifetime / 2)
