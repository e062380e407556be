"""List with a filter through the generated stubs, over TLS."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    GetDesktopImageRequest,
    ListDesktopImagesRequest,
)

from clouddesktop.client import Profile, connect
from parts.disks import MIB, random_bytes, write_raw
from parts.official import OfficialClient, refused
from parts.server import ServerProcess

NAMES = ["Ubuntu 20.04 LTS (2024-12-03)", "one", "One", "it's", "two"]
AWKWARD = 'a "b" \\c (d)'


def names_of(client: OfficialClient, text: str, *, page_size: int = 2) -> list[str]:
    """List page by page."""
    names: list[str] = []
    token = ""
    while True:
        page = client.images.List(
            ListDesktopImagesRequest(
                folder_id=client.folder_id, filter=text, page_size=page_size, page_token=token
            )
        )
        names += [each.name for each in page.desktop_images]
        assert len(page.desktop_images) <= page_size
        token = page.next_page_token
        if not token:
            return names


@pytest.mark.proves("list.filter", "client.terraform")
@pytest.mark.proves("list.token-bound", of=["DesktopImageService/List"])
def test_images_are_listed_by_name(server: ServerProcess, sources_dir: Path) -> None:
    """As the public cloud's clients ask for them; pages and their tokens keep to the filter."""
    write_raw(sources_dir / "golden.raw", size=2 * MIB, data={0: random_bytes(MIB, seed=1)})
    client = OfficialClient(server.profile)
    for name in NAMES:
        client.wait(client.copy("golden", name).id)
    assert sorted(names_of(client, "")) == sorted(NAMES)
    assert names_of(client, f'name="{NAMES[0]}"') == [NAMES[0]]
    assert names_of(client, "name=one") == ["one"]
    assert names_of(client, "name='none'") == []
    assert sorted(names_of(client, "name NOT IN (one, two)")) == sorted([NAMES[0], "One", "it's"])
    three = "name IN ('one', \"it's\", two) and name != 'missing'"
    assert sorted(names_of(client, three, page_size=1)) == ["it's", "one", "two"]
    # The Terraform provider's data source: by name, a page of one, then Get.
    request = ListDesktopImagesRequest(
        folder_id=client.folder_id, filter=f'name="{NAMES[4]}"', page_size=1
    )
    page = client.images.List(request)
    (found,) = page.desktop_images
    assert page.next_page_token == ""
    assert client.images.Get(GetDesktopImageRequest(image_id=found.id)) == found
    first = client.images.List(
        ListDesktopImagesRequest(folder_id=client.folder_id, filter="name!=x", page_size=1)
    )
    request.page_token = first.next_page_token
    assert refused(lambda: client.images.List(request)).code == grpc.StatusCode.INVALID_ARGUMENT
    request.page_token, request.filter = "", "name like 'x'"
    refusal = refused(lambda: client.images.List(request))
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert [each.field for each in refusal.get_detail(BadRequest).field_violations] == ["filter"]


async def test_our_client_finds_any_name(server: ServerProcess, sources_dir: Path) -> None:
    """It asks for the one image, whatever signs are in its name."""
    write_raw(sources_dir / "golden.raw", size=2 * MIB, data={0: random_bytes(MIB, seed=1)})
    client = OfficialClient(server.profile)
    client.wait(client.copy("golden", AWKWARD).id)
    async with connect(Profile.load(server.profile)) as connection:
        assert (await connection.find_image(AWKWARD)).name == AWKWARD
