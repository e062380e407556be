"""The API as REST: every method that is served, by the same chain as gRPC.

    verb, path, query, body ── BindingTable ─> message ─> Call ─> chain ─> answer ─> proto3 JSON

Errors leave for the edge of the HTTP side (http_edge.py), which words them as google.rpc.Status.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from clouddesktop.api.calls import Call
from clouddesktop.api.rest_bindings import Binding, BindingTable
from clouddesktop.api.rest_requests import build_request
from clouddesktop.api.served import Api
from clouddesktop.errors import FieldViolation, InvalidArgumentError, ResourceExhaustedError

_MOST_BODY_BYTES = 1 << 20
"""Packed or unpacked: as much as gRPC takes in a message."""

_WHOLE_SECONDS = re.compile(r"[0-9]{1,4}")
MOST_SECONDS = 3600
TIMEOUT_HEADER = "x-server-timeout"
"""Seconds that the client will wait: REST has no other word for a deadline."""


class BodyTooLargeError(ResourceExhaustedError):
    """The request's body is larger than any request may be."""

    reason = "BODY_TOO_LARGE"


class RestApp:
    """An ASGI application that answers every path of the API."""

    def __init__(self, api: Api, further: Sequence[ServiceDescriptor] = ()) -> None:
        """Serve `api`; methods of `further` services are known, and answer UNIMPLEMENTED."""
        self._api = api
        self.table = BindingTable([*(each.descriptor for each in api.services), *further])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        verb = "GET" if request.method == "HEAD" else request.method
        raw_path = request.scope["raw_path"].decode("latin-1")
        binding, variables = self.table.find(verb, raw_path)
        message = build_request(
            binding,
            variables=variables,
            query=request.query_params.multi_items(),
            body=await _read_body(request),
        )
        call = self._call_of(request, binding, message)
        answer = await self._api.find(binding.path).proceed(call)
        return Response(
            MessageToJson(answer, indent=None, ensure_ascii=False),
            media_type="application/json",
            headers={key: value for key, value in call.trailing.items() if key not in call.ids},
        )

    def _call_of(self, request: Request, binding: Binding, message: Message) -> Call:
        client = request.client
        ids = request.scope.get("ids", {})
        return Call(
            method=self._api.find(binding.path).method,
            metadata=dict(request.headers),
            peer=f"{client.host}:{client.port}" if client else "",
            request=message,
            seconds_left=_seconds_left(request),
            **ids,
        )


def _seconds_left(request: Request) -> float | None:
    text = request.headers.get(TIMEOUT_HEADER)
    if text is None:
        return None
    if not _WHOLE_SECONDS.fullmatch(text) or not 1 <= int(text) <= MOST_SECONDS:
        description = f"Value must be a whole number from 1 to {MOST_SECONDS}"
        violation = FieldViolation(field=TIMEOUT_HEADER, description=description)
        raise InvalidArgumentError.of_fields([violation])
    return float(text)


async def _read_body(request: Request) -> bytes:
    """Read the body, unpacked, and no more of it than a request may have."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise InvalidArgumentError.of_fields(
            [FieldViolation(field="content-encoding", description="Value must be gzip or identity")]
        )
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            _check_size(body)
    except ClientDisconnect:
        return b""
    return bytes(body) if encoding == "identity" else _unpack(bytes(body))


def _unpack(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = unpacking.decompress(packed, _MOST_BODY_BYTES + 1)
    except zlib.error:
        plain = b""
    _check_size(plain)
    if not unpacking.eof or unpacking.unused_data:
        raise InvalidArgumentError.of_fields(
            [FieldViolation(field="body", description="This is no gzip, or no whole one")]
        )
    return plain


def _check_size(body: bytes | bytearray) -> None:
    if len(body) > _MOST_BODY_BYTES:
        raise BodyTooLargeError(
            f"The request's body has more than {_MOST_BODY_BYTES} bytes.",
            remedy="Ask for less at a time.",
        )
