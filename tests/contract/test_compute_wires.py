"""The flow of compute images, written once: by the official SDK, and by REST with equal answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from yandex.cloud.access import access_pb2 as access
from yandex.cloud.clouddesktop.v1 import desktop_image_service_pb2 as desktop
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.compute.v1 import image_service_pb2 as compute
from yandex.cloud.compute.v1.image_pb2 import Image
from yandex.cloud.compute.v1.image_service_pb2_grpc import ImageServiceStub
from yandex.cloud.operation import operation_service_pb2
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.errors import Code
from parts.disks import MIB, convert, random_bytes, write_raw
from parts.official import OfficialClient
from parts.rest import RestClient
from parts.server import ServerProcess
from parts.web import serving
from parts.wires import RestWire, StubWire, Wire, wait

COMPUTE = compute.DESCRIPTOR.services_by_name["ImageService"]
DESKTOP = desktop.DESCRIPTOR.services_by_name["DesktopImageService"]
OPERATIONS = operation_service_pb2.DESCRIPTOR.services_by_name["OperationService"]
VIEWER = access.AccessBinding(
    role_id="viewer", subject=access.Subject(id="ajesomebody", type="serviceAccount")
)


@pytest.fixture
def uri(tmp_path: Path) -> Iterator[str]:
    """Where a disk can be fetched, and the options of a server that may."""
    folder = tmp_path / "web"
    folder.mkdir()
    raw = tmp_path / "disk.raw"
    write_raw(raw, size=24 * MIB, data={0: random_bytes(3 * MIB, seed=1), 20 * MIB: b"end" * 99})
    convert(raw, folder / "golden.qcow2", "-O", "qcow2", "-c", source_format="raw")
    with serving(folder, tls=tmp_path / "tls") as web:
        yield f"{web.url}golden.qcow2"


def to_dict(message: Message) -> Any:
    """Give a message's fields, with those of what is packed in it: a map's bytes have no order."""
    return json_format.MessageToDict(message)


class Flow:
    """Calls by one wire, and notes every answer; what it reads is read by the other one too."""

    def __init__(self, wire: Wire, other: Wire) -> None:
        self._wire = wire
        self._other = other
        self.answers: list[Message] = []

    def change(self, method: MethodDescriptor, request: Message) -> Any:
        """Start something, wait until it is done, and give what came of it."""
        started = self._note(self._wire.call(method, request))
        assert isinstance(started, Operation), started
        operation = self._note(wait(self._wire, started))
        assert to_dict(operation) == to_dict(wait(self._other, started))
        assert operation.WhichOneof("result") == "response", operation
        result = {"Image": Image(), "DesktopImage": DesktopImage()}.get(
            operation.response.TypeName().rpartition(".")[2]
        )
        if result is not None:
            assert operation.response.Unpack(result)
        return result

    def read(self, method: MethodDescriptor, request: Message) -> Any:
        answer = self._note(self._wire.call(method, request))
        if not isinstance(answer, Status):
            assert to_dict(answer) == to_dict(self._other.call(method, request))
        return answer

    def _note(self, answer: Any) -> Any:
        self.answers.append(answer)
        return answer


def drive(flow: Flow, *, folder_id: str, uri: str) -> None:
    """Create from a URL, wait, copy, update, list by filter, delete; nothing is left."""
    method = COMPUTE.methods_by_name
    image: Image = flow.change(
        method["Create"],
        compute.CreateImageRequest(
            folder_id=folder_id, name="golden", family="debian", uri=uri, labels={"a": "b"}
        ),
    )
    assert (image.status, image.min_disk_size) == (Image.READY, 24 * MIB)
    get = compute.GetImageRequest(image_id=image.id)
    assert flow.read(method["Get"], get) == image
    latest = compute.GetImageLatestByFamilyRequest(folder_id=folder_id, family="debian")
    assert flow.read(method["GetLatestByFamily"], latest) == image

    copied: DesktopImage = flow.change(
        DESKTOP.methods_by_name["Copy"],
        desktop.CopyDesktopImageRequest(folder_id=folder_id, name="desk", image_id=image.id),
    )
    assert copied.status == DesktopImage.ACTIVE
    changed: Image = flow.change(
        method["Update"],
        compute.UpdateImageRequest(
            image_id=image.id,
            name="silver",
            description="Seen.",
            update_mask=FieldMask(paths=["name", "description", "labels"]),
        ),
    )
    assert (changed.name, changed.description, dict(changed.labels)) == ("silver", "Seen.", {})
    bindings = access.UpdateAccessBindingsRequest(
        resource_id=image.id,
        access_binding_deltas=[access.AccessBindingDelta(action=access.ADD, access_binding=VIEWER)],
    )
    flow.change(method["UpdateAccessBindings"], bindings)
    bound = access.ListAccessBindingsRequest(resource_id=image.id)
    assert flow.read(method["ListAccessBindings"], bound).access_bindings == [VIEWER]

    second: Image = flow.change(
        method["Create"], compute.CreateImageRequest(folder_id=folder_id, image_id=image.id)
    )
    for words, expected in (
        ('name = "silver"', [changed]),
        ('name IN ("silver", "none")', [changed]),
        ('name != "silver"', [second]),
        ('name="golden"', []),
    ):
        request = compute.ListImagesRequest(folder_id=folder_id, filter=words)
        assert flow.read(method["List"], request).images == expected
    operations = compute.ListImageOperationsRequest(image_id=image.id, page_size=2)
    page = flow.read(method["ListOperations"], operations)
    assert (len(page.operations), bool(page.next_page_token)) == (2, True)

    for each in (image, second):
        flow.change(method["Delete"], compute.DeleteImageRequest(image_id=each.id))
    refusal = flow.read(method["Get"], get)
    assert (refusal.code, refusal.message) == (Code.NOT_FOUND, f"Image {image.id} not found")
    flow.change(
        DESKTOP.methods_by_name["Delete"], desktop.DeleteDesktopImageRequest(image_id=copied.id)
    )
    assert not flow.read(method["List"], compute.ListImagesRequest(folder_id=folder_id)).images


class Anonymous:
    """Takes out of messages what differs from run to run: ids by their order, instants, tokens."""

    _INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
    _ID = re.compile(r"\b(?:[a-z0-9]{20}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}

    def of(self, message: Message) -> Any:
        text = json_format.MessageToJson(message)
        text = self._INSTANT.sub("2000-01-01T00:00:00Z", text)
        text = self._ID.sub(
            lambda match: self._numbers.setdefault(match[0], f"id {len(self._numbers)}"), text
        )
        text = re.sub(r'("nextPageToken": ")[^"]+', r"\1token", text)
        return json.loads(text)


@pytest.mark.proves(
    "client.wires",
    of=[
        "ImageService/Create",
        "ImageService/Get",
        "ImageService/GetLatestByFamily",
        "ImageService/List",
        "ImageService/Update",
        "ImageService/Delete",
        "ImageService/ListOperations",
        "ImageService/ListAccessBindings",
        "ImageService/UpdateAccessBindings",
        "OperationService/Get",
    ],
)
@pytest.mark.proves("client.compute")
def test_both_wires_tell_the_same(make_server: Any, tmp_path: Path, uri: str) -> None:
    """Step by step, but for ids and instants; and what one wire made, the other one reads."""
    trust = ("--source-ca", str(tmp_path / "tls/ca.pem"))
    allowed = ("--import-allow", "127.0.0.0/8", "--import-allow", "::1")
    server: ServerProcess = make_server(options=(*trust, *allowed))
    server.start()
    client = OfficialClient(server.profile)
    stubs = {
        COMPUTE.full_name: client.sdk.client(ImageServiceStub),
        DESKTOP.full_name: client.images,
        OPERATIONS.full_name: client.operations,
    }
    told = []
    with RestClient(server.profile) as rest:
        by_sdk, by_rest = StubWire(stubs), RestWire(rest)
        for wire, other in ((by_sdk, by_rest), (by_rest, by_sdk)):
            flow, anonymous = Flow(wire, other), Anonymous()
            drive(flow, folder_id=client.folder_id, uri=uri)
            told.append([anonymous.of(each) for each in flow.answers])
    for by_one, by_other in zip(*told, strict=True):
        assert by_one == by_other
