"""The HTTP side: an image's bytes, and where its data lies. The API as REST comes later.

GET /delivery/v1/images/{image_id}/extents   {"size": "…", "extents": [{"offset", "length"}, …]}
GET /delivery/v1/images/{image_id}/disk      the disk as its guest sees it; takes one Range
GET /healthz                                 200 as long as the server answers at all
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import ParamSpec, TypeVar

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from clouddesktop.api.authentication import authenticate
from clouddesktop.api.byte_ranges import ByteRange, find_range
from clouddesktop.api.http_edge import HttpEdge
from clouddesktop.delivery.export import Exports, ImageReader
from clouddesktop.errors import NotFoundError, UnimplementedError
from clouddesktop.iam.tokens import TokenService
from clouddesktop.model.manifest import Extent

_PIECE_SIZE = 2 << 20
"""Bytes read at a time; a request holds two pieces, one on its way out and one being read."""

_EXTENTS_AT_ONCE = 1000
_READERS = 4
"""Threads that read for all requests together, apart from those that the API's calls need."""

_BYTES = "application/octet-stream"
_MOST_ID_CHARACTERS = 50
_EVERY_METHOD = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

P = ParamSpec("P")
R = TypeVar("R")


def build_http_app(*, exports: Exports, tokens: TokenService) -> Starlette:
    """Build the ASGI application; its threads end with the interpreter."""
    delivery = _Delivery(exports=exports, tokens=tokens)
    return Starlette(
        routes=[
            Route("/delivery/v1/images/{image_id}/extents", delivery.get_extents),
            Route("/delivery/v1/images/{image_id}/disk", delivery.get_disk),
            Route("/healthz", _get_health),
            Route("/{path:path}", _refuse, methods=_EVERY_METHOD),
        ],
        middleware=[Middleware(HttpEdge)],
    )


class _Delivery:
    def __init__(self, *, exports: Exports, tokens: TokenService) -> None:
        self._exports = exports
        self._tokens = tokens
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="delivery")

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
        return StreamingResponse(
            await self._begin(reader, wanted),
            status_code=200 if byte_range is None else 206,
            headers=headers,
            media_type=_BYTES,
        )

    async def _open(self, request: Request) -> ImageReader:
        subject = authenticate(self._tokens, request.headers.get("authorization"))
        structlog.contextvars.bind_contextvars(subject=subject.id)
        image_id = request.path_params["image_id"]
        if len(image_id) > _MOST_ID_CHARACTERS:
            raise NotFoundError.of_resource("Image", f"{image_id[:_MOST_ID_CHARACTERS]}…")
        return await self._in_thread(self._exports.open_image, image_id)

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

    async def _in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._submit(function, *args, **kwargs)

    def _submit(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[R]:
        return asyncio.wrap_future(self._threads.submit(function, *args, **kwargs))


async def _get_health(_request: Request) -> Response:
    return JSONResponse({"status": "SERVING"})


async def _refuse(request: Request) -> Response:
    raise UnimplementedError(
        f"REST is not served yet: {request.method} {request.url.path[:200]} is unknown.",
        remedy="Use the gRPC API.",
    )


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
    yield f'{{"size":"{reader.size}","extents":['
    while batch := list(islice(extents, _EXTENTS_AT_ONCE)):
        yield comma + ",".join(_to_json(batch))
        comma = ","
    yield "]}"


def _to_json(extents: Iterable[Extent]) -> Iterator[str]:
    # int64 are strings in proto3's JSON.
    return (f'{{"offset":"{each.offset}","length":"{each.length}"}}' for each in extents)
