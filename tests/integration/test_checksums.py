"""Copies that verify their source's checksum, through a real server and the official stubs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import grpc
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import CopyDesktopImageRequest
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.catalog import tables
from clouddesktop.errors import Code
from parts.disks import MIB, random_bytes, write_raw
from parts.inspection import Inspection
from parts.official import OfficialClient, refused
from parts.server import ServerProcess


def copy(client: OfficialClient, name: str, checksum: str) -> Operation:
    request = CopyDesktopImageRequest(folder_id=client.folder_id, image_id="disk", name=name)
    images: Any = client.images
    operation = images.Copy(request, metadata=(("x-clouddesktop-checksum", checksum),))
    return client.wait(operation.id)


def test_a_request_can_name_the_checksum(server: ServerProcess, sources_dir: Path) -> None:
    """The right one passes, a wrong one leaves nothing, nonsense is refused at once."""
    path = sources_dir / "disk.raw"
    write_raw(path, size=9 * MIB, data={0: random_bytes(3 * MIB, seed=8)})
    right = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    client = OfficialClient(server.profile)
    failed = copy(client, "wrong", f"sha256:{'0' * 64}")
    assert failed.error.code == Code.DATA_LOSS
    assert "disk.raw has the sha256" in failed.error.message
    assert copy(client, "right", right).WhichOneof("result") == "response"
    # Known content counts only for the checksum that it was found to have.
    assert copy(client, "known", right).WhichOneof("result") == "response"
    assert copy(client, "still wrong", f"sha512:{'0' * 128}").error.code == Code.DATA_LOSS
    refusal = refused(lambda: copy(client, "x", "crc:1"))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "x-clouddesktop-checksum" in refusal.message
    assert server.stop() == 0
    inspection = Inspection.of(server.data_dir)
    assert sorted(map(str, inspection.column(tables.images.c.name))) == ["known", "right"]
    inspection.close()


def test_a_file_beside_the_image_is_believed(server: ServerProcess, sources_dir: Path) -> None:
    """Lists and single digests; a copy of a file that was damaged on its way fails."""
    path = sources_dir / "disk.raw"
    write_raw(path, size=2 * MIB, data={0: random_bytes(MIB, seed=9)})
    digest = hashlib.sha512(path.read_bytes()).hexdigest()
    client = OfficialClient(server.profile)
    (sources_dir / "SHA512SUMS").write_text(f"{digest}  disk.raw\n{'0' * 128}  other.raw\n")
    assert client.wait(client.copy("disk", "good").id).WhichOneof("result") == "response"
    assert client.copy("disk", "known").done
    (sources_dir / "disk.raw.sha256").write_text("1" * 64 + "\n")
    failed = client.wait(client.copy("disk", "bad").id)
    assert failed.error.code == Code.DATA_LOSS
