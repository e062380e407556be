"""How calls are refused: every method that is served, by both wires."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, ResourceInfo
from google.rpc.status_pb2 import Status

from clouddesktop.errors import Code
from contract.every_method import (
    EVERY_PATH,
    NOTHING,
    NOWHERE,
    Metadata,
    Refusal,
    Site,
    descriptor_of,
    open_site,
    request_class_of,
)
from contract.rule_cases import fill, iter_cases
from parts.transcoding import variables_of
from unit.api.access_table import OPEN, TABLE

HTTP = {
    Code.INVALID_ARGUMENT: 400,
    Code.UNAUTHENTICATED: 401,
    Code.NOT_FOUND: 404,
}
"""As the public API's page on errors has them."""
KINDS = {
    "Cloud": ("CloudService", "FolderService/List", "FolderService/Create", "QuotaLimitService"),
    "Folder": ("FolderService",),
    "ServiceAccount": ("ServiceAccountService", "KeyService/List", "KeyService/Create"),
    "Key": ("KeyService",),
    "Operation": ("OperationService",),
    "Role": ("RoleService",),
    "Image": ("ImageService",),
}
IN_FOLDERS = ("/List", "/Copy", "/GetLatestByFamily", "/Create")
MISSING = [
    each
    for each in sorted(TABLE)
    if not each.endswith(("CloudService/List", "RoleService/List", "/ListServices"))
]
"""Methods that are about something which may not be there."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One for all tests here: each method has a place of its own."""
    async with open_site(Path(tmp_path_factory.mktemp("refusals"))) as opened:
        yield opened


def detail(status: Status, kind: type[Message]) -> Any:
    """Give the detail of a type, of which there is one."""
    found = []
    for each in status.details:
        message = kind()
        if each.Unpack(message):
            found.append(message)
    assert len(found) == 1, status
    return found[0]


def without_id(status: Status) -> Any:
    """Give all fields but the request's id, which is another one for every request."""
    told = MessageToDict(status)
    (info,) = (each for each in told["details"] if each["@type"].endswith("RequestInfo"))
    del info["requestId"]
    return told


async def refused(
    site: Site,
    path: str,
    request: Message,
    metadata: Metadata = NOTHING,
    *,
    has_token: bool = True,
) -> tuple[Status, Code]:
    """Be refused by both wires, with one Status; give it, and its code."""
    by_grpc = await site.by_grpc(path, request, metadata, has_token=has_token)
    by_rest = await site.by_rest(path, request, metadata, has_token=has_token)
    assert isinstance(by_grpc, Refusal), by_grpc
    assert isinstance(by_rest, Refusal), by_rest
    for each in (by_grpc, by_rest):
        info = detail(each.status, ErrorInfo)
        assert info.domain == "clouddesktop"
        assert info.reason == info.reason.upper() != ""
        assert detail(each.status, RequestInfo).request_id == each.ids["x-request-id"]
    assert without_id(by_grpc.status) == without_id(by_rest.status)
    code = Code(by_grpc.status.code)
    assert by_rest.http_status == HTTP[code]
    return by_grpc.status, code


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", EVERY_PATH)
@pytest.mark.proves("errors.status", "errors.rest")
async def test_a_refusal_is_one_status_by_both_wires(site: Site, path: str) -> None:
    """Of what is wrong, and of who is nobody; with a reason and the request's id."""
    request = site.request(path)
    status, code = await refused(site, path, request, {"idempotency-key": "no UUID"})
    assert code is Code.INVALID_ARGUMENT
    (violation,) = detail(status, BadRequest).field_violations
    assert violation.field == "idempotency-key"
    if path not in OPEN:
        status, code = await refused(site, path, request, has_token=False)
        assert (code, detail(status, ErrorInfo).reason) == (Code.UNAUTHENTICATED, "TOKEN_MISSING")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", EVERY_PATH)
@pytest.mark.proves("errors.request-ids")
async def test_every_answer_carries_ids(site: Site, path: str) -> None:
    """By both wires; the client's own are taken beside them, whatever they are."""
    own = {"x-client-request-id": str(uuid.uuid4()), "x-client-trace-id": "mine"}
    seen = set()
    for call in (site.by_grpc, site.by_rest):
        answered = await call(path, site.request(path), own)
        assert not isinstance(answered, Refusal), answered
        _, ids = answered
        assert str(uuid.UUID(ids["x-request-id"])) == ids["x-request-id"]
        assert ids["x-server-trace-id"].count(":") == 3
        seen.add(ids["x-request-id"])
    assert len(seen - set(own.values())) == 2


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", MISSING)
@pytest.mark.proves("errors.not-found")
async def test_what_is_missing_is_not_found_at_once(site: Site, path: str) -> None:
    """In the API's words, with ResourceInfo; also from methods that answer with an operation."""
    if path.endswith("RoleService/Get"):
        request = TABLE[path].request(NOWHERE)
        cast("Any", request).role_id = "none"
    else:
        request = TABLE[path].request(NOWHERE)
    status, code = await refused(site, path, request)
    info = detail(status, ResourceInfo)
    assert code is Code.NOT_FOUND
    assert status.message == f"{info.resource_type} {info.resource_name} not found"
    assert info.description == status.message
    assert info.resource_type == kind_of(path)
    assert info.resource_name in str(request)


def kind_of(path: str) -> str:
    """Say of what kind the thing is that a method's request names."""
    method = path.rpartition(".")[2]
    in_folder = path.endswith(IN_FOLDERS) and "/ListOperations" not in path
    if in_folder and method.startswith(("DesktopImageService", "ImageService", "ServiceAccount")):
        return "Folder"
    exact = [kind for kind, names in KINDS.items() if method in names]
    return (
        exact[0]
        if exact
        else next(kind for kind, names in KINDS.items() if method.split("/")[0].endswith(names))
    )


def breakable(path: str) -> dict[str, Message]:
    """Find a request for each field of a method's own that has a rule: it breaks that one alone.

    Of a oneof there is one field. What REST has in its path is there: without it there is no path.
    """
    found: dict[str, Message] = {}
    for case in iter_cases(path, request_class_of(path)):
        (name, *more) = sorted(case.fields) or [""]
        field = case.request.DESCRIPTOR.fields_by_name.get(name)
        if field is None or more:
            continue
        if oneofs_of([name], case.request) & oneofs_of(found, case.request):
            continue
        if getattr(case.request, name) or name not in variables_of(descriptor_of(path)):
            found.setdefault(name, case.request)
    return found


def oneofs_of(names: Iterable[str], request: Message) -> set[str]:
    found = (request.DESCRIPTOR.fields_by_name[each].containing_oneof for each in names)
    return {each.full_name for each in found if each is not None}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", [each for each in EVERY_PATH if len(breakable(each)) > 1])
@pytest.mark.proves("validation.together")
async def test_every_broken_rule_is_named(site: Site, path: str) -> None:
    """All in one answer, by the fields' names, in a line each."""
    broken = breakable(path)
    request = request_class_of(path)()
    fill(request)
    for name, each in broken.items():
        part = type(request)()
        part.CopyFrom(each)
        for field in part.DESCRIPTOR.fields:
            if field.name != name:
                part.ClearField(field.name)
        request.ClearField(name)
        request.MergeFrom(part)
    status, code = await refused(site, path, request)
    assert code is Code.INVALID_ARGUMENT
    violations = detail(status, BadRequest).field_violations
    assert {each.field for each in violations} == set(broken)
    lines = [f"{each.field}: {each.description}" for each in violations]
    assert status.message.split("\n") == ["Validation error:", *lines]
