"""Update through the generated stubs and the command line, over TLS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageMetadata,
    GetDesktopImageRequest,
    UpdateDesktopImageMetadata,
    UpdateDesktopImageRequest,
)

from parts.disks import MIB, random_bytes, write_raw
from parts.faults import PausedServer
from parts.official import OfficialClient, refused
from parts.server import ServerProcess

KEY = (("idempotency-key", "6f1c2a2e-9f52-4bd8-8d63-1f8c5a0f6a10"),)
LABELS = {"os": "debian", "tier": "gold"}


@pytest.fixture
def compute_image(sources_dir: Path) -> str:
    """A compute image of 2 MiB."""
    write_raw(sources_dir / "golden.raw", size=2 * MIB, data={0: random_bytes(MIB, seed=1)})
    return "golden"


@pytest.fixture
def client(server: ServerProcess) -> OfficialClient:
    return OfficialClient(server.profile)


def copy(client: OfficialClient, compute_image: str, name: str) -> DesktopImage:
    """Copy, and give the image a description and labels."""
    image = DesktopImage()
    assert client.wait(client.copy(compute_image, name).id).response.Unpack(image)
    request = UpdateDesktopImageRequest(
        image_id=image.id, name=name, description="first", labels=LABELS
    )
    assert client.images.Update(request).response.Unpack(image)
    return image


def get(client: OfficialClient, image_id: str) -> DesktopImage:
    image: DesktopImage = client.images.Get(GetDesktopImageRequest(image_id=image_id))
    return image


@pytest.mark.proves("update.no-mask", of=["DesktopImageService/Update"])
def test_without_a_mask_everything_is_overwritten(
    client: OfficialClient, compute_image: str
) -> None:
    """Absent fields are reset; what is not updatable stays; the operation has its own types."""
    image = copy(client, compute_image, "golden")
    assert (image.name, image.description, dict(image.labels)) == ("golden", "first", LABELS)
    operation = client.images.Update(UpdateDesktopImageRequest(image_id=image.id, name="renamed"))
    assert operation.done
    assert operation.description == "Update desktop image"
    metadata = UpdateDesktopImageMetadata()
    assert operation.metadata.Unpack(metadata)
    assert metadata.image_id == image.id
    changed = DesktopImage()
    assert operation.response.Unpack(changed)
    assert changed == get(client, image.id)
    image.name = "renamed"
    image.ClearField("description")
    image.ClearField("labels")
    assert changed == image
    assert client.get_operation(operation.id) == operation


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["description"], ("golden", "second", LABELS)),
        (["labels"], ("golden", "first", {"new": "1"})),
        (["name", "labels"], ("other", "first", {"new": "1"})),
        (["name", "name"], ("other", "first", LABELS)),
    ],
)
@pytest.mark.proves("update.mask", of=["DesktopImageService/Update"])
def test_only_listed_fields_change(
    client: OfficialClient,
    compute_image: str,
    paths: list[str],
    expected: tuple[str, str, dict[str, str]],
) -> None:
    """Labels are replaced whole."""
    image = copy(client, compute_image, "golden")
    request = UpdateDesktopImageRequest(
        image_id=image.id,
        update_mask=FieldMask(paths=paths),
        name="other",
        description="second",
        labels={"new": "1"},
    )
    client.images.Update(request)
    found = get(client, image.id)
    assert (found.name, found.description, dict(found.labels)) == expected


@pytest.mark.proves("update.mask", of=["DesktopImageService/Update"])
def test_a_listed_field_that_is_absent_is_reset(client: OfficialClient, compute_image: str) -> None:
    """Each by itself; the name too."""
    image = copy(client, compute_image, "golden")
    for path in ("labels", "description", "name"):
        mask = FieldMask(paths=[path])
        client.images.Update(UpdateDesktopImageRequest(image_id=image.id, update_mask=mask))
        image.ClearField(path)
        assert get(client, image.id) == image


@pytest.mark.parametrize("path", ["status", "id", "labels.os", "Name", "*", ""])
@pytest.mark.proves("update.unknown-path", of=["DesktopImageService/Update"])
def test_an_unknown_path_is_refused(client: OfficialClient, compute_image: str, path: str) -> None:
    """It is named, and nothing changes."""
    image = copy(client, compute_image, "golden")
    request = UpdateDesktopImageRequest(
        image_id=image.id, name="other", update_mask=FieldMask(paths=["name", path])
    )
    refusal = refused(lambda: client.images.Update(request))
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = refusal.get_detail(BadRequest).field_violations
    assert violation.field == "update_mask"
    assert repr(path) in violation.description
    assert get(client, image.id) == image


@pytest.mark.proves("errors.not-found", of=["DesktopImageService/Update"])
def test_a_name_stays_unique_and_an_unknown_image_is_not_found(
    client: OfficialClient, compute_image: str
) -> None:
    """An image may keep its own name."""
    first, second = copy(client, compute_image, "one"), copy(client, compute_image, "two")
    mask = FieldMask(paths=["name"])
    request = UpdateDesktopImageRequest(image_id=first.id, name="two", update_mask=mask)
    assert refused(lambda: client.images.Update(request)).code == grpc.StatusCode.ALREADY_EXISTS
    request.name = "one"
    assert client.images.Update(request).done
    request.image_id = "e3vnone"
    refusal = refused(lambda: client.images.Update(request))
    assert refusal.code == grpc.StatusCode.NOT_FOUND
    assert refusal.message == "Image e3vnone not found"
    assert get(client, second.id) == second


@pytest.mark.proves("idempotency.repeat", of=["DesktopImageService/Update"])
def test_an_update_sent_twice_with_one_key_is_one(
    client: OfficialClient, compute_image: str
) -> None:
    """The second answer is the first one's, though the image has changed since."""
    image = copy(client, compute_image, "golden")
    mask = FieldMask(paths=["name"])
    request = UpdateDesktopImageRequest(image_id=image.id, name="second", update_mask=mask)
    first = client.images.Update(request, metadata=KEY)
    other = UpdateDesktopImageRequest(image_id=image.id, name="third", update_mask=mask)
    client.images.Update(other)
    assert client.images.Update(request, metadata=KEY) == first
    assert get(client, image.id).name == "third"
    refusal = refused(lambda: client.images.Update(other, metadata=KEY))
    assert refusal.get_detail(ErrorInfo).reason == "IDEMPOTENCY_KEY_REUSED"


def test_an_image_that_is_being_made_keeps_what_it_is_given(
    make_server: Callable[..., ServerProcess], compute_image: str, tmp_path: Path
) -> None:
    """The copy's own result has the new name."""
    paused = PausedServer(make_server, tmp_path, failpoint="plan-begin")
    client = OfficialClient(paused.server.profile)
    operation = client.copy(compute_image, "golden")
    metadata = CopyDesktopImageMetadata()
    assert operation.metadata.Unpack(metadata)
    paused.wait_paused()
    request = UpdateDesktopImageRequest(image_id=metadata.image_id, name="new", labels=LABELS)
    image = DesktopImage()
    assert client.images.Update(request).response.Unpack(image)
    assert image.status == DesktopImage.Status.CREATING
    paused.go_on()
    assert client.wait(operation.id).response.Unpack(image)
    assert (image.name, dict(image.labels)) == ("new", LABELS)
    assert image.status == DesktopImage.Status.ACTIVE
