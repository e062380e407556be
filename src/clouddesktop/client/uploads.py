"""Sending a local file to a server, by the tus protocol: broken connections are resumed."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from clouddesktop.client.calls import CallError, to_http_error
from clouddesktop.client.connection import Connection
from clouddesktop.client.profile import ProfileError
from clouddesktop.errors import Code, Failure

_PIECE_SIZE = 1 << 20
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Attempts that bring nothing, in a row, before the upload is given up."""

_PASSING = frozenset({409, 423, 429, 500, 502, 503, 504})


async def upload_file(
    connection: Connection,
    path: Path,
    *,
    folder_id: str = "",
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> str:
    """Send a file; `on_progress` hears of the bytes that have come, and of all.

    Returns:
        The URL for `uri` of ImageService.Create. The server forgets the file after some time.

    Raises:
        CallError: the server refused, or was out of reach for several attempts.
        OSError: the file cannot be read.
        ProfileError: the profile does not say where to send it.
    """
    profile = connection.profile
    if not profile.rest:
        raise ProfileError(
            "The profile has no key `rest` with the server's base URL, where files are sent.",
            remedy="Restore the profile.yaml that `clouddesktop serve` wrote.",
        )
    verify: Any = True if profile.is_plaintext else profile.make_ssl_context()
    async with httpx.AsyncClient(
        base_url=profile.rest, verify=verify, timeout=_TIMEOUT, trust_env=not profile.is_loopback
    ) as http:
        sender = _Sender(http, connection, path, on_progress)
        return await sender.send(folder_id or profile.folder_id)


async def delete_upload(connection: Connection, url: str) -> None:
    """Forget an upload that was imported; one that is gone already is no error."""
    profile = connection.profile
    verify: Any = True if profile.is_plaintext else profile.make_ssl_context()
    async with httpx.AsyncClient(base_url=profile.rest, verify=verify, timeout=_TIMEOUT) as http:
        headers = {"tus-resumable": "1.0.0"}
        if connection.tokens is not None:
            headers["authorization"] = f"Bearer {await connection.tokens.get()}"
        await http.delete(urlsplit(url).path, headers=headers)


class _Sender:
    def __init__(
        self,
        http: httpx.AsyncClient,
        connection: Connection,
        path: Path,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._http = http
        self._connection = connection
        self._path = path
        self._size = path.stat().st_size
        self._on_progress = on_progress

    async def send(self, folder_id: str) -> str:
        metadata = f"filename {_base64(self._path.name)},folderId {_base64(folder_id)}"
        made = await self._ask(
            "POST",
            "/upload/v1/files",
            {"upload-length": str(self._size), "upload-metadata": metadata},
        )
        url = made.headers["location"]
        path = urlsplit(url).path
        offset, failures = 0, 0
        while offset < self._size:
            before = offset
            try:
                offset = await self._send_from(path, offset)
            except CallError as error:
                if error.is_from_server or failures == len(_PAUSES_SECONDS):
                    raise
            if offset < self._size:
                failures = 0 if offset > before else failures + 1
                await asyncio.sleep(_PAUSES_SECONDS[min(failures, len(_PAUSES_SECONDS) - 1)])
                offset = await self._find_offset(path, offset)
        self._on_progress(self._size, self._size)
        return str(url)

    async def _send_from(self, path: str, offset: int) -> int:
        headers = {
            "upload-offset": str(offset),
            "content-type": "application/offset+octet-stream",
            "content-length": str(self._size - offset),
        }
        answer = await self._ask("PATCH", path, headers, content=self._pieces(offset))
        return int(answer.headers.get("upload-offset", offset))

    async def _find_offset(self, path: str, offset: int) -> int:
        try:
            answer = await self._ask("HEAD", path, {})
        except CallError as error:
            if error.is_from_server:
                raise
            return offset
        return int(answer.headers["upload-offset"])

    async def _pieces(self, offset: int) -> AsyncIterator[bytes]:
        with self._path.open("rb") as file:
            file.seek(offset)
            while piece := await asyncio.to_thread(file.read, _PIECE_SIZE):
                yield piece
                offset += len(piece)
                self._on_progress(offset, self._size)

    async def _ask(
        self, verb: str, path: str, headers: dict[str, str], content: Any = None
    ) -> httpx.Response:
        sent = {"tus-resumable": "1.0.0", **headers}
        if self._connection.tokens is not None:
            sent["authorization"] = f"Bearer {await self._connection.tokens.get()}"
        try:
            answer = await self._http.request(verb, path, headers=sent, content=content)
        except httpx.TransportError as error:
            raise _unreachable(str(self._http.base_url), error) from error
        if answer.is_success:
            return answer
        url = f"{self._http.base_url}{path}"
        if answer.status_code in _PASSING:
            raise _unreachable(url, RuntimeError(f"it answers HTTP {answer.status_code}"))
        body = answer.json() if answer.content else None
        raise to_http_error(body, url=url, http_status=answer.status_code)


def _unreachable(where: str, error: Exception) -> CallError:
    failure = Failure(
        code=Code.UNAVAILABLE,
        reason=Code.UNAVAILABLE.name,
        message=f"The upload to {where} broke off: {str(error).rstrip('.') or 'no answer'}.",
        remedy="Check that `clouddesktop serve` runs there, then try again.",
    )
    return CallError(failure.message, failure=failure, is_from_server=False)


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
