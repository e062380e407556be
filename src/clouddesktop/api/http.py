"""The HTTP side: an image's bytes, and where its data lies; all other paths are REST's (rest.py).

GET /delivery/v1/images/{image_id}/extents   {"size": "…", "chunk_size": "…",
                                             "extents": [{"offset": "…", "length": "…"}, …]}
GET /delivery/v1/images/{image_id}/disk      the disk as its guest sees it; takes one Range
GET /delivery/v1/images/{image_id}/chunks    ?first=N&count=N: chunks as stored (model/frame.py)
GET /delivery/v1/images/{id}/diff/{id}       what changed from one to another (diffs.py)
GET /healthz                                 200 as long as the server answers at all
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from http import HTTPStatus
from itertools import islice
from typing import ParamSpec, TypeVar

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from clouddesktop.api.auditing import Auditing
from clouddesktop.api.authentication import Callers
from clouddesktop.api.byte_ranges import ByteRange, find_range
from clouddesktop.api.diffs import diff_to_json
from clouddesktop.api.http_edge import HttpEdge
from clouddesktop.api.rest_bindings import VerbNotAllowedError
from clouddesktop.delivery.diff import Comparison
from clouddesktop.delivery.export import Exports, ImageReader
from clouddesktop.errors import (
    FieldViolation,
    InvalidArgumentError,
    ResourceExhaustedError,
)
from clouddesktop.model.manifest import Extent

_PIECE_SIZE = 1 << 20
"""Bytes read at a time; a request holds two pieces, one on its way out and one being read."""

_MOST_DOWNLOADS = 32
"""At a time, each with up to 8 MiB in buffers when its reader is slow and nothing compresses."""

_EXTENTS_AT_ONCE = 1000
_READERS = 4
"""Threads that read for all requests together, apart from those that the API's calls need."""

_LEAST_PACKED_BYTES = 1000
_BYTES = "application/octet-stream"

P = ParamSpec("P")
R = TypeVar("R")


class TooManyDownloadsError(ResourceExhaustedError):
    """The server is sending as many disks as it does at a time."""

    reason = "TOO_MANY_DOWNLOADS"


def build_http_app(
    *,
    exports: Exports,
    callers: Callers,
    rest: ASGIApp,
    further: Iterable[Route] = (),
    auditing: Auditing | None = None,
) -> Starlette:
    """Build the ASGI application with `further` routes; its threads end with the interpreter.

    What no route is for goes to `rest`.
    """
    delivery = _Delivery(exports=exports, callers=callers)
    app = Starlette(
        routes=[
            Route("/delivery/v1/images/{image_id}/extents", delivery.get_extents),
            Route("/delivery/v1/images/{image_id}/disk", delivery.get_disk),
            Route("/delivery/v1/images/{image_id}/chunks", delivery.get_chunks, methods=["GET"]),
            Route("/delivery/v1/images/{image_id}/diff/{new_image_id}", delivery.get_diff),
            Route("/healthz", _get_health),
            *further,
        ],
        exception_handlers={HTTPException: _refuse},
        middleware=[Middleware(HttpEdge, auditing=auditing)],
    )
    app.router.redirect_slashes = False
    app.router.default = GZipMiddleware(rest, minimum_size=_LEAST_PACKED_BYTES)
    return app


