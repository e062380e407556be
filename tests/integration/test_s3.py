"""Copies straight from a real S3 server, through a real clouddesktop server."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage

from clouddesktop.catalog import tables
from clouddesktop.errors import Code
from parts.disks import MIB, convert, random_bytes, write_raw
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.s3_proxy import S3Proxy, cut_body, proxying, refused, reset_body, stall_body
from parts.seaweedfs import BUCKET, SECRET_ACCESS_KEY, SeaweedFS
from parts.server import ServerProcess
from parts.web import Handler, once

SIZE = 40 * MIB


class Folder:
    """A prefix of this test's own, whose objects are reached through the proxy."""

    def __init__(self, server: SeaweedFS) -> None:
        self.prefix = server.new_prefix()
        self.url = f"s3://{BUCKET}/{self.prefix}"
        self._store: S3Store = server.open_bucket(BUCKET)

    def put(self, name: str, content: bytes | Path) -> None:
        obstore.put(self._store, f"{self.prefix}/{name}", content)

    def delete(self, name: str) -> None:
        obstore.delete(self._store, f"{self.prefix}/{name}")

    def path_of(self, name: str) -> str:
        return f"/{BUCKET}/{self.prefix}/{name}"


@pytest.fixture
def folder(seaweedfs: SeaweedFS) -> Folder:
    return Folder(seaweedfs)


@pytest.fixture
def proxy(seaweedfs: SeaweedFS) -> Iterator[S3Proxy]:
    with proxying(seaweedfs.port) as server:
        yield server


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    data = {0: random_bytes(9 * MIB, seed=1), 30 * MIB: b"text " * (2 * MIB // 5)}
    write_raw(path, size=SIZE, data=data)
    return path


@pytest.fixture
def remote(
    make_server: Callable[..., ServerProcess], seaweedfs: SeaweedFS, proxy: S3Proxy, folder: Folder
) -> ServerProcess:
    server = make_server(
        options=("--source", f"s3={folder.url}", "--source-stall", "2"),
        variables={**seaweedfs.variables, "AWS_ENDPOINT_URL": proxy.url},
    )
    server.start()
    return server


def check_empty(server: ServerProcess) -> None:
    """See that no copy has left anything."""
    assert server.stop() == 0
    inspection = Inspection.of(server.data_dir)
    for table in (tables.images, tables.chunks, tables.packs, tables.copy_ranges):
        assert inspection.count(table) == 0
    assert list(inspection.chunks.iter_packs()) == []
    inspection.close()
    assert SECRET_ACCESS_KEY not in server.log.read_text()


def test_raw_and_qcow2_are_read_in_place(
    remote: ServerProcess, proxy: S3Proxy, folder: Folder, raw: Path, tmp_path: Path
) -> None:
    """Byte for byte, through faults that pass; a list of checksums is verified."""
    convert(raw, tmp_path / "packed.qcow2", "-O", "qcow2", "-c", source_format="raw")
    convert(raw, tmp_path / "grown.qcow2", "-O", "qcow2", source_format="raw")
    files = {"plain.raw": raw, **{each.name: each for each in tmp_path.glob("*.qcow2")}}
    for name, path in files.items():
        folder.put(name, path)
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n" for name, path in files.items()
    ]
    folder.put("SHA256SUMS", "".join(sums).encode())
    proxy.faults[folder.path_of("plain.raw")] = once(reset_body, at=4, times=3)
    proxy.faults[folder.path_of("packed.qcow2")] = once(refused(503, "SlowDown"), at=3, times=2)
    proxy.faults[folder.path_of("grown.qcow2")] = once(cut_body, at=3, times=2)
    client = OfficialClient(remote.profile)
    image_ids = []
    for name in ("plain", "packed", "grown"):
        operation = client.wait(client.copy(name, name).id)
        assert operation.WhichOneof("result") == "response", operation
        image = DesktopImage()
        assert operation.response.Unpack(image)
        image_ids.append(image.id)
    assert client.copy("plain", "again").done
    assert remote.stop() == 0
    inspection = Inspection.of(remote.data_dir)
    for image_id in image_ids:
        inspection.check_image(image_id, raw)
    inspection.check_store()
    inspection.close()


@pytest.mark.parametrize("fault", ["changed", "gone", "refused", "busy"])
def test_a_copy_that_cannot_go_on_leaves_nothing(
    remote: ServerProcess, proxy: S3Proxy, folder: Folder, raw: Path, fault: str
) -> None:
    """The error says why, and image, packs and chunks are gone."""
    folder.put("disk.raw", raw)

    def break_it(handler: Handler, number: int) -> bool:
        if number == 6 and fault == "changed":
            folder.put("disk.raw", raw.read_bytes()[::-1])
        if number == 6 and fault == "gone":
            folder.delete("disk.raw")
        if number >= 6 and fault == "refused":
            return refused(403, "AccessDenied")(handler, number)
        return number >= 6 and fault == "busy" and refused(503, "SlowDown")(handler, number)

    proxy.faults[folder.path_of("disk.raw")] = break_it
    client = OfficialClient(remote.profile)
    operation = client.wait(client.copy("disk", "disk").id)
    assert operation.WhichOneof("result") == "error"
    expected = {"refused": Code.FAILED_PRECONDITION, "busy": Code.UNAVAILABLE}
    assert operation.error.code == expected.get(fault, Code.ABORTED), operation.error
    assert "disk.raw" in operation.error.message
    check_empty(remote)


def test_a_wrong_checksum_publishes_nothing(
    remote: ServerProcess, proxy: S3Proxy, folder: Folder, raw: Path
) -> None:
    """Also when all the bytes came as they lie there, after a stall."""
    folder.put("disk.raw", raw)
    folder.put("disk.raw.sha256", b"0" * 64)
    proxy.faults[folder.path_of("disk.raw")] = once(stall_body, at=3)
    client = OfficialClient(remote.profile)
    operation = client.wait(client.copy("disk", "disk").id)
    assert operation.error.code == Code.DATA_LOSS, operation
    assert "disk.raw has the sha256" in operation.error.message
    check_empty(remote)
