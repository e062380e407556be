"""One way to call any method of the API by either wire: a scenario is written once for both."""

from __future__ import annotations

import json
import time
from typing import Any, Protocol, cast

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2  # noqa: F401  (details name its types)
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from yandex.cloud.operation import operation_service_pb2
from yandex.cloud.operation.operation_pb2 import Operation

from parts.rest import RestClient
from parts.transcoding import to_rest

POLL_SECONDS = 0.05
_GET_OPERATION = operation_service_pb2.DESCRIPTOR.services_by_name[
    "OperationService"
].methods_by_name["Get"]


class Wire(Protocol):
    """Calls methods by their descriptors."""

    def call(self, method: MethodDescriptor, request: Message) -> Any:
        """Give the answer; a refusal comes as its Status."""


class StubWire:
    """Calls through the official SDK's stubs, which are given by their services' full names."""

    def __init__(self, stubs: dict[str, Any]) -> None:
        self._stubs = stubs

    def call(self, method: MethodDescriptor, request: Message) -> Any:
        stub = self._stubs[method.containing_service.full_name]
        try:
            return getattr(stub, method.name)(request)
        except grpc.RpcError as error:
            return rpc_status.from_call(cast("grpc.Call", error)) or error


class RestWire:
    """Calls by HTTP; answers are read as strictly as protobuf's library does."""

    def __init__(self, client: RestClient) -> None:
        self._client = client

    def call(self, method: MethodDescriptor, request: Message) -> Any:
        said = to_rest(method, request)
        response = self._client.http.request(
            said.verb, said.path, params=said.parameters, json=said.body
        )
        is_good = response.is_success
        answer = GetMessageClass(method.output_type)() if is_good else Status()
        return json_format.ParseDict(json.loads(response.text), answer)


def wait(wire: Wire, operation: Operation, *, timeout_seconds: float = 60) -> Operation:
    """Poll by the wire until an operation is done."""
    deadline = time.monotonic() + timeout_seconds
    request = operation_service_pb2.GetOperationRequest(operation_id=operation.id)
    while time.monotonic() < deadline:
        found: Operation = wire.call(_GET_OPERATION, request)
        if found.done:
            return found
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"Operation {operation.id} is not done after {timeout_seconds} s.")
