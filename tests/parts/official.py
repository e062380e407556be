"""The official SDK, pointed at a server of ours."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest
import yaml
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageRequest,
    DeleteDesktopImageRequest,
)
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2_grpc import DesktopImageServiceStub
from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.operation.operation_service_pb2 import GetOperationRequest
from yandex.cloud.operation.operation_service_pb2_grpc import OperationServiceStub
from yandexcloud._sdk import SDK

POLL_SECONDS = 0.05
Detail = TypeVar("Detail", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a client learns from a call that failed."""

    code: grpc.StatusCode
    message: str
    status: Status
    trailing: dict[str, str | bytes]

    def get_detail(self, kind: type[Detail]) -> Detail:
        """Give the one detail of this type."""
        detail = kind()
        found = [each for each in self.status.details if each.Is(kind.DESCRIPTOR)]
        assert len(found) == 1, self.status
        found[0].Unpack(detail)
        return detail


def refused(call: Callable[[], object]) -> Refusal:
    """Make a call that must fail, and give its status with details."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value  # a grpc.Call too, which the stubs cannot say
    status = rpc_status.from_call(error)
    assert status is not None
    return Refusal(
        code=error.code(),
        message=error.details() or "",
        status=status,
        trailing=dict(error.trailing_metadata()),
    )


class OfficialClient:
    """The generated stubs over channels that the official SDK makes, with its tokens."""

    def __init__(self, profile: Path, *, host: str | None = None) -> None:
        settings = yaml.safe_load(profile.read_text())
        self.folder_id: str = settings["folder_id"]
        self.endpoint: str = settings["endpoint"]
        if host is not None:
            self.endpoint = f"{host}:{self.endpoint.rpartition(':')[2]}"
        self.root_certificates = Path(settings["ca"]).read_bytes()
        self.sdk = SDK(
            endpoint=self.endpoint,
            root_certificates=self.root_certificates,
            service_account_key=json.loads(Path(settings["key"]).read_text()),
        )
        self.operations: OperationServiceStub = self.sdk.client(OperationServiceStub)
        # The SDK's table of services lacks Cloud Desktop: its own channel by the endpoint's id.
        self.images = DesktopImageServiceStub(self.sdk._channels.channel("clouddesktops"))

    def copy(self, compute_image_id: str, name: str, **fields: Any) -> Operation:
        return self.images.Copy(
            CopyDesktopImageRequest(
                folder_id=self.folder_id, image_id=compute_image_id, name=name, **fields
            )
        )

    def delete_copied(self, operation: Operation) -> Operation:
        """Delete the image that a copy has made."""
        image = DesktopImage()
        assert operation.response.Unpack(image)
        return self.images.Delete(DeleteDesktopImageRequest(image_id=image.id))

    def get_operation(self, operation_id: str) -> Operation:
        return self.operations.Get(GetOperationRequest(operation_id=operation_id))

    def wait(self, operation_id: str, *, timeout_seconds: float = 120) -> Operation:
        """Poll until the operation is done, also while the server is started again."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            try:
                operation = self.get_operation(operation_id)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
            else:
                if operation.done:
                    return operation
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"Operation {operation_id} is not done after {timeout_seconds} s.")

    def plain_channel(self) -> grpc.Channel:
        """Open a channel with TLS and without a token."""
        return grpc.secure_channel(
            self.endpoint, grpc.ssl_channel_credentials(self.root_certificates)
        )
