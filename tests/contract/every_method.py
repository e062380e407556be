"""Every method that is served, on both wires, over one catalogue that tests put things into.

The requests are those of the table of rights (unit/api/access_table.py): a method that is served
and not there fails a test of its own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import httpx
from google.protobuf import descriptor_pool, json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from yandex.cloud.access.access_pb2 import Subject
from yandex.cloud.endpoint import api_endpoint_service_pb2 as endpoints
from yandex.cloud.iam.v1.iam_token_service_pb2 import CreateIamTokenRequest
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.api.auditing import Auditing
from clouddesktop.api.http_edge import HttpEdge
from clouddesktop.api.rest import RestApp
from clouddesktop.api.server import GrpcServer
from clouddesktop.audit import AuditLog
from parts.transcoding import to_rest
from unit.api.access_table import OPEN, TABLE
from unit.api.access_world import OWN_FOLDER, Place, World
from unit.iam.signing import sign

Metadata = Mapping[str, str]
NOTHING: Metadata = {}
ADMIN, CLOUD_ID = "ajeadmin", "b1ccloud"
NOWHERE = Place(
    folder_id="b1gnone",
    image_id="e3vnone",
    operation_id="e3onone",
    empty_folder_id="b1gnone",
    compute_image_id="none",
    imported_id="fd8none",
    account_id="ajenone",
    key_id="ajknone",
    cloud_id="b1cnone",
)
"""Ids that nobody has."""
EVERY_PATH = sorted(set(TABLE) | OPEN)


def descriptor_of(path: str) -> MethodDescriptor:
    service, name = path.removeprefix("/").split("/")
    found: MethodDescriptor = (
        descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    )
    return found


def request_class_of(path: str) -> type[Message]:
    return GetMessageClass(descriptor_of(path).input_type)


def is_change(path: str) -> bool:
    """Tell whether a method answers with an operation that it has made."""
    returned = descriptor_of(path).output_type.full_name
    return returned == Operation.DESCRIPTOR.full_name and "OperationService" not in path


CHANGES = [each for each in EVERY_PATH if is_change(each)]
PAGES = [
    each for each in sorted(TABLE) if "page_token" in descriptor_of(each).input_type.fields_by_name
]
UPDATES = [each for each in EVERY_PATH if each.endswith("/Update")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a caller hears; `ids` are those in the headers or the metadata."""

    status: Status
    ids: dict[str, str]
    http_status: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The API on both wires; calls are the cloud's administrator's if nothing else is said."""

    world: World
    channel: grpc.aio.Channel
    http: httpx.AsyncClient
    log: Path
    sources: Path
    """Has a folder for each folder of the world, whose files are compute images."""

    def request(self, path: str, place: Place | None = None) -> Message:
        """Make a request that is in order, about a place of its own if none is given."""
        if path not in OPEN:
            self.world.free_name("new")
            request = TABLE[path].request(place or self.world.make_place(OWN_FOLDER))
            if path.endswith("CloudService/SetAccessBindings"):  # who calls keeps the right to
                admin = Subject(id=ADMIN, type="serviceAccount")
                cast("Any", request).access_bindings.add(role_id="admin", subject=admin)
            return request
        if path.endswith("IamTokenService/Create"):
            return CreateIamTokenRequest(jwt=sign(headers={"kid": "ajkadmin"}))
        if path.endswith("/Get"):
            return endpoints.GetApiEndpointRequest(api_endpoint_id="iam")
        return endpoints.ListApiEndpointsRequest()

    async def answer(self, path: str, request: Message, metadata: Metadata = NOTHING) -> Any:
        """Call without a wire, and give the answer."""
        token = None if path in OPEN else self.world.token_of(ADMIN)
        return await self.world.answer(path, request, token, metadata)

    async def by_grpc(
        self, path: str, request: Message, metadata: Metadata = NOTHING, *, has_token: bool = True
    ) -> tuple[Message, dict[str, str]] | Refusal:
        """Call, and give the answer with its ids, or how it was refused."""
        output = GetMessageClass(descriptor_of(path).output_type)
        call = self.channel.unary_unary(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=output.FromString,
        )(request, metadata=list(self._metadata(metadata, has_token=has_token).items()), timeout=20)
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            return _refusal_of(error)
        return answer, _texts(await call.trailing_metadata())

    async def by_rest(
        self, path: str, request: Message, metadata: Metadata = NOTHING, *, has_token: bool = True
    ) -> tuple[Message, dict[str, str]] | Refusal:
        """Do the same by HTTP; the JSON is read as strictly as the library does."""
        method = descriptor_of(path)
        said = to_rest(method, request)
        response = await self.http.request(
            said.verb,
            said.path,
            params=said.parameters,
            json=said.body,
            headers=self._metadata(metadata, has_token=has_token),
        )
        assert response.headers["content-type"] == "application/json"
        told, ids = json.loads(response.text), dict(response.headers)
        if response.status_code != httpx.codes.OK:
            status = json_format.ParseDict(told, Status())
            return Refusal(status=status, ids=ids, http_status=response.status_code)
        return json_format.ParseDict(told, GetMessageClass(method.output_type)()), ids

    def events(self) -> list[dict[str, Any]]:
        """Give every event of the audit log since the start."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def _metadata(self, metadata: Metadata, *, has_token: bool) -> dict[str, str]:
        token = {"authorization": f"Bearer {self.world.token_of(ADMIN)}"} if has_token else {}
        return {**token, **metadata}


def _refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    status = rpc_status.from_call(cast("grpc.Call", error))
    assert status is not None, error
    assert (status.code, status.message) == (error.code().value[0], error.details())
    return Refusal(status=status, ids=_texts(error.trailing_metadata()))


def _texts(metadata: Any) -> dict[str, str]:
    return {key: value for key, value in metadata or () if isinstance(value, str)}


@asynccontextmanager
async def open_site(folder: Path) -> AsyncIterator[Site]:
    """Serve a new catalogue on both wires until the end of the block."""
    log = AuditLog(folder / "audit", most_bytes=1 << 24, most_files=1)
    world = World(folder, make_auditing=lambda: Auditing(log, find_cloud_id=lambda _: CLOUD_ID))
    server = GrpcServer(address="127.0.0.1:0", credentials=None, api=world.api)
    port = await server.start()
    transport = httpx.ASGITransport(app=HttpEdge(RestApp(world.api)))
    try:
        async with (
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
            httpx.AsyncClient(transport=transport, base_url="http://rest") as http,
        ):
            path = folder / "audit/audit.jsonl"
            yield Site(world=world, channel=channel, http=http, log=path, sources=folder)
    finally:
        await server.stop(0)
        log.close()
        world.database.close()
