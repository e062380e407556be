"""Delete through the official SDK object and the generated stubs, over TLS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.rpc.error_details_pb2 import ErrorInfo, PreconditionFailure, ResourceInfo
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageMetadata,
    DeleteDesktopImageMetadata,
    DeleteDesktopImageRequest,
    GetDesktopImageRequest,
    ListDesktopImagesRequest,
)

from parts.disks import MIB, random_bytes, write_raw
from parts.faults import PausedServer
from parts.official import OfficialClient, refused
from parts.server import ServerProcess

KEY = (("idempotency-key", "0b5c9b5e-55a2-4dfb-8d6e-6d4b0e3f4f22"),)


@pytest.fixture
def compute_image(sources_dir: Path) -> str:
    """A compute image of 2 MiB."""
    write_raw(sources_dir / "golden.raw", size=2 * MIB, data={0: random_bytes(MIB, seed=1)})
    return "golden"


def copy(client: OfficialClient, compute_image: str, name: str) -> DesktopImage:
    image = DesktopImage()
    assert client.wait(client.copy(compute_image, name).id).response.Unpack(image)
    return image


@pytest.mark.proves("delete.gone")
def test_a_deleted_image_is_gone_at_once(server: ServerProcess, compute_image: str) -> None:
    """The operation comes back done with its own types; the name is free, other images stay."""
    client = OfficialClient(server.profile)
    kept, image = copy(client, compute_image, "kept"), copy(client, compute_image, "golden")
    operation = client.images.Delete(DeleteDesktopImageRequest(image_id=image.id))
    assert operation.done
    assert operation.description == "Delete desktop image"
    assert operation.response.Unpack(Empty())
    metadata = DeleteDesktopImageMetadata()
    assert operation.metadata.Unpack(metadata)
    assert metadata.image_id == image.id
    assert client.get_operation(operation.id) == operation
    refusal = refused(lambda: client.images.Get(GetDesktopImageRequest(image_id=image.id)))
    assert refusal.code == grpc.StatusCode.NOT_FOUND
    listed = client.images.List(ListDesktopImagesRequest(folder_id=client.folder_id))
    assert list(listed.desktop_images) == [kept]
    assert copy(client, compute_image, "golden").id != image.id


@pytest.mark.proves("errors.not-found", of=["DesktopImageService/Delete"])
def test_what_is_not_there_is_not_found_at_once(server: ServerProcess) -> None:
    """No operation is made for it."""
    client = OfficialClient(server.profile)
    request = DeleteDesktopImageRequest(image_id="e3vnone")
    refusal = refused(lambda: client.images.Delete(request))
    assert refusal.code == grpc.StatusCode.NOT_FOUND
    assert refusal.message == "Image e3vnone not found"
    assert refusal.get_detail(ResourceInfo).resource_name == "e3vnone"


@pytest.mark.proves("idempotency.repeat", of=["DesktopImageService/Delete"])
def test_a_delete_sent_twice_with_one_key_is_one(server: ServerProcess, compute_image: str) -> None:
    """The second answer is the first one's; another image under the key is refused."""
    client = OfficialClient(server.profile)
    image, other = copy(client, compute_image, "one"), copy(client, compute_image, "two")
    request = DeleteDesktopImageRequest(image_id=image.id)
    first = client.images.Delete(request, metadata=KEY)
    assert client.images.Delete(request, metadata=KEY) == first
    refusal = refused(lambda: client.images.Delete(request))
    assert refusal.code == grpc.StatusCode.NOT_FOUND
    request.image_id = other.id
    refusal = refused(lambda: client.images.Delete(request, metadata=KEY))
    assert refusal.get_detail(ErrorInfo).reason == "IDEMPOTENCY_KEY_REUSED"
    client.images.Get(GetDesktopImageRequest(image_id=other.id))


def test_an_image_that_is_being_made_stays(
    make_server: Callable[..., ServerProcess], compute_image: str, tmp_path: Path
) -> None:
    """FAILED_PRECONDITION names the operation; once it is done, the image can go."""
    paused = PausedServer(make_server, tmp_path, failpoint="plan-begin")
    client = OfficialClient(paused.server.profile)
    operation = client.copy(compute_image, "golden")
    metadata = CopyDesktopImageMetadata()
    assert operation.metadata.Unpack(metadata)
    paused.wait_paused()
    request = DeleteDesktopImageRequest(image_id=metadata.image_id)
    refusal = refused(lambda: client.images.Delete(request))
    assert refusal.code == grpc.StatusCode.FAILED_PRECONDITION
    assert operation.id in refusal.message
    assert refusal.get_detail(ErrorInfo).reason == "IMAGE_BEING_MADE"
    assert refusal.get_detail(PreconditionFailure).violations[0].subject == metadata.image_id
    paused.go_on()
    client.wait(operation.id)
    assert client.images.Delete(request).done
