"""The official Node SDK, unchanged, against a server of ours over TLS."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage

from parts.disks import MIB, random_bytes, write_raw
from parts.node_sdk import NodeSdk
from parts.official import OfficialClient
from parts.server import ServerProcess

TYPES = "type.googleapis.com/yandex.cloud.clouddesktop.v1.api"


@pytest.mark.proves("client.node")
def test_the_node_sdk_copies_and_waits(
    server: ServerProcess, sources_dir: Path, node_sdk: NodeSdk
) -> None:
    """Token, Copy, its waiting, List by name, and an error: all as the Python SDK sees them."""
    write_raw(sources_dir / "golden.raw", size=4 * MIB, data={0: random_bytes(2 * MIB, seed=1)})
    settings = yaml.safe_load(server.profile.read_text())
    told = node_sdk.run(
        "copy.js",
        {
            "endpoint": settings["endpoint"],
            "ca": settings["ca"],
            "key": settings["key"],
            "folderId": settings["folder_id"],
            "imageId": "golden",
            "name": "Ubuntu 24.04 (Node)",
        },
    )
    client = OfficialClient(server.profile)
    operation = client.get_operation(told["operationId"])
    image = DesktopImage()
    assert operation.response.Unpack(image)
    assert told["metadata"] == {"typeUrl": f"{TYPES}.CopyDesktopImageMetadata", "imageId": image.id}
    assert told["response"]["typeUrl"] == f"{TYPES}.DesktopImage"
    image.created_at.nanos -= image.created_at.nanos % 1_000_000  # JavaScript's dates end there
    assert ParseDict(told["response"]["image"], DesktopImage()) == image
    assert image.status == DesktopImage.ACTIVE
    assert (image.name, dict(image.labels), image.description) == (
        "Ubuntu 24.04 (Node)",
        {"wire": "node"},
        "from Node",
    )
    assert told["listed"] == [told["response"]["image"]]
    assert told["refusal"]["isOfTheSdk"]
    assert "NOT_FOUND: Image e3vnone not found" in told["refusal"]["message"]
    assert f'"request_id": "{told["refusal"]["requestId"]}"' in server.log.read_text()
