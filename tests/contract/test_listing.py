"""List in every order through the generated stubs, over TLS."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import ListDesktopImagesRequest

from parts.disks import MIB, random_bytes, write_raw
from parts.official import OfficialClient, refused
from parts.server import ServerProcess

# In the order of their characters' numbers, which no language sorts by.
NAMES = ["B", "Z" * 49, "a", "b", "é", "𐀀" * 49, "𐀀" * 49 + "!"]


def list_names(client: OfficialClient, order_by: str, *, page_size: int) -> list[str]:
    return [each.name for each in list_images(client, order_by, page_size=page_size)]


def list_images(client: OfficialClient, order_by: str, *, page_size: int) -> list[DesktopImage]:
    """List page by page."""
    images: list[DesktopImage] = []
    request = ListDesktopImagesRequest(
        folder_id=client.folder_id, order_by=order_by, page_size=page_size
    )
    while True:
        page = client.images.List(request)
        images += page.desktop_images
        request.page_token = page.next_page_token
        assert len(request.page_token) <= 100
        if not request.page_token:
            return images


@pytest.fixture
def client(server: ServerProcess, sources_dir: Path) -> OfficialClient:
    """A client of a server with images of all names, made in another order."""
    write_raw(sources_dir / "golden.raw", size=2 * MIB, data={0: random_bytes(MIB, seed=1)})
    client = OfficialClient(server.profile)
    for name in sorted(NAMES, key=lambda each: each[::-1]):
        client.wait(client.copy("golden", name).id)
    return client


@pytest.mark.proves("list.order")
def test_images_come_in_the_order_that_is_asked_for(client: OfficialClient) -> None:
    """Page by page, whatever the pages' size, with names that no token could hold."""

    def moment_of(image: DesktopImage) -> Any:
        return image.created_at.ToNanoseconds()

    for page_size in (1, 2, 1000):
        assert list_names(client, "name", page_size=page_size) == NAMES
        assert list_names(client, "name desc", page_size=page_size) == NAMES[::-1]
        assert list_names(client, "status, name DESC", page_size=page_size) == NAMES[::-1]
        by_age = list_images(client, "created_at", page_size=page_size)
        assert by_age == sorted(by_age, key=moment_of)
        assert len(by_age) == len(NAMES)
        assert list_images(client, "createdAt desc", page_size=page_size) == by_age[::-1]
        by_id = list_images(client, "", page_size=page_size)
        assert by_id == sorted(by_age, key=attrgetter("id"))
        assert list_images(client, "status", page_size=page_size) == by_id


def test_an_order_that_is_not_understood_is_refused(client: OfficialClient) -> None:
    """Its field or its direction is named; so is a token of another order."""
    request = ListDesktopImagesRequest(folder_id=client.folder_id, page_size=1)
    for order_by, word in (("size desc", "size"), ("name up", "up"), ("name;", "name;")):
        request.order_by = order_by
        refusal = refused(lambda: client.images.List(request))
        assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
        (violation,) = refusal.get_detail(BadRequest).field_violations
        assert violation.field == "order_by"
        assert word in violation.description
    request.order_by = "name"
    request.page_token = client.images.List(request).next_page_token
    request.order_by = "name desc"
    refusal = refused(lambda: client.images.List(request))
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert [each.field for each in refusal.get_detail(BadRequest).field_violations] == [
        "page_token"
    ]
