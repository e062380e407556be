"""Which method answers a path, as the descriptors' options say."""

from __future__ import annotations

import re
from typing import cast

import pytest
from yandex.cloud.clouddesktop.v1 import desktop_image_service_pb2 as images
from yandex.cloud.operation import operation_service_pb2 as operations
from yandex.cloud.resourcemanager.v1 import folder_service_pb2 as folders

from clouddesktop.api import rest_bindings
from clouddesktop.api.rest_bindings import BindingTable, RouteNotFoundError, VerbNotAllowedError
from clouddesktop.catalog.engine import Database
from unit.api.serving import FakeCopies, make_api, make_tokens

SERVICES = [
    images.DESCRIPTOR.services_by_name["DesktopImageService"],
    operations.DESCRIPTOR.services_by_name["OperationService"],
    folders.DESCRIPTOR.services_by_name["FolderService"],
]


@pytest.fixture(scope="module")
def table() -> BindingTable:
    return BindingTable(SERVICES)


@pytest.mark.parametrize(
    ("verb", "path", "method", "variables"),
    [
        ("GET", "/cloud-desktop/v1/images", "List", {}),
        ("GET", "/cloud-desktop/v1/images/e3v", "Get", {"image_id": "e3v"}),
        ("POST", "/cloud-desktop/v1/images:copy", "Copy", {}),
        ("PATCH", "/cloud-desktop/v1/images/e3v", "Update", {"image_id": "e3v"}),
        ("DELETE", "/cloud-desktop/v1/images/e3v", "Delete", {"image_id": "e3v"}),
        ("GET", "/operations/e3o", "Get", {"operation_id": "e3o"}),
        ("GET", "/operations/e3o:cancel", "Cancel", {"operation_id": "e3o"}),
        ("POST", "/operations/e3o:cancel", "Cancel", {"operation_id": "e3o"}),
        (
            "GET",
            "/resource-manager/v1/folders/b1g:listAccessBindings",
            "ListAccessBindings",
            {"resource_id": "b1g"},
        ),
        ("GET", "/cloud-desktop/v1/images/a%2Fb%20c", "Get", {"image_id": "a/b c"}),
    ],
)
def test_a_path_leads_to_its_method(
    table: BindingTable, verb: str, path: str, method: str, variables: dict[str, str]
) -> None:
    """With the variables in it, decoded after they were cut out."""
    binding, found = table.find(verb, path)
    assert (binding.method.name, dict(found)) == (method, variables)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/cloud-desktop/v1/images/",
        "/cloud-desktop/v1/images/a/b",
        "/operations",
        "/operations/",
    ],
)
def test_other_paths_lead_nowhere(table: BindingTable, path: str) -> None:
    """An id is one segment, and not an empty one."""
    with pytest.raises(RouteNotFoundError, match="There is nothing at GET"):
        table.find("GET", path)


def test_another_verb_is_not_allowed(table: BindingTable) -> None:
    """The error says which are."""
    with pytest.raises(VerbNotAllowedError) as caught:
        table.find("PUT", "/cloud-desktop/v1/images/e3v")
    assert set(caught.value.facts["allow"].split(", ")) == {"GET", "PATCH", "DELETE"}


@pytest.mark.proves("wire.rest")
def test_every_method_has_a_path_that_leads_to_it() -> None:
    """None is left without REST by an option that is not understood, or hidden by another one."""
    api = make_api(database=cast("Database", None), copies=FakeCopies(), tokens=make_tokens())
    table = BindingTable([each.descriptor for each in api.services])
    led_to = {
        (each.path, table.find(each.verb, re.sub(r"\{\w+\}", "x", each.template))[0].path)
        for each in table.bindings
    }
    methods = {
        f"/{each.descriptor.full_name}/{method.name}"
        for each in api.services
        for method in each.descriptor.methods
    }
    assert led_to == {(each, each) for each in methods}


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("/v1/{name=**}", "/v1/a/b/c", ["a/b/c"]),
        ("/v1/{name=a/*/b/*}:do", "/v1/a/1/b/2:do", ["a/1/b/2"]),
        ("/v1/*/x/{id}", "/v1/anything/x/1", ["1"]),
        ("/v1/**", "/v1/a/b", []),
        ("/v1/{name=a/*}", "/v1/b/1", None),
        ("/v1/{id}:go", "/v1/x:stop", None),
        ("/v1.0/{id}", "/v1x0/1", None),
    ],
)
def test_the_language_of_templates(template: str, path: str, values: list[str] | None) -> None:
    """As google/api/http.proto has it, also where no method of today uses it."""
    pattern, _ = rest_bindings._compile(template)
    match = pattern.fullmatch(path)
    assert (None if match is None else list(match.groups())) == values


def test_further_bindings_are_for_methods_that_exist() -> None:
    """And give them a path."""
    by_name = {method.full_name for service in SERVICES for method in service.methods}
    for name, rules in rest_bindings.FURTHER.items():
        assert name in by_name
        assert all(each.post for each in rules)
