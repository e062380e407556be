"""What the server makes of a request that is put together by hand, by either wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from clouddesktop.api.http_edge import HttpEdge
from clouddesktop.api.rest import RestApp
from clouddesktop.copying.start import CopyRequest
from golden.prepared import IMAGES
from golden.wire import Published
from unit.api.serving import FOLDER_ID, Served, serving

PUBLISHED = Published.read()
COPY: Any = {
    "folderId": FOLDER_ID,
    "name": "Ubuntu 20.04 LTS (2024-12-03)",
    "imageId": "fd8pi4srg296eb52abuk",
    "labels": {"team": "vdi", "empty": ""},
    "description": "Образ ü",
}
UNDERSTOOD = CopyRequest(
    folder_id=FOLDER_ID,
    name="Ubuntu 20.04 LTS (2024-12-03)",
    compute_image_id="fd8pi4srg296eb52abuk",
    labels={"team": "vdi", "empty": ""},
    description="Образ ü",
)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as it:
        yield it


async def test_bytes_are_understood_field_by_field(served: Served) -> None:
    """All that Copy takes; a field that later definitions add is passed over."""
    raw = PUBLISHED.encode(f"{IMAGES}.CopyDesktopImageRequest", COPY)
    unknown = bytes.fromhex("a2 06 03") + b"new"  # number 100, three bytes long
    call: Any = served.channel.unary_unary(
        f"/{IMAGES}.DesktopImageService/Copy", request_serializer=bytes
    )
    await call(raw + unknown, metadata=[served.authorization], timeout=20)
    assert [started[0] for started in served.copies.started] == [UNDERSTOOD]


@pytest.mark.parametrize("names", ["camelCase", "original"])
async def test_json_is_understood_field_by_field(served: Served, names: str) -> None:
    """All that Copy takes, by either kind of name; a field that does not exist is passed over."""
    original = {"folderId": "folder_id", "imageId": "image_id"} if names == "original" else {}
    body = {original.get(name, name): value for name, value in COPY.items()}
    transport = httpx.ASGITransport(app=HttpEdge(RestApp(served.server._api)))
    async with httpx.AsyncClient(transport=transport, base_url="http://rest") as client:
        response = await client.post(
            "/cloud-desktop/v1/images:copy",
            json={**body, "new": 1},
            headers=[served.authorization],
        )
    assert response.status_code == 200, response.text
    assert [started[0] for started in served.copies.started] == [UNDERSTOOD]
