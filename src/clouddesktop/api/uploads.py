"""Resumable uploads over HTTP by the tus protocol 1.0.0 (https://tus.io/protocols/resumable-upload).

OPTIONS /upload/v1/files        what is served: creation, termination, expiration
POST    /upload/v1/files        Upload-Length, Upload-Metadata with folderId: 201 and Location
HEAD    /upload/v1/files/{id}   Upload-Offset: where it goes on
PATCH   /upload/v1/files/{id}   bytes from Upload-Offset on: 204 and the new Upload-Offset
DELETE  /upload/v1/files/{id}   forgets it

ImageService.Create takes the Location of a whole upload as its `uri`. Tokens and errors are the
API's.
"""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64decode
from datetime import UTC, datetime
from email.utils import format_datetime

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from clouddesktop.api.authentication import Callers
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import get_folder
from clouddesktop.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError
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
        with self._uploads.appending(upload, offset) as writer:
            await _write_body(request, writer)
        headers = {"Upload-Offset": str(self._uploads.offset_of(upload)), **_expiry(upload)}
        return _answer(204, headers)

    async def delete(self, request: Request) -> Response:
        self._uploads.delete(await self._find(request))
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


async def _write_body(request: Request, writer: UploadWriter) -> None:
    """Write what comes, until it ends or breaks off: what has come is kept then."""
    gathered = bytearray()
    try:
        async for piece in request.stream():
            gathered += piece
            if len(gathered) >= _WRITE_BYTES:
                await asyncio.to_thread(writer.write, bytes(gathered))
                gathered.clear()
    except ClientDisconnect:
        pass
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
