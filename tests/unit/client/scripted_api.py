"""A small server on real sockets, gRPC and HTTPS, that answers what a test has laid out for it."""

# ruff: noqa: ARG002, N802  (the generated servicers' signatures and names)

from __future__ import annotations

import json
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import grpc
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.protobuf.message import Message
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageMetadata,
    CopyDesktopImageRequest,
    GetDesktopImageRequest,
    ListDesktopImagesRequest,
    ListDesktopImagesResponse,
)
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2_grpc import (
    DesktopImageServiceServicer,
    add_DesktopImageServiceServicer_to_server,
)
from yandex.cloud.endpoint.api_endpoint_pb2 import ApiEndpoint
from yandex.cloud.endpoint.api_endpoint_service_pb2 import (
    ListApiEndpointsRequest,
    ListApiEndpointsResponse,
)
from yandex.cloud.endpoint.api_endpoint_service_pb2_grpc import (
    ApiEndpointServiceServicer,
    add_ApiEndpointServiceServicer_to_server,
)
from yandex.cloud.iam.v1.iam_token_service_pb2 import CreateIamTokenRequest, CreateIamTokenResponse
from yandex.cloud.iam.v1.iam_token_service_pb2_grpc import (
    IamTokenServiceServicer,
    add_IamTokenServiceServicer_to_server,
)
from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.operation.operation_service_pb2 import GetOperationRequest
from yandex.cloud.operation.operation_service_pb2_grpc import (
    OperationServiceServicer,
    add_OperationServiceServicer_to_server,
)

from clouddesktop.app.tls import prepare_tls
from clouddesktop.client import Profile
from clouddesktop.model.operation import Phase, Progress

FOLDER_ID = "b1gfolder"
OPERATION_ID = "e3ooperation"
IMAGE_ID = "e3vimage"
CREATED_AT = datetime(2026, 11, 24, 12, 30, 0, 123000, tzinfo=UTC)


def an_image(**values: Any) -> DesktopImage:
    """Make an image message; `values` replace the usual ones."""
    image = DesktopImage(
        **{
            "id": IMAGE_ID,
            "folder_id": FOLDER_ID,
            "status": DesktopImage.Status.ACTIVE,
            "name": "Debian 12",
            "storage_size": 1234,
            "min_disk_size": 64424509440,
            **values,
        }
    )
    image.created_at.FromDatetime(CREATED_AT)
    return image


def an_operation(
    *, response: Message | None = None, error: tuple[int, str] | None = None, **values: Any
) -> Operation:
    """Make a copy's operation: running, or done with a response or an error."""
    operation = Operation(**{"id": OPERATION_ID, "created_by": "ajeadmin", **values})
    operation.created_at.FromDatetime(CREATED_AT)
    operation.modified_at.FromDatetime(CREATED_AT)
    operation.metadata.Pack(CopyDesktopImageMetadata(image_id=IMAGE_ID))
    if response is not None:
        operation.done = True
        operation.response.Pack(response)
    if error is not None:
        operation.done = True
        operation.error.code, operation.error.message = error
    return operation


