"""The description is one that OpenAPI's own validator takes, and says what the descriptors say."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.applications import Starlette

from clouddesktop.api.openapi import build_openapi
from clouddesktop.api.reference_page import reference_routes
from clouddesktop.api.rest import RestApp
from clouddesktop.api.served import Api
from unit.api.serving import FakeCopies, make_api, make_database, make_tokens


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Api:
    database = make_database(tmp_path_factory.mktemp("api"))
    return make_api(database=database, copies=FakeCopies(), tokens=make_tokens())


@pytest.fixture(scope="module")
def document(api: Api) -> Any:
    return build_openapi(RestApp(api).table.bindings, api.methods)


def test_it_is_valid_openapi(document: Any) -> None:
    """Version 3.1, every reference resolved."""
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_every_served_method_is_in_it(api: Api, document: Any) -> None:
    """Once by each of its bindings, and what is not served is not."""
    operations = [each for verbs in document["paths"].values() for each in verbs.values()]
    shown = {each["summary"] for each in operations}
    served = {".".join(method.path.rpartition(".")[2].split("/")) for method in api.methods}
    assert shown == served
    names = [each["operationId"] for each in operations]
    assert len(names) == len(set(names))


def test_rules_become_limits(document: Any) -> None:
    """Lengths, patterns, ranges, sizes and what is required."""
    copy = document["paths"]["/cloud-desktop/v1/images:copy"]["post"]
    body = copy["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["folderId", "name", "imageId"]
    assert body["properties"]["name"] == {"type": "string", "maxLength": 50, "minLength": 1}
    assert body["properties"]["labels"] == {
        "type": "object",
        "maxProperties": 64,
        "propertyNames": {"minLength": 1, "maxLength": 63, "pattern": "^(?:[a-z][-_0-9a-z]*)$"},
        "additionalProperties": {"type": "string", "maxLength": 63, "pattern": "^(?:[-_0-9a-z]*)$"},
    }
    listing = document["paths"]["/cloud-desktop/v1/images"]["get"]
    by_name = {each["name"]: each for each in listing["parameters"]}
    assert by_name["pageSize"]["schema"] == {
        "type": "integer", "format": "int64", "minimum": 0, "maximum": 1000,
    }  # fmt: skip
    assert by_name["folderId"]["required"]
    assert by_name["Idempotency-Key"]["in"] == "header"
    update = document["paths"]["/cloud-desktop/v1/images/{imageId}"]["patch"]
    fields = update["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert "imageId" not in fields
    assert fields["updateMask"]["type"] == "string"


def test_answers_have_proto3_json_types(document: Any) -> None:
    """int64 as text, enums by name, instants as RFC 3339."""
    schemas = document["components"]["schemas"]
    image = schemas["yandex.cloud.clouddesktop.v1.api.DesktopImage"]["properties"]
    assert image["storageSize"]["type"] == "string"
    assert "ACTIVE" in image["status"]["enum"]
    assert image["createdAt"] == {"type": "string", "format": "date-time"}
    assert schemas["google.rpc.Status"]["properties"]["details"]["items"]["required"] == ["@type"]


def test_open_methods_need_no_token(document: Any) -> None:
    """All others do."""
    security = {
        each["summary"]: each["security"]
        for verbs in document["paths"].values()
        for each in verbs.values()
    }
    assert security["IamTokenService.Create"] == []
    assert security["DesktopImageService.Copy"] == [{"iamToken": []}]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        if values.get("id"):
            self.ids.add(values["id"] or "")
        if values.get("href"):
            self.links.add(values["href"] or "")


async def test_the_page_shows_all_of_it_and_loads_nothing(document: Any) -> None:
    """Every operation and message is there, every link leads somewhere, there is no script."""
    transport = httpx.ASGITransport(Starlette(routes=reference_routes(document)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/openapi.json")).json() == document
        answer = await client.get("/docs/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = _Page()
    page.feed(answer.text)
    operations = {
        each["operationId"] for verbs in document["paths"].values() for each in verbs.values()
    }
    assert page.ids == operations | set(document["components"]["schemas"])
    assert {each for each in page.links if each.startswith("#")} <= {
        f"#{each}" for each in page.ids
    }
    assert {each for each in page.links if not each.startswith("#")} == {"/openapi.json"}
    assert not page.tags & {"script", "img", "link", "iframe"}
