"""Resumable uploads over HTTP by the tus protocol 1.0.0 (https://tus.io/protocols/resumable-upload).

OPTIONS /upload/v1/files        what is served: creation, termination, expiration
POST    /upload/v1/files        Upload-Length, Upload-Metadata with folderId: 201 and Location
HEAD    /upload/v1/files/{id}   Upload-Offset: where it goes on
PATCH   /upload/v1/files/{id}   bytes from Upload-Offset on: 204 and the new Upload-Offset
DELETE  /upload/v1/files/{id}   forgets it

A client whose connection broke comes back before the server has noticed: each request for an upload
ends the one that still sends bytes of it, and what had come by then is kept.

ImageService.Create takes the Location of a whole upload as its `uri`. Tokens and errors are the
API's.
"""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

from anyio import CancelScope
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from clouddesktop.api.authentication import Callers
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import get_folder
from clouddesktop.errors import (
    AbortedError,
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
)
from clouddesktop.iam.access import Caller
from clouddesktop.model.access import Resource
from clouddesktop.model.roles import Permission
from clouddesktop.source.uploads import Upload, Uploads, UploadWriter

UPLOAD_PATH = "/upload/v1/files"
_VERSION = "1.0.0"
_BYTES = "application/offset+octet-stream"
_WRITE_BYTES = 1 << 20
"""What is gathered before a thread writes it: more threads would cost more than they write."""


class TusVersionError(FailedPreconditionError):
    """The client speaks another version of the protocol."""

    reason = "TUS_VERSION"


class UploadTakenOverError(AbortedError):
    """A later request for the same upload has come."""

    reason = "UPLOAD_TAKEN_OVER"


class UploadMediaTypeError(InvalidArgumentError):
    """What is sent is not declared as bytes of an upload."""

    reason = "UPLOAD_MEDIA_TYPE"


def upload_routes(*, uploads: Uploads, callers: Callers, database: Database) -> list[Route]:
    """Build the routes."""
    served = _Uploads(uploads=uploads, callers=callers, database=database)
    one = f"{UPLOAD_PATH}/{{upload_id}}"
    return [
        Route(UPLOAD_PATH, served.tell, methods=["OPTIONS"]),
        Route(UPLOAD_PATH, served.create, methods=["POST"]),
        Route(one, served.find_offset, methods=["HEAD"]),
        Route(one, served.append, methods=["PATCH"]),
        Route(one, served.delete, methods=["DELETE"]),
    ]