@dataclass
class ScriptedApi:
    """What the server answers, and what it was asked.

    `looks` are the answers of OperationService.Get, one a call, the last for good: an operation
    with its progress, or a status code to fail with. `http_failures` are taken by the first HTTP
    requests: a status, or "break" for an answer that ends early. `spoilt` changes the frames of
    some chunks.
    """

    profile: Profile
    images: list[DesktopImage] = field(default_factory=lambda: [an_image()])
    copied: Operation | grpc.StatusCode = field(default_factory=an_operation)
    looks: list[tuple[Operation, Progress | None] | grpc.StatusCode] = field(default_factory=list)
    refused_tokens: set[str] = field(default_factory=set)
    disk: bytes = b""
    chunk_size: int = 4096
    frames_at_once: int = 100
    extents: list[tuple[int, int]] = field(default_factory=list)
    spoilt: dict[int, Callable[[bytes], bytes]] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    http_failures: list[int | str] = field(default_factory=list)
    issued_tokens: list[str] = field(default_factory=list)
    jwts: list[str] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    copies: list[CopyDesktopImageRequest] = field(default_factory=list)
    lists: list[ListDesktopImagesRequest] = field(default_factory=list)
    looked: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def let_copy_succeed(self) -> None:
        """Let the copy be half done at the first look, and done at the second."""
        half = Progress(phase=Phase.COPYING, bytes_total=1000, bytes_done=500, bytes_new=500)
        full = Progress(phase=Phase.DONE, bytes_total=1000, bytes_done=1000, bytes_new=1000)
        self.looks = [(an_operation(), half), (an_operation(response=an_image()), full)]

    def check(self, context: grpc.ServicerContext) -> None:
        """Note what came along, and refuse a missing or withdrawn token."""
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        self.metadata.append(metadata)
        self.check_token(metadata.get("authorization", ""), context)

    def check_token(self, text: str, context: grpc.ServicerContext | None = None) -> bool:
        token = text.removeprefix("Bearer ")
        is_good = token in self.issued_tokens and token not in self.refused_tokens
        if not is_good and context is not None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "The token is not valid.")
        return is_good

    def iter_frames(self, first: int, count: int) -> Iterator[bytes]:
        """Give the frames of some chunks: every second one compressed, as the extents say."""
        for offset, length in self.extents:
            for start in range(offset, offset + length, self.chunk_size):
                number = start // self.chunk_size
                plain = self.disk[start : start + self.chunk_size]
                stored = zstandard.compress(plain) if number % 2 else plain
                head = struct.pack("<QIII", number, number % 2, len(stored), len(plain))
                frame = head + blake3(plain).digest() + stored
                if first <= number < first + count:
                    yield self.spoilt.get(number, bytes)(frame)

    def next_look(self) -> tuple[Operation, Progress | None] | grpc.StatusCode:
        with self.lock:
            return self.looks[0] if len(self.looks) == 1 else self.looks.pop(0)


class _Images(DesktopImageServiceServicer):
    def __init__(self, api: ScriptedApi) -> None:
        self._api = api

    def Copy(self, request: CopyDesktopImageRequest, context: Any) -> Operation:
        self._api.check(context)
        self._api.copies.append(request)
        if isinstance(self._api.copied, grpc.StatusCode):
            context.abort(self._api.copied, "Scripted.")
        assert isinstance(self._api.copied, Operation)
        return self._api.copied

    def Get(self, request: GetDesktopImageRequest, context: Any) -> DesktopImage:
        self._api.check(context)
        for image in self._api.images:
            if image.id == request.image_id:
                return image
        context.abort(grpc.StatusCode.NOT_FOUND, f"Image {request.image_id} not found")
        raise AssertionError

    def List(self, request: ListDesktopImagesRequest, context: Any) -> ListDesktopImagesResponse:
        """Give pages of two, whatever was asked for."""
        self._api.check(context)
        self._api.lists.append(request)
        images = [each for each in self._api.images if each.folder_id == request.folder_id]
        start = int(request.page_token or 0)
        end = start + 2
        return ListDesktopImagesResponse(
            desktop_images=images[start:end],
            next_page_token=str(end) if end < len(images) else "",
        )


class _Operations(OperationServiceServicer):
    def __init__(self, api: ScriptedApi) -> None:
        self._api = api

    def Get(self, request: GetOperationRequest, context: Any) -> Operation:
        self._api.check(context)
        if request.operation_id != OPERATION_ID:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Operation {request.operation_id} not found")
        look = self._api.next_look()
        if isinstance(look, grpc.StatusCode):
            context.abort(look, "Scripted.")
        assert isinstance(look, tuple)
        operation, progress = look
        if progress is not None:
            text = json.dumps(progress.to_record())
            context.set_trailing_metadata((("x-operation-progress", text),))
        self._api.looked.set()
        return operation


class _Tokens(IamTokenServiceServicer):
    def __init__(self, api: ScriptedApi) -> None:
        self._api = api

    def Create(self, request: CreateIamTokenRequest, context: Any) -> CreateIamTokenResponse:
        self._api.jwts.append(request.jwt)
        token = f"t1.{len(self._api.jwts)}"
        self._api.issued_tokens.append(token)
        answer = CreateIamTokenResponse(iam_token=token)
        answer.expires_at.FromDatetime(datetime.now(tz=UTC) + timedelta(hours=12))
        return answer


