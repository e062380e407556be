"""Every method that makes an operation: once for one key, of the types that are published, noted.

What copies and imports end with is in tests of their own: here nobody does them.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
import sqlalchemy as sa
from google.protobuf import descriptor_pool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo
from yandex.cloud.api import operation_pb2 as options

from clouddesktop.catalog.tables import operations
from clouddesktop.errors import Code
from contract.every_method import (
    ADMIN,
    CHANGES,
    CLOUD_ID,
    Refusal,
    Site,
    descriptor_of,
    open_site,
)
from golden.test_messages import full_name_of
from unit.api.access_table import a_binding

CROWD = 24
RUNNING = ("DesktopImageService/Copy", "ImageService/Create")
"""What does not end at once: nobody works here."""

EVENTS = {
    "clouddesktop.v1.api.DesktopImageService": ("clouddesktop", "DesktopImage"),
    "compute.v1.ImageService": ("compute", "Image"),
    "resourcemanager.v1.FolderService": ("resourcemanager", "Folder"),
    "resourcemanager.v1.CloudService": ("resourcemanager", "Cloud"),
    "iam.v1.ServiceAccountService": ("iam", "ServiceAccount"),
    "iam.v1.KeyService": ("iam", "Key"),
}
"""Where the public cloud's audit events of a service belong, and what they call its resource."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One for all tests here: each call has a place of its own."""
    async with open_site(Path(tmp_path_factory.mktemp("changes"))) as opened:
        yield opened


def another(site: Site, path: str, request: Message) -> Message:
    """Ask for something else than a request does; where the id is all there is, by another one."""
    other: Any = type(request)()
    other.CopyFrom(request)
    fields = request.DESCRIPTOR.fields_by_name
    if "name" in fields:
        other.name = "other"
    elif "description" in fields:
        other.description = "other"
    elif "access_bindings" in fields:
        other.access_bindings.add().CopyFrom(a_binding("editor"))
    elif "access_binding_deltas" in fields:
        other.access_binding_deltas[0].access_binding.role_id = "editor"
    else:
        return site.request(path)
    return cast("Message", other)


def a_key() -> dict[str, str]:
    return {"idempotency-key": str(uuid.uuid4())}


def count_operations(site: Site) -> int:
    def count(connection: sa.Connection) -> int:
        return connection.scalar(sa.select(sa.func.count()).select_from(operations)) or 0

    return site.world.database.read(count)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.proves("idempotency.repeat", "idempotency.conflict")
async def test_a_key_stands_for_one_request(site: Site, path: str) -> None:
    """The same one gets the first operation, by whichever wire; any other one is refused."""
    key, request = a_key(), site.request(path)
    others = (
        (path, another(site, path, request)),
        (other_change(path), site.request(other_change(path))),
    )
    before = count_operations(site)
    first = await site.by_grpc(path, request, key)
    assert not isinstance(first, Refusal), first
    for again in (site.by_rest, site.by_grpc):
        second = await again(path, request, key)
        assert not isinstance(second, Refusal), second
        assert MessageToDict(second[0]) == MessageToDict(first[0])
    for other_path, other in others:
        refusal = await site.by_grpc(other_path, other, key)
        assert isinstance(refusal, Refusal), refusal
        info = ErrorInfo()
        assert refusal.status.details[0].Unpack(info)
        assert info.reason == "IDEMPOTENCY_KEY_REUSED"
        assert refusal.status.code == Code.INVALID_ARGUMENT
    assert count_operations(site) == before + 1


def other_change(path: str) -> str:
    return CHANGES[CHANGES.index(path) - 1]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.proves("idempotency.crowd")
async def test_a_crowd_with_one_key_makes_one_change(site: Site, path: str) -> None:
    """All of them get its operation, though they come at the same time by both wires."""
    key, request = a_key(), site.request(path)
    before = count_operations(site)
    calls = [site.by_grpc if number % 2 else site.by_rest for number in range(CROWD)]
    answers = await asyncio.gather(*(call(path, request, key) for call in calls))
    ids = set()
    for each in answers:
        assert not isinstance(each, Refusal), each
        ids.add(cast("Any", each[0]).id)
    assert len(ids) == 1
    assert count_operations(site) == before + 1


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.proves("operation.types")
async def test_an_operation_has_the_published_types(site: Site, path: str) -> None:
    """Metadata is of the type that the method's option names, and so is the response once done."""
    method = descriptor_of(path)
    option = method.GetOptions().Extensions[options.operation]
    package = method.containing_service.file.package
    operation = await site.answer(path, site.request(path))
    assert operation.done == (not path.endswith(RUNNING))
    expected = {"metadata": option.metadata}
    if operation.done:
        expected["response"] = option.response
    for field, name in expected.items():
        packed, full_name = getattr(operation, field), full_name_of(name, package)
        assert packed.type_url == f"type.googleapis.com/{full_name}"
        kind = GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(full_name))
        assert packed.Unpack(kind())
    assert operation.description
    assert operation.created_by == ADMIN


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.proves("audit.event")
async def test_a_change_leaves_an_event(site: Site, path: str) -> None:
    """Of the public cloud's name, with who, what and the operation; so does a refusal."""
    earlier = len(site.events())
    request = site.request(path)
    operation = await site.answer(path, request)
    await site.by_grpc(path, request, has_token=False)
    done, refused = site.events()[earlier:]
    service, verb = path.removeprefix("/yandex.cloud.").split("/")
    package, noun = EVENTS[service]
    name = verb.replace("AccessBindings", f"{noun}AccessBindings")
    name = name if "Bindings" in verb else f"{verb}{noun}"
    for event in (done, refused):
        assert event["event_type"] == f"yandex.cloud.audit.{package}.{name}"
    assert done["event_status"] == ("DONE" if operation.done else "STARTED")
    assert done["operation_id"] == operation.id
    assert done["authentication"]["subject_id"] == ADMIN
    assert done["authorization"]["authorized"]
    assert all(each["authorized"] for each in done["authorization"]["permissions"])
    assert done["resource_metadata"]["path"][0]["resource_id"] == CLOUD_ID
    assert (refused["event_status"], refused["error"]["code"]) == ("ERROR", 16)
