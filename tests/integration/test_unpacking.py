"""Small files with large disks in them, copied by a real server; and what only looks like that."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage

from clouddesktop.catalog import tables
from parts.disks import MIB, random_bytes
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.packing import make_sparse, pack_repeated
from parts.server import ServerProcess

GIB = 1 << 30

pytestmark = pytest.mark.slow


def test_a_new_disk_in_a_tiny_file_is_copied(server: ServerProcess, sources_dir: Path) -> None:
    """64 GiB in 6 MiB, nearly all of them holes: as the raw disk is, and in no more space."""
    packed = sources_dir / "packed.raw.zst"
    make_sparse(
        sources_dir / "plain.raw",
        packed,
        kind="zst",
        head=random_bytes(4 * MIB, seed=1),
        size=64 * GIB,
    )
    assert packed.stat().st_size < 7 * MIB
    client = OfficialClient(server.profile)
    for name in ("plain", "packed"):
        operation = client.wait(client.copy(name, name).id, timeout_seconds=300)
        image = DesktopImage()
        assert operation.response.Unpack(image), operation
    assert server.stop() == 0
    inspection = Inspection.of(server.data_dir)
    manifests = inspection.column(tables.images.c.manifest)
    assert len(manifests) == 2
    assert manifests[0] == manifests[1]
    inspection.close()


def test_a_bomb_is_refused(server: ServerProcess, sources_dir: Path) -> None:
    """30 GiB of one letter in a MiB: that ends soon, with an error that tells it."""
    bomb = sources_dir / "bomb.raw.zst"
    pack_repeated(bomb, kind="zst", head=b"A", run=b"A" * (64 * MIB), times=480)
    size = bomb.stat().st_size
    assert size < 2 * MIB
    client = OfficialClient(server.profile)
    operation = client.wait(client.copy("bomb", "bomb").id, timeout_seconds=300)
    assert operation.WhichOneof("result") == "error", operation
    info = ErrorInfo()
    assert any(each.Unpack(info) for each in operation.error.details)
    assert info.reason == "DISK_BOMB"
    expected = f"bomb.raw.zst of {size} bytes unpacks to more than 4294967296"
    assert expected in operation.error.message
    assert list((server.data_dir / "spool").iterdir()) == []