class _Endpoints(ApiEndpointServiceServicer):
    def __init__(self, api: ScriptedApi) -> None:
        self._api = api

    def List(self, request: ListApiEndpointsRequest, context: Any) -> ListApiEndpointsResponse:
        address = self._api.profile.endpoint
        ids = ("iam", "operation", "endpoint", "clouddesktops")
        return ListApiEndpointsResponse(
            endpoints=[ApiEndpoint(id=each, address=address) for each in ids]
        )


class _HttpHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, api: ScriptedApi, *arguments: Any) -> None:
        self._api = api
        super().__init__(*arguments)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self._api.paths.append(url.path.rpartition("/")[2])
        with self._api.lock:
            failure = self._api.http_failures.pop(0) if self._api.http_failures else None
        if not self._api.check_token(self.headers.get("authorization", "")):
            failure = 401
        if isinstance(failure, int) and failure != 200:
            code = {401: 16, 404: 5}.get(failure, 14)
            self._answer(failure, json.dumps({"code": code, "message": "Scripted."}).encode())
        elif url.path == f"/delivery/v1/images/{IMAGE_ID}/extents":
            extents = [{"offset": str(at), "length": str(size)} for at, size in self._api.extents]
            record = {"size": str(len(self._api.disk)), "chunk_size": str(self._api.chunk_size)}
            self._answer(200, json.dumps(record | {"extents": extents}).encode())
        elif url.path == f"/delivery/v1/images/{IMAGE_ID}/chunks":
            query = {name: int(values[0]) for name, values in parse_qs(url.query).items()}
            frames = self._api.iter_frames(query["first"], query["count"])
            body = b"".join(islice(frames, self._api.frames_at_once))
            self._answer(200, body, is_broken=failure == "break")
        else:
            self._answer_range(is_broken=failure == "break")

    def _answer_range(self, *, is_broken: bool) -> None:
        first, last = map(int, self.headers["range"].removeprefix("bytes=").split("-"))
        body = self._api.disk[first : last + 1]
        said = f"bytes {first}-{last}/{len(self._api.disk)}"
        self._answer(206, body, content_range=said, is_broken=is_broken)

    def _answer(
        self, status: int, body: bytes, *, content_range: str = "", is_broken: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        if content_range:
            self.send_header("content-range", content_range)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if is_broken else body)
        if is_broken:
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  (the signature of http.server)
        """Keep quiet."""


def make_key(path: Path) -> rsa.RSAPublicKey:
    """Write an authorised key with a guard line, as the public cloud does."""
    private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    record = {
        "id": "ajkkey",
        "service_account_id": "ajeadmin",
        "created_at": "2026-11-24T12:00:00Z",
        "key_algorithm": "RSA_2048",
        "public_key": "",
        "private_key": f"PLEASE DO NOT REMOVE THIS LINE! <ajkkey>\n{pem}",
    }
    path.write_text(json.dumps(record))
    return private_key.public_key()


@contextmanager
def serving_grpc(
    api: ScriptedApi, *, address: str, credentials: grpc.ServerCredentials
) -> Iterator[int]:
    """Serve gRPC until the end of the block; gives the port."""
    with ThreadPoolExecutor(8) as threads:
        server = grpc.server(threads, options=(("grpc.so_reuseport", 0),))
        add_DesktopImageServiceServicer_to_server(_Images(api), server)  # type: ignore[abstract]  # enough here
        add_OperationServiceServicer_to_server(_Operations(api), server)  # type: ignore[abstract]  # enough here
        add_IamTokenServiceServicer_to_server(_Tokens(api), server)  # type: ignore[abstract]  # enough here
        add_ApiEndpointServiceServicer_to_server(_Endpoints(api), server)  # type: ignore[abstract]  # enough here
        port = server.add_secure_port(address, credentials)
        server.start()
        try:
            yield port
        finally:
            server.stop(0).wait()


@contextmanager
def serving_http(api: ScriptedApi, context: ssl.SSLContext) -> Iterator[int]:
    """Serve HTTPS until the end of the block; gives the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_HttpHandler, api))
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Tls:
    """A server's certificate in the forms that both servers take."""

    ca: Path
    grpc: grpc.ServerCredentials
    http: ssl.SSLContext


def make_tls(folder: Path) -> Tls:
    files = prepare_tls(folder, names=("localhost", "127.0.0.1"))
    chain, key = files.certificate, files.key
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return Tls(
        ca=files.ca,
        grpc=grpc.ssl_server_credentials([(key.read_bytes(), chain.read_bytes())]),
        http=context,
    )
