"""The life of an image as a program with the official SDK lives it: only its own helpers wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageMetadata,
    DeleteDesktopImageMetadata,
    DeleteDesktopImageRequest,
    GetDesktopImageRequest,
    ListDesktopImagesRequest,
    UpdateDesktopImageMetadata,
    UpdateDesktopImageRequest,
)
from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.resourcemanager.v1.folder_pb2 import Folder
from yandex.cloud.resourcemanager.v1.folder_service_pb2 import (
    CreateFolderMetadata,
    CreateFolderRequest,
    GetFolderRequest,
)
from yandex.cloud.resourcemanager.v1.folder_service_pb2_grpc import FolderServiceStub

from parts.disks import MIB, random_bytes, write_raw
from parts.official import OfficialClient, refused
from parts.server import ServerProcess

Response = TypeVar("Response", bound=Message)
NAME = "Ubuntu 24.04 LTS (2026-11-01)"


def finish(
    client: OfficialClient,
    operation: Operation,
    response_type: type[Response],
    meta_type: type[Message],
) -> tuple[Response, Any]:
    """Wait with the SDK; both of the operation's messages must be of these types."""
    result: Any = client.sdk.wait_operation_and_get_result(
        operation, response_type=response_type, meta_type=meta_type, timeout=60
    )
    assert isinstance(result.response, response_type)
    assert isinstance(result.meta, meta_type)
    return result.response, result.meta


def list_by_name(client: OfficialClient, name: str) -> list[DesktopImage]:
    request = ListDesktopImagesRequest(folder_id=client.folder_id, filter=f'name = "{name}"')
    return list(client.images.List(request).desktop_images)


@pytest.mark.proves("client.python")
@pytest.mark.proves(
    "operation.types",
    of=["DesktopImageService/Copy", "DesktopImageService/Update", "DesktopImageService/Delete"],
)
def test_an_image_lives_from_copy_to_delete(server: ServerProcess, sources_dir: Path) -> None:
    """Copy, wait, find by name, update, find by the new name, delete, not found."""
    write_raw(sources_dir / "golden.raw", size=2 * MIB, data={0: random_bytes(MIB, seed=1)})
    client = OfficialClient(server.profile)
    copied, copy_meta = finish(
        client, client.copy("golden", NAME), DesktopImage, CopyDesktopImageMetadata
    )
    assert copy_meta.image_id == copied.id
    assert copied.status == DesktopImage.ACTIVE
    assert list_by_name(client, NAME) == [copied]

    request = UpdateDesktopImageRequest(
        image_id=copied.id, name="renamed", update_mask=FieldMask(paths=["name"])
    )
    updated, update_meta = finish(
        client, client.images.Update(request), DesktopImage, UpdateDesktopImageMetadata
    )
    assert update_meta.image_id == updated.id == copied.id
    assert list_by_name(client, NAME) == []
    assert list_by_name(client, "renamed") == [updated]

    deleted: Any = client.sdk.wait_operation_and_get_result(
        client.images.Delete(DeleteDesktopImageRequest(image_id=copied.id)),
        response_type=Empty,
        meta_type=DeleteDesktopImageMetadata,
        timeout=60,
    )
    assert deleted.response is None  # what the SDK makes of Empty
    assert deleted.meta.image_id == copied.id
    assert list_by_name(client, "renamed") == []
    gone = refused(lambda: client.images.Get(GetDesktopImageRequest(image_id=copied.id)))
    assert gone.code == grpc.StatusCode.NOT_FOUND


@pytest.mark.proves("operation.types", of=["FolderService/Create"])
def test_the_sdk_creates_and_waits_in_one_call(server: ServerProcess) -> None:
    """`create_operation_and_get_result` finds the service by its stub, as in the public cloud."""
    client = OfficialClient(server.profile)
    folders: FolderServiceStub = client.sdk.client(FolderServiceStub)
    cloud_id = folders.Get(GetFolderRequest(folder_id=client.folder_id)).cloud_id
    sdk: Any = client.sdk  # its types ask for a class where it takes a message
    result = sdk.create_operation_and_get_result(
        CreateFolderRequest(cloud_id=cloud_id, name="made-by-the-sdk"),
        service=FolderServiceStub,
        method_name="Create",
        response_type=Folder,
        meta_type=CreateFolderMetadata,
        timeout=60,
    )
    assert result.response.name == "made-by-the-sdk"
    assert result.meta.folder_id == result.response.id
    assert folders.Get(GetFolderRequest(folder_id=result.response.id)) == result.response
