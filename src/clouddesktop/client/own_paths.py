"""Calls of clouddesktop's own HTTP paths: JSON in, JSON out, and the API's tokens and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from clouddesktop.client.calls import CallError, to_http_error
from clouddesktop.client.connection import Connection
from clouddesktop.client.profile import ProfileError
from clouddesktop.errors import Code, DataLossError, Failure

_TIMEOUT = httpx.Timeout(600.0, connect=10.0)
"""Figures of a large store take their time."""


class OwnPaths:
    """Sends a token with each call, and gets a new one when the server refuses it."""

    def __init__(self, connection: Connection, http: httpx.AsyncClient) -> None:
        self._tokens = connection.tokens
        self._http = http

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Call, and give the answer's object.

        Raises:
            CallError: the server refused, or was out of reach.
            DataLossError: the answer makes no sense.
        """
        for is_last in (self._tokens is None, True):
            token = await self._tokens.get() if self._tokens is not None else ""
            try:
                response = await self._http.request(
                    method,
                    path,
                    json=body,
                    headers={"authorization": f"Bearer {token}"} if token else {},
                )
            except httpx.TransportError as cause:
                raise _unreachable(str(self._http.base_url), cause) from cause
            answer = _read_json(response)
            if response.is_success:
                if not isinstance(answer, dict):
                    raise DataLossError(f"The answer of {response.url} makes no sense.")
                return answer
            error = to_http_error(answer, url=str(response.url), http_status=response.status_code)
            if error.code is not Code.UNAUTHENTICATED or is_last or self._tokens is None:
                raise error
            self._tokens.forget(token)
        raise AssertionError("The last round returns or raises.")


@asynccontextmanager
async def open_own_paths(connection: Connection) -> AsyncIterator[OwnPaths]:
    """Open the paths of the server that `connection` leads to.

    Raises:
        ProfileError: the profile does not say where HTTPS is.
    """
    profile = connection.profile
    if not profile.rest:
        raise ProfileError(
            "The profile has no key `rest` with the server's base URL.",
            remedy="Restore the profile.yaml that `clouddesktop serve` wrote.",
        )
    async with httpx.AsyncClient(
        base_url=profile.rest,
        verify=False if profile.is_plaintext else profile.make_ssl_context(),
        timeout=_TIMEOUT,
        trust_env=not profile.is_loopback,  # no proxy leads to this machine
    ) as http:
        yield OwnPaths(connection, http)


def _read_json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _unreachable(base_url: str, cause: httpx.TransportError) -> CallError:
    said = (str(cause) or type(cause).__name__).rstrip(".")
    failure = Failure(
        code=Code.UNAVAILABLE,
        reason="UNAVAILABLE",
        message=f"The server at {base_url} cannot be reached: {said}.",
        remedy="Check that `clouddesktop serve` runs there, and that `rest` and `ca` of the "
        "profile are its own.",
    )
    return CallError(failure.message, failure=failure, is_from_server=False)
