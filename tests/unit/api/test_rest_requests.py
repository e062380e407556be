"""From path, query and body to a message."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from yandex.cloud.access import access_pb2
from yandex.cloud.clouddesktop.v1 import desktop_image_service_pb2 as images
from yandex.cloud.resourcemanager.v1 import folder_service_pb2 as folders

from clouddesktop.api.rest_bindings import BindingTable
from clouddesktop.api.rest_requests import build_request
from clouddesktop.errors import InvalidArgumentError

TABLE = BindingTable(
    [
        images.DESCRIPTOR.services_by_name["DesktopImageService"],
        folders.DESCRIPTOR.services_by_name["FolderService"],
    ]
)
IMAGES = "/cloud-desktop/v1/images"
FOLDERS = "/resource-manager/v1/folders"


def build(
    verb: str, path: str, *, query: list[tuple[str, str]] | None = None, body: Any = b""
) -> Message:
    binding, variables = TABLE.find(verb, path)
    return build_request(binding, variables=variables, query=query or [], body=body)


@pytest.mark.parametrize("name", ["pageSize", "page_size"])
def test_parameters_have_either_name(name: str) -> None:
    """CamelCase or as in the descriptor; numbers are read from their text."""
    request = build("GET", IMAGES, query=[("folderId", "b1g"), (name, "7"), ("orderBy", "name")])
    assert request == images.ListDesktopImagesRequest(folder_id="b1g", page_size=7, order_by="name")


def test_a_body_is_json_in_either_spelling() -> None:
    """Fields that do not exist are left out, the path's variable is set, masks are one text."""
    body = b"""{"name": "new", "labels": {"a": "b"}, "updateMask": "name,labels", "color": "red"}"""
    assert build("PATCH", f"{IMAGES}/e3v", body=body) == images.UpdateDesktopImageRequest(
        image_id="e3v",
        name="new",
        labels={"a": "b"},
        update_mask=FieldMask(paths=["name", "labels"]),
    )
    proto_names = b"""{"folder_id": "b1g", "image_id": "golden", "name": "x"}"""
    assert build("POST", f"{IMAGES}:copy", body=proto_names) == images.CopyDesktopImageRequest(
        folder_id="b1g", image_id="golden", name="x"
    )


def test_the_path_wins_over_the_body() -> None:
    """The image that is changed is the one that the path names."""
    request = build("PATCH", f"{IMAGES}/e3v", body=b'{"imageId": "e3vother"}')
    assert request == images.UpdateDesktopImageRequest(image_id="e3v")


def test_messages_and_enums_in_a_body() -> None:
    """Enums by name and by number."""
    binding = b'{"roleId": "viewer", "subject": {"id": "a", "type": "b"}}'
    delta = b'{"action": %s, "accessBinding": ' + binding + b"}"
    body = b'{"accessBindingDeltas": [' + delta % b'"ADD"' + b"," + delta % b"2" + b"]}"
    request = build("POST", f"{FOLDERS}/b1g:updateAccessBindings", body=body)
    assert isinstance(request, access_pb2.UpdateAccessBindingsRequest)
    assert [each.action for each in request.access_binding_deltas] == [
        access_pb2.ADD,
        access_pb2.REMOVE,
    ]
    assert request.resource_id == "b1g"


def test_timestamps_in_the_query() -> None:
    """RFC 3339."""
    request = build("DELETE", f"{FOLDERS}/b1g", query=[("deleteAfter", "2026-11-26T12:00:00.5Z")])
    expected = Timestamp()
    expected.FromJsonString("2026-11-26T12:00:00.5Z")
    assert request == folders.DeleteFolderRequest(folder_id="b1g", delete_after=expected)


@pytest.mark.parametrize(
    ("verb", "path", "query", "body", "field"),
    [
        ("GET", IMAGES, [("folder", "x")], b"", "folder"),
        ("GET", IMAGES, [("pageSize", "many")], b"", "page_size"),
        ("GET", IMAGES, [("pageSize", "1.5")], b"", "page_size"),
        ("GET", IMAGES, [("folderId", "a"), ("folder_id", "b")], b"", "folder_id"),
        ("GET", IMAGES, [("folderId.x", "a")], b"", "folderId.x"),
        ("GET", IMAGES, [], b"{}", "body"),
        ("POST", f"{IMAGES}:copy", [("name", "x")], b"{}", "name"),
        ("POST", f"{IMAGES}:copy", [], b"{", "body"),
        ("POST", f"{IMAGES}:copy", [], b"[]", "body"),
        ("POST", f"{IMAGES}:copy", [], b'"x"', "body"),
        ("POST", f"{IMAGES}:copy", [], b'{"name": NaN}', "body"),
        ("POST", f"{IMAGES}:copy", [], b"\xff", "body"),
        ("POST", f"{IMAGES}:copy", [], b"[" * 100_000, "body"),
        ("POST", f"{IMAGES}:copy", [], b'{"name": 5}', "name"),
        ("POST", f"{IMAGES}:copy", [], b'{"labels": []}', "labels"),
        ("POST", f"{IMAGES}:copy", [], b'{"labels": {"a": 5}}', "labels"),
        ("PATCH", f"{IMAGES}/e3v", [], b'{"updateMask": ["name"]}', "update_mask"),
    ],
)
def test_what_does_not_fit_is_named(
    verb: str, path: str, query: list[tuple[str, str]], body: bytes, field: str
) -> None:
    """With a violation for the field or parameter."""
    with pytest.raises(InvalidArgumentError) as caught:
        build(verb, path, query=query, body=body)
    assert [each.field for each in caught.value.violations] == [field]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(body=st.binary() | JSON.map(repr).map(str.encode))
def test_no_body_gets_through_unworded(body: bytes) -> None:
    """Whatever comes is a request or InvalidArgumentError."""
    try:
        build("POST", f"{IMAGES}:copy", body=body)
    except InvalidArgumentError as error:
        assert error.violations  # noqa: PT017  (the error is one of two good ends)
