"""Which calls become events of the audit log, and what is in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from yandex.cloud.clouddesktop.v1 import desktop_image_service_pb2 as images
from yandex.cloud.iam.v1.iam_token_service_pb2 import CreateIamTokenRequest
from yandex.cloud.operation.operation_service_pb2 import GetOperationRequest

from clouddesktop.api.audit_events import event_type_of, parameters_of
from clouddesktop.api.auditing import Auditing, OperationEnds
from clouddesktop.api.packing import OperationPacker
from clouddesktop.audit import AuditLog
from clouddesktop.catalog import tables
from clouddesktop.catalog.cancelling import cancel_operation
from clouddesktop.catalog.quotas import set_limit
from clouddesktop.errors import CloudDesktopError, OperationCancelledError
from clouddesktop.model.access import Resource
from clouddesktop.model.operation import OperationKind
from clouddesktop.model.quota import QuotaId
from unit.api.access_world import OTHER_FOLDER, OWN_FOLDER, World
from unit.iam.signing import sign

CLOUD_ID = "b1ccloud"
IMAGES = "/yandex.cloud.clouddesktop.v1.api.DesktopImageService"


class AuditedWorld(World):
    """An API that writes an audit log, with an editor of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "audit"
        self.log = AuditLog(self.folder, most_bytes=1 << 20, most_files=1)
        super().__init__(folder, make_auditing=self.make_auditing)
        self.bind("ajeeditor", "editor", Resource.of_folder(OWN_FOLDER))
        self.ends = OperationEnds(
            self.log, database=self.database, find_cloud_id=lambda _folder_id: CLOUD_ID
        )

    def make_auditing(self) -> Auditing:
        return Auditing(self.log, find_cloud_id=lambda _folder_id: CLOUD_ID)

    async def try_call(self, method: str, request: Message, subject_id: str | None) -> Any:
        """Call as somebody, and give the answer or the error."""
        token = None if subject_id is None else self.token_of(subject_id)
        try:
            return await self.answer(method, request, token)
        except CloudDesktopError as error:
            return error

    def events(self) -> list[dict[str, Any]]:
        """Give the events since the last look."""
        file = self.folder / "audit.jsonl"
        if not file.exists():
            return []
        found = [json.loads(line) for line in file.read_text().splitlines()]
        self.log.close()
        file.unlink()
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AuditedWorld]:
    world = AuditedWorld(tmp_path)
    yield world
    world.database.close()


def copy_request(folder_id: str, name: str = "new") -> images.CopyDesktopImageRequest:
    return images.CopyDesktopImageRequest(
        folder_id=folder_id, image_id=f"golden-{OWN_FOLDER}", name=name
    )


@pytest.mark.proves("audit.event", of=["DesktopImageService/Copy"])
async def test_a_copy_starts_and_ends_in_two_events(world: AuditedWorld) -> None:
    """With who, what, where and the operation; the end comes once."""
    operation = await world.try_call(f"{IMAGES}/Copy", copy_request(OWN_FOLDER), "ajeeditor")
    (event,) = world.events()
    assert event["event_type"] == "yandex.cloud.audit.clouddesktop.CopyDesktopImage"
    assert event["event_source"] == "clouddesktop"
    assert event["event_status"] == "STARTED"
    assert event["operation_id"] == operation.id
    assert event["details"]["image_id"].startswith("e3v")
    assert event["authentication"] == {
        "authenticated": True, "subject_type": "SERVICE_ACCOUNT", "subject_id": "ajeeditor",
    }  # fmt: skip
    assert event["authorization"]["authorized"]
    assert [each["permission"] for each in event["authorization"]["permissions"]] == [
        "vdi.images.create", "compute.images.use",
    ]  # fmt: skip
    assert event["resource_metadata"]["path"] == [
        {"resource_type": "resource-manager.cloud", "resource_id": CLOUD_ID},
        {"resource_type": "resource-manager.folder", "resource_id": OWN_FOLDER},
    ]
    assert event["request_metadata"]["remote_address"] == "192.0.2.7"
    assert event["request_metadata"]["remote_port"] == "40112"
    assert event["request_metadata"]["request_id"]
    assert event["request_parameters"]["name"] == "new"

    world.ends.look()
    assert world.events() == []
    reason = OperationCancelledError("Cancelled.").failure
    world.database.write(cancel_operation, operation.id, failure=reason)
    world.ends.look()
    (event,) = world.events()
    assert (event["event_status"], event["operation_id"]) == ("CANCELLED", operation.id)
    assert event["error"]["code"] == 1
    assert event["event_type"] == "yandex.cloud.audit.clouddesktop.CopyDesktopImage"
    assert event["authentication"]["subject_id"] == "ajeeditor"
    world.ends.look()
    assert world.events() == []


async def test_an_end_that_is_written_again_after_a_crash_has_the_same_id(
    world: AuditedWorld,
) -> None:
    """So that readers can tell it from another one."""
    operation = await world.try_call(f"{IMAGES}/Copy", copy_request(OWN_FOLDER), "ajeeditor")
    reason = OperationCancelledError("Cancelled.").failure
    world.database.write(cancel_operation, operation.id, failure=reason)
    world.events()
    world.ends.look()

    def await_again(connection: sa.Connection) -> None:
        connection.execute(sa.insert(tables.awaited_ends).values(operation_id=operation.id))

    world.database.write(await_again)
    world.ends.look()
    first, second = world.events()
    assert first == second


