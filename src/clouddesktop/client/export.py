"""Export: an image's data over HTTPS into a local file, several pieces at a time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from clouddesktop.client.calls import CallError, to_http_error
from clouddesktop.client.connection import Connection
from clouddesktop.client.outputs import ExportError, OutputFile, OutputFormat, open_output
from clouddesktop.errors import Code, DataLossError, Failure
from clouddesktop.model.manifest import Extent

PIECE_SIZE = 8 << 20
"""Bytes that one request asks for: enough to make requests rare, few enough to repeat one."""

_READERS = 4
_BLOCK_SIZE = 1 << 20
_PAUSES_SECONDS = (0.2, 0.4, 0.8, 1.6, 3.2)
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_PASSING_CODES = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED)

_Read = Callable[[httpx.Response], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What was exported: the guest-visible size of the disk, and how much of it is data (bytes)."""

    disk_size: int
    data_size: int


async def export_image(
    connection: Connection,
    image_id: str,
    output: Path,
    *,
    output_format: OutputFormat = OutputFormat.RAW,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Export:
    """Write the image's disk to `output`; `on_progress` gets the bytes done and to do.

    The bytes go to `<output>.partial` beside it, are flushed to the disk and renamed, so `output`
    is whole or not there; after an error or a cancellation the partial file is gone. An existing
    file that is not empty is replaced with `overwrite` only. Formats other than raw are made by the
    local qemu-img, and need room for the raw file too.

    Raises:
        ExportError: the output is no place for a file, exists, or has no room.
        CallError: the server refused, or was out of reach for several attempts.
        DataLossError: the server's answer makes no sense.
    """
    with open_output(output, overwrite=overwrite) as file:
        async with _open_http(connection) as http:
            download = _Download(connection=connection, http=http, image_id=image_id, file=file)
            export = await download.run(on_progress or (lambda _done, _total: None))
        await _to_thread(file.publish, output_format)
    return export


async def _to_thread(function: Callable[..., None], *args: Any) -> None:
    """Run in a thread to its end, also when cancelled: the file is closed right after."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


@asynccontextmanager
async def _open_http(connection: Connection) -> AsyncIterator[httpx.AsyncClient]:
    profile = connection.profile
    if not profile.rest:
        raise ExportError(
            "The profile has no key `rest` with the server's base URL, where bytes come from.",
            remedy="Restore the profile.yaml that `clouddesktop serve` wrote.",
        )
    async with httpx.AsyncClient(
        base_url=profile.rest,
        verify=False if profile.is_plaintext else profile.make_ssl_context(),
        timeout=_TIMEOUT,
        trust_env=not profile.is_loopback,  # no proxy leads to this machine
        limits=httpx.Limits(max_connections=_READERS),
    ) as http:
        yield http


class _Download:
    def __init__(
        self, *, connection: Connection, http: httpx.AsyncClient, image_id: str, file: OutputFile
    ) -> None:
        self._tokens = connection.tokens
        self._http = http
        self._path = f"/delivery/v1/images/{quote(image_id, safe='')}"
        self._file = file

    async def run(self, on_progress: Callable[[int, int], None]) -> Export:
        disk_size, extents = await self._fetch_extents()
        await _to_thread(self._file.set_size, disk_size)
        data_size = sum(each.length for each in extents)
        done_size = 0
        on_progress(done_size, data_size)
        pieces = _split(extents)

        async def fetch_pieces() -> None:
            nonlocal done_size
            for piece in pieces:
                await self._fetch_piece(piece)
                done_size += piece.length
                on_progress(done_size, data_size)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_READERS):
                    group.create_task(fetch_pieces())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None  # one stands for all: they share the trouble
        return Export(disk_size=disk_size, data_size=data_size)

    async def _fetch_extents(self) -> tuple[int, list[Extent]]:
        async def read(response: httpx.Response) -> Any:
            await response.aread()
            return response.json()

        try:
            answer = await self._get(f"{self._path}/extents", {}, read)
            disk_size = int(answer["size"])
            extents = [
                Extent(offset=int(each["offset"]), length=int(each["length"]))
                for each in answer.get("extents", ())
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataLossError("The server's list of extents makes no sense.") from error
        if any(each.offset < 0 or each.offset + each.length > disk_size for each in extents):
            raise DataLossError("The server's list of extents goes past the end of the disk.")
        return disk_size, extents

    async def _fetch_piece(self, piece: Extent) -> None:
        end = piece.offset + piece.length
        byte_range = f"{piece.offset}-{end - 1}"

        async def write(response: httpx.Response) -> None:
            said = response.headers.get("content-range", "")
            if not said.startswith(f"bytes {byte_range}/"):
                raise DataLossError("The server answered with another range than was asked for.")
            offset = piece.offset
            async for block in response.aiter_bytes(_BLOCK_SIZE):
                if offset + len(block) > end:
                    raise DataLossError("The server sent more bytes than were asked for.")
                await _to_thread(self._file.write_at, offset, block)
                offset += len(block)
            if offset != end:
                raise httpx.RemoteProtocolError("The answer ended early")

        await self._get(f"{self._path}/disk", {"range": f"bytes={byte_range}"}, write)

    async def _get(self, path: str, headers: dict[str, str], read: _Read) -> Any:
        """Ask until it works: again after a break, with a new token when one was refused."""
        for pause_seconds in _PAUSES_SECONDS:
            try:
                return await self._get_once(path, headers, read)
            except CallError as error:
                if error.code not in _PASSING_CODES:
                    raise
            await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.0))  # noqa: S311  (spreads retries)
        return await self._get_once(path, headers, read)

    async def _get_once(self, path: str, headers: dict[str, str], read: _Read) -> Any:
        try:
            for is_last in (self._tokens is None, True):
                token = await self._tokens.get() if self._tokens is not None else ""
                sent = {**headers, "authorization": f"Bearer {token}"} if token else headers
                async with self._http.stream("GET", path, headers=sent) as response:
                    if response.is_success:
                        return await read(response)
                    error = await _to_error(response)
                if error.code is not Code.UNAUTHENTICATED or is_last or self._tokens is None:
                    raise error
                self._tokens.forget(token)
        except httpx.TransportError as cause:
            raise _unreachable(str(self._http.base_url), cause) from cause
        raise AssertionError("The last round returns or raises.")


def _split(extents: Iterable[Extent]) -> Iterator[Extent]:
    for extent in extents:
        end = extent.offset + extent.length
        for offset in range(extent.offset, end, PIECE_SIZE):
            yield Extent(offset=offset, length=min(PIECE_SIZE, end - offset))


async def _to_error(response: httpx.Response) -> CallError:
    await response.aread()
    try:
        body = response.json()
    except ValueError:
        body = None
    return to_http_error(body, url=str(response.url), http_status=response.status_code)


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