class _Delivery:
    def __init__(self, *, exports: Exports, callers: Callers) -> None:
        self._exports = exports
        self._callers = callers
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="delivery")
        self._downloads = 0

    async def get_extents(self, request: Request) -> Response:
        reader = await self._open(request)
        return StreamingResponse(_extents_to_json(reader), media_type="application/json")

    async def get_disk(self, request: Request) -> Response:
        reader = await self._open(request)
        headers = {"accept-ranges": "bytes", "etag": f'"{request.path_params["image_id"]}"'}
        byte_range = None if request.method == "HEAD" else _find_range(request, reader, headers)
        wanted = byte_range or ByteRange(start=0, end=reader.size)
        headers["content-length"] = str(wanted.end - wanted.start)
        if byte_range is not None:
            last = byte_range.end - 1
            headers["content-range"] = f"bytes {byte_range.start}-{last}/{reader.size}"
        if request.method == "HEAD":
            return Response(headers=headers, media_type=_BYTES)
        self._check_room()
        return StreamingResponse(
            self._counted(await self._begin(reader, wanted)),
            status_code=200 if byte_range is None else 206,
            headers=headers,
            media_type=_BYTES,
        )

    async def get_chunks(self, request: Request) -> Response:
        """Answer in one piece: damage or a missing pack still gets its Status.

        What is sent is not decoded here, so the client alone can and must verify it.
        """
        reader = await self._open(request)
        first, count = (_get_number(request.query_params, each) for each in ("first", "count"))
        self._check_room()

        async def make_body() -> bytes:
            return await self._in_thread(_read_body, reader, first, count)

        return _PieceResponse(make_body, count=self._count)

    async def get_diff(self, request: Request) -> Response:
        old = await self._open(request)
        new = await self._open(request, "new_image_id")
        pieces = diff_to_json(
            Comparison(old.manifest, new.manifest),
            old_id=request.path_params["image_id"],
            new_id=request.path_params["new_image_id"],
            chunk_size=old.chunk_size,
        )
        return StreamingResponse(pieces, media_type="application/json")

    def _check_room(self) -> None:
        if self._downloads >= _MOST_DOWNLOADS:
            raise TooManyDownloadsError(
                f"The server is sending {self._downloads} disks already.",
                remedy="Try again after a pause.",
                retry_after_seconds=1,
            )

    async def _open(self, request: Request, name: str = "image_id") -> ImageReader:
        caller = await self._callers.find_sender(request)
        image_id = request.path_params[name]
        return await self._in_thread(self._exports.open_image, image_id, caller=caller)

    async def _begin(self, reader: ImageReader, wanted: ByteRange) -> AsyncIterator[bytes]:
        """Read the first piece before the answer begins: damage there still gets its Status."""
        first_end = min(wanted.start + _PIECE_SIZE, wanted.end)
        first = await self._in_thread(reader.read, wanted.start, first_end - wanted.start)

        async def iter_pieces() -> AsyncIterator[bytes]:
            piece, offset = first, first_end
            while offset < wanted.end:
                length = min(_PIECE_SIZE, wanted.end - offset)
                coming = self._submit(reader.read, offset, length)
                coming.add_done_callback(_look_at)
                try:
                    yield piece
                    piece = await coming
                finally:
                    coming.cancel()  # does nothing once it is done
                offset += length
            yield piece

        return iter_pieces()

    async def _counted(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        with self._count():
            async for piece in pieces:
                yield piece

    @contextmanager
    def _count(self) -> Iterator[None]:
        self._downloads += 1
        try:
            yield
        finally:
            self._downloads -= 1

    async def _in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._submit(function, *args, **kwargs)

    def _submit(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[R]:
        return asyncio.wrap_future(self._threads.submit(function, *args, **kwargs))


class _PieceResponse(Response):
    """An answer in one piece, which counts from when it is read until it is sent.

    A StreamingResponse, with its watch over the client, takes a third more CPU time for pieces.
    """

    def __init__(
        self,
        make_body: Callable[[], Awaitable[bytes]],
        *,
        count: Callable[[], AbstractContextManager[None]],
    ) -> None:
        super().__init__()
        self._make_body = make_body
        self._count = count

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        with self._count():
            body = memoryview(await self._make_body())
            headers = Response(headers={"content-length": str(len(body))}, media_type=_BYTES)
            start = {"type": "http.response.start", "status": 200}
            await send({**start, "headers": headers.raw_headers})
            for offset in range(0, len(body), _PIECE_SIZE):
                piece = body[offset : offset + _PIECE_SIZE]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            # Waits until the client has taken what is before it.
            await send({"type": "http.response.body"})


def _read_body(reader: ImageReader, first: int, count: int) -> bytes:
    frames = reader.read_frames(first, count)
    return b"".join(part for each in frames for part in (each.head(), each.stored))


async def _get_health(_request: Request) -> Response:
    return JSONResponse({"status": "SERVING"})


async def _refuse(request: Request, error: Exception) -> Response:
    """Word what Starlette refuses: a verb that a path does not take."""
    if not isinstance(error, HTTPException) or error.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
        raise error
    allow = (error.headers or {}).get("Allow", "")
    raise VerbNotAllowedError(
        f"{request.url.path[:200]} does not take {request.method}.",
        remedy=f"It takes {allow}.",
        facts={"allow": allow},
    )


def _get_number(query: QueryParams, name: str) -> int:
    text = query.get(name, "")
    if not re.fullmatch(r"[0-9]{1,18}", text):
        violation = FieldViolation(field=name, description="Value must be a number")
        raise InvalidArgumentError.of_fields([violation])
    return int(text)


def _look_at(future: asyncio.Future[bytes]) -> None:
    """Keep asyncio from reporting an error that nobody waits for: the client is gone."""
    if not future.cancelled():
        future.exception()


def _find_range(request: Request, reader: ImageReader, headers: dict[str, str]) -> ByteRange | None:
    """Find what to send; an image never changes, so If-Range asks only whether it is this one."""
    if request.headers.get("if-range", headers["etag"]) != headers["etag"]:
        return None
    return find_range(request.headers.get("range"), size=reader.size)


def _extents_to_json(reader: ImageReader) -> Iterator[str]:
    """Write piece by piece: an image may have hundreds of thousands of extents."""
    extents = reader.iter_extents()
    comma = ""
    yield f'{{"size":"{reader.size}","chunk_size":"{reader.chunk_size}","extents":['
    while batch := list(islice(extents, _EXTENTS_AT_ONCE)):
        yield comma + ",".join(_to_json(batch))
        comma = ","
    yield "]}"


def _to_json(extents: Iterable[Extent]) -> Iterator[str]:
    # int64 are strings in proto3's JSON.
    return (f'{{"offset":"{each.offset}","length":"{each.length}"}}' for each in extents)