@pytest.mark.proves("audit.event", of=["DesktopImageService/Update"])
async def test_a_change_that_is_done_at_once_is_one_event(world: AuditedWorld) -> None:
    """Whose end is not awaited."""
    place = world.make_place(OWN_FOLDER)
    request = images.UpdateDesktopImageRequest(image_id=place.image_id, name="other")
    await world.try_call(f"{IMAGES}/Update", request, "ajeeditor")
    (event,) = world.events()
    assert (event["event_type"].rpartition(".")[2], event["event_status"]) == (
        "UpdateDesktopImage", "DONE",
    )  # fmt: skip
    assert event["details"]["image_name"] == "other"
    assert event["resource_metadata"]["path"][-1]["resource_id"] == place.image_id


async def test_refusals_are_events_and_reads_are_not(world: AuditedWorld) -> None:
    """Each with its error; who is not known leaves nothing of its request."""
    place = world.make_place(OWN_FOLDER)
    get = images.GetDesktopImageRequest(image_id=place.image_id)
    await world.try_call(f"{IMAGES}/Get", get, "ajeeditor")
    assert world.events() == []

    await world.try_call(f"{IMAGES}/Get", get, None)
    (event,) = world.events()
    assert (event["event_status"], event["error"]["code"]) == ("ERROR", 16)
    assert event["authentication"] == {"authenticated": False}
    assert event["request_parameters"] == {}
    assert not event["authorization"]["authorized"]

    world.bind("ajeviewer", "viewer", Resource.of_folder(OWN_FOLDER))
    delete = images.DeleteDesktopImageRequest(image_id=place.image_id)
    await world.try_call(f"{IMAGES}/Delete", delete, "ajeviewer")
    (event,) = world.events()
    assert event["error"]["code"] == 7
    (permission,) = event["authorization"]["permissions"]
    assert (permission["permission"], permission["authorized"]) == ("vdi.images.delete", False)

    world.bind("ajeother", "viewer", Resource.of_folder(OTHER_FOLDER))
    await world.try_call(f"{IMAGES}/Get", get, "ajeother")
    (event,) = world.events()
    assert event["error"]["code"] == 5  # what the caller was told
    assert not event["authorization"]["authorized"]

    world.database.write(set_limit, CLOUD_ID, QuotaId.IMAGES_COUNT, 0)
    await world.try_call(f"{IMAGES}/Copy", copy_request(OWN_FOLDER, "more"), "ajeeditor")
    (event,) = world.events()
    assert (event["error"]["code"], event["authorization"]["authorized"]) == (8, True)

    missing = GetOperationRequest(operation_id="e3onone")
    await world.try_call("/yandex.cloud.operation.OperationService/Get", missing, "ajeeditor")
    assert world.events() == []


async def test_a_refused_jwt_is_an_event_without_the_jwt(world: AuditedWorld) -> None:
    """A good one is none: it changes nothing."""
    path = "/yandex.cloud.iam.v1.IamTokenService/Create"
    good = sign(claims={"iss": "ajeeditor"}, headers={"kid": "ajkeditor"})
    await world.try_call(path, CreateIamTokenRequest(jwt=good), None)
    assert world.events() == []
    bad = sign(claims={"aud": "https://iam.elsewhere/iam/v1/tokens"})
    await world.try_call(path, CreateIamTokenRequest(jwt=bad), None)
    (event,) = world.events()
    assert event["event_type"] == "yandex.cloud.audit.iam.CreateIamToken"
    assert bad not in json.dumps(event)


def test_every_kind_of_operation_has_a_name_for_its_events() -> None:
    """In the public cloud's pattern."""
    packer = OperationPacker()
    names = {kind: event_type_of(packer.method_of(kind)) for kind in OperationKind}
    prefix = "yandex.cloud.audit"
    assert names[OperationKind.DELETE_IMAGE] == f"{prefix}.clouddesktop.DeleteDesktopImage"
    assert names[OperationKind.CREATE_FOLDER] == f"{prefix}.resourcemanager.CreateFolder"
    assert names[OperationKind.SET_CLOUD_BINDINGS] == (
        f"{prefix}.resourcemanager.SetCloudAccessBindings"
    )


def test_what_changes_something_is_known(world: AuditedWorld) -> None:
    """From the descriptors: all but reads, and but the methods without a token."""
    reads = {
        method.path.rpartition("/")[2]
        for service in world.api.services
        for method in service.methods
        if not method.is_change and not method.is_open
    }
    assert reads == {
        "Get", "GetLatestByFamily", "List", "ListAccessBindings", "ListOperations",
            "ListServices",
    }  # fmt: skip


def test_a_request_that_json_has_no_form_for_is_noted_all_the_same() -> None:
    """A mask with what is no field's name is refused by the method, and must not fail before."""
    request = images.UpdateDesktopImageRequest(
        image_id="e3v", update_mask=FieldMask(paths=["Name", ""])
    )
    parameters = parameters_of(request)
    assert parameters["image_id"] == "e3v"
    assert "Name" in parameters["update_mask"]