class _Uploads:
    def __init__(self, *, uploads: Uploads, callers: Callers, database: Database) -> None:
        self._uploads = uploads
        self._callers = callers
        self._database = database
        self._appends = _Appends()

    async def tell(self, _request: Request) -> Response:
        headers = {
            "Tus-Version": _VERSION,
            "Tus-Extension": "creation,termination,expiration",
            "Tus-Max-Size": str(self._uploads.most_bytes),
        }
        return _answer(204, headers)

    async def create(self, request: Request) -> Response:
        caller = await self._admit(request)
        metadata = _read_metadata(request.headers.get("upload-metadata", ""))
        folder_id = metadata.get("folderId", "")
        if not folder_id:
            raise _violation("Upload-Metadata", "folderId is required: the folder of the image")
        size = _read_number(request, "upload-length")
        await self._database.aread(get_folder, folder_id)
        caller.require(Permission.COMPUTE_IMAGES_CREATE, Resource.of_folder(folder_id))
        upload = await asyncio.to_thread(
            self._uploads.create,
            owner=caller.id,
            folder_id=folder_id,
            name=metadata.get("filename", ""),
            size=size,
        )
        location = f"{request.url.scheme}://{request.url.netloc}{UPLOAD_PATH}/{upload.id}"
        return _answer(201, {"Location": location, **_expiry(upload)})

    async def find_offset(self, request: Request) -> Response:
        upload = await self._find(request)
        await self._appends.end(upload.id)
        headers = {
            "Upload-Offset": str(self._uploads.offset_of(upload)),
            "Upload-Length": str(upload.size),
            "Cache-Control": "no-store",
        }
        return _answer(200, {**headers, **_expiry(upload)})

    async def append(self, request: Request) -> Response:
        upload = await self._find(request)
        if request.headers.get("content-type") != _BYTES:
            raise UploadMediaTypeError(
                f"The bytes of an upload come as {_BYTES}.", remedy="Set Content-Type to that."
            )
        offset = _read_number(request, "upload-offset")
        await self._appends.end(upload.id)
        with (
            self._appends.begun(upload.id) as scope,
            self._uploads.appending(upload, offset) as writer,
        ):
            await _write_body(request, writer, scope)
        if scope.cancel_called:
            raise UploadTakenOverError(
                f"Another request for the upload {upload.id} has ended this one.",
                remedy="Ask where it goes on, by HEAD.",
            )
        headers = {"Upload-Offset": str(self._uploads.offset_of(upload)), **_expiry(upload)}
        return _answer(204, headers)

    async def delete(self, request: Request) -> Response:
        upload = await self._find(request)
        await self._appends.end(upload.id)
        self._uploads.delete(upload)
        return _answer(204, {})

    async def _find(self, request: Request) -> Upload:
        caller = await self._admit(request)
        return self._uploads.get(request.path_params["upload_id"], owner=caller.id)

    async def _admit(self, request: Request) -> Caller:
        caller = await self._callers.find_sender(request)
        if request.headers.get("tus-resumable") != _VERSION:
            raise TusVersionError(
                f"Uploads speak tus {_VERSION}.", remedy=f"Send Tus-Resumable: {_VERSION}."
            )
        return caller


@dataclass(slots=True)
class _Append:
    scope: CancelScope = field(default_factory=CancelScope)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class _Appends:
    """The requests that send bytes now, one at most for each upload."""

    def __init__(self) -> None:
        self._at_work: dict[str, _Append] = {}

    @contextmanager
    def begun(self, upload_id: str) -> Iterator[CancelScope]:
        """Give what is cancelled when another request for the upload comes; enter it to wait."""
        append = self._at_work[upload_id] = _Append()
        try:
            yield append.scope
        finally:
            del self._at_work[upload_id]
            append.ended.set()

    async def end(self, upload_id: str) -> None:
        """End the request that sends bytes of this upload, and wait until they are kept."""
        while (append := self._at_work.get(upload_id)) is not None:
            append.scope.cancel()
            await append.ended.wait()


async def _write_body(request: Request, writer: UploadWriter, scope: CancelScope) -> None:
    """Write what comes, until it ends, breaks off or is cancelled: what has come is kept then."""
    gathered = bytearray()
    with suppress(ClientDisconnect), scope:
        async for piece in request.stream():
            gathered += piece
            if len(gathered) >= _WRITE_BYTES:
                with CancelScope(shield=True):  # a thread's write goes on, whoever waits for it
                    await asyncio.to_thread(writer.write, bytes(gathered))
                gathered.clear()
    if gathered:
        await asyncio.to_thread(writer.write, bytes(gathered))
    await asyncio.to_thread(writer.sync)


def _answer(status: int, headers: dict[str, str]) -> Response:
    return Response(status_code=status, headers={"Tus-Resumable": _VERSION, **headers})


def _expiry(upload: Upload) -> dict[str, str]:
    moment = datetime.fromtimestamp(upload.expires_at, tz=UTC)
    return {"Upload-Expires": format_datetime(moment, usegmt=True)}


def _read_number(request: Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):  # noqa: PLR2004  (of 64 bits)
        raise _violation(header, "Value must be a number of bytes")
    return int(text)


def _read_metadata(text: str) -> dict[str, str]:
    """Read pairs of a name and its value in base64, separated by commas."""
    found: dict[str, str] = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        name, _, value = pair.partition(" ")
        try:
            found[name] = b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError):
            raise _violation("Upload-Metadata", f"{name[:50]} is no text in base64") from None
    return found


def _violation(field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError.of_fields([FieldViolation(field=field, description=description)])
