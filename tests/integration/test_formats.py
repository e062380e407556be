"""A copy of each format through a real server: the image is what qemu-img reads."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage

from clouddesktop.catalog import tables
from parts.disks import MIB, convert, random_bytes, write_raw
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.server import ServerProcess

pytestmark = pytest.mark.qemu

SIZE = 24 * MIB
OTHERS = {
    "extended": ("qcow2", "extended_l2=on"),
    "sparse": ("vmdk", "subformat=monolithicSparse"),
    "stream": ("vmdk", "subformat=streamOptimized"),
    "vdi": ("vdi", "static=off"),
    "dynamic": ("vpc", "subformat=dynamic,force_size=on"),
    "fixed": ("vpc", "subformat=fixed,force_size=on"),
    "vhdx": ("vhdx", "subformat=dynamic"),
}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
    "bz2": bz2.compress,
}
ENVELOPE = b"""<Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
<References><File ovf:id="f" ovf:href="disk.vmdk"/></References>
<DiskSection><Disk ovf:fileRef="f"/></DiskSection></Envelope>"""


def write_ova(target: Path, vmdk: bytes) -> None:
    with tarfile.open(target, "w") as archive:
        for name, content in (("vm.ovf", ENVELOPE), ("disk.vmdk", vmdk)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_every_format_is_copied_exactly(server: ServerProcess, sources_dir: Path) -> None:
    """Names tell nothing: each file is called .img, but for what the id needs."""
    raw = sources_dir.parent / "disk.raw"
    write_raw(raw, size=SIZE, data={0: random_bytes(3 * MIB, seed=1), 20 * MIB: b"end " * 1000})
    for name, (disk_format, options) in OTHERS.items():
        target = sources_dir / f"{name}.img"
        convert(raw, target, "-O", disk_format, "-o", options, source_format="raw")
    for ending, pack in PACKERS.items():
        (sources_dir / f"packed-{ending}.raw.{ending}").write_bytes(pack(raw.read_bytes()))
    write_ova(sources_dir / "archive.ova", (sources_dir / "stream.img").read_bytes())
    client = OfficialClient(server.profile)
    names = [*OTHERS, *(f"packed-{each}" for each in PACKERS), "archive"]
    image_ids = []
    for name in names:
        operation = client.wait(client.copy(name, name).id)
        image = DesktopImage()
        assert operation.response.Unpack(image), operation
        image_ids.append(image.id)
    assert server.stop() == 0
    inspection = Inspection.of(server.data_dir)
    for image_id in image_ids:
        inspection.check_image(image_id, raw)
    assert len(set(map(str, inspection.column(tables.images.c.manifest)))) == 1
    inspection.close()
    assert list((server.data_dir / "spool").iterdir()) == []
