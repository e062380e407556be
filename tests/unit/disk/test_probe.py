"""What a file is taken for, and what is refused with which words."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.disk.errors import DamagedDiskError, UnsafeDiskError, UnsupportedDiskError
from clouddesktop.disk.file import LocalFile
from clouddesktop.disk.probe import DiskFormat, probe_disk
from clouddesktop.errors import FailedPreconditionError


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def probe(path: Path) -> DiskFormat:
    with opened(path) as fd:
        return probe_disk(LocalFile(fd))


def create(path: Path, *options: str, disk_format: str = "qcow2") -> Path:
    command = ["qemu-img", "create", "-q", "-f", disk_format, *options, str(path), "1M"]
    subprocess.run(command, check=True)
    return path


def boot_sector(*partition_types: int) -> bytes:
    """A master boot record with partitions of these types from sector 1 on."""
    entries = [struct.pack("<4B4BII", 0, 0, 2, 0, each, 0, 0, 0, 1, 9) for each in partition_types]
    return bytes(446) + b"".join(entries).ljust(64, b"\0") + b"\x55\xaa"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        bytes(100_000),
        b"A text of more than one sector.\n" * 100,
        b"text " * 200 + bytes(range(256)) * 4,
        boot_sector(0x83) + bytes(5000),
        boot_sector(0xEE, 0x83, 0x83) + bytes(5000),  # hybrid: fails the inspector's own check
        bytes(32769) + b"CD001" + bytes(5000),
    ],
    ids=["empty", "short", "zeros", "text", "text then bytes", "mbr", "hybrid gpt", "iso"],
)
def test_what_has_no_known_header_is_raw(tmp_path: Path, content: bytes) -> None:
    """Raw disks are read as they lie, whatever partition table or file system they begin with."""
    path = tmp_path / "disk"
    path.write_bytes(content)
    assert probe(path) is DiskFormat.RAW


@pytest.mark.qemu
@pytest.mark.parametrize("compat", ["0.10", "1.1"])
def test_a_plain_qcow2_is_recognised_whatever_its_name(tmp_path: Path, compat: str) -> None:
    """The content decides, not the name."""
    assert probe(create(tmp_path / "disk.raw", "-o", f"compat={compat}")) is DiskFormat.QCOW2


@pytest.mark.qemu
def test_a_backing_file_is_unsafe(tmp_path: Path) -> None:
    """The error names the file, the reason and the way out."""
    base = create(tmp_path / "base.qcow2")
    top = create(tmp_path / "top.qcow2", "-b", str(base), "-F", "qcow2")
    with pytest.raises(UnsafeDiskError, match=r"top\.qcow2.*backing file") as caught:
        probe(top)
    assert "qemu-img convert" in caught.value.remedy
    assert caught.value.facts["checks"] == "backing_file"


@pytest.mark.qemu
def test_a_data_file_is_unsafe(tmp_path: Path) -> None:
    """So is a qcow2 whose content lies elsewhere."""
    disk = create(tmp_path / "disk.qcow2", "-o", f"data_file={tmp_path / 'data'}")
    with pytest.raises(UnsafeDiskError, match="data file"):
        probe(disk)


@pytest.mark.qemu
@pytest.mark.parametrize("disk_format", ["vmdk", "vdi", "vpc", "vhdx"])
def test_other_formats_are_recognised_whatever_their_names(
    tmp_path: Path, disk_format: str
) -> None:
    """The content decides, not the name."""
    assert probe(create(tmp_path / "disk.raw", disk_format=disk_format)) == disk_format


@pytest.mark.qemu
def test_qed_is_never_accepted(tmp_path: Path) -> None:
    """QEMU itself has given it up; the error says how to convert it."""
    with pytest.raises(UnsafeDiskError) as caught:
        probe(create(tmp_path / "disk", disk_format="qed"))
    assert "qemu-img convert" in caught.value.remedy


@pytest.mark.qemu
@pytest.mark.parametrize("subformat", ["monolithicFlat", "twoGbMaxExtentSparse"])
def test_a_vmdk_of_several_files_is_unsafe(tmp_path: Path, subformat: str) -> None:
    """Its descriptor names them."""
    path = tmp_path / "disk.vmdk"
    disk = create(path, "-o", f"subformat={subformat}", disk_format="vmdk")
    with pytest.raises(UnsafeDiskError, match="descriptor"):
        probe(disk)


@pytest.mark.qemu
def test_a_fixed_vhd_is_not_taken_for_raw(tmp_path: Path) -> None:
    """Its only header is the file's last sector."""
    disk = create(tmp_path / "disk", "-o", "subformat=fixed", disk_format="vpc")
    assert probe(disk) is DiskFormat.VHD


@pytest.mark.qemu
def test_extended_tables_are_known_and_later_features_are_not(tmp_path: Path) -> None:
    """A harmless feature that is not served is no reason to warn of an attack."""
    disk = create(tmp_path / "disk.qcow2", "-o", "extended_l2=on")
    assert probe(disk) is DiskFormat.QCOW2
    with disk.open("r+b") as file:
        file.seek(72)
        file.write(struct.pack(">Q", 1 << 5))
    with pytest.raises(UnsupportedDiskError, match="features"):
        probe(disk)


@pytest.mark.parametrize(
    "magic",
    [
        b"COWD",
        b"WithoutFreeSpace",
        b"WithouFreSpacExt",
        b"Bochs Virtual HD Image",
        b"QFI\xfb\0\0\0\1",
    ],
)
def test_rare_formats_are_no_raw_disks(tmp_path: Path, magic: bytes) -> None:
    """They are named, and the error says how to convert them."""
    path = tmp_path / "disk.raw"
    path.write_bytes(magic.ljust(1 << 20, b"\0"))
    with pytest.raises(FailedPreconditionError) as caught:
        probe(path)
    assert "qemu-img convert" in caught.value.remedy


@pytest.mark.parametrize(
    ("magic", "name"),
    [
        (b"\x1f\x8b\x08", "gzip"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"BZh9", "bzip2"),
        (b"LUKS\xba\xbe\0\x01", "LUKS"),
    ],
)
def test_compressed_and_encrypted_files_are_no_raw_disks(
    tmp_path: Path, magic: bytes, name: str
) -> None:
    """Their bytes are not what a guest would see."""
    path = tmp_path / "disk.raw"
    path.write_bytes(magic.ljust(1 << 20, b"\0"))
    with pytest.raises(FailedPreconditionError, match=name):
        probe(path)


def test_two_formats_in_one_file_are_unsafe(tmp_path: Path) -> None:
    """A file that different readers take for different disks is refused."""
    path = tmp_path / "disk"
    qcow = b"QFI\xfb" + bytes(508)
    path.write_bytes(qcow + bytes(32769 - len(qcow)) + b"CD001" + bytes(5000))
    with pytest.raises(UnsafeDiskError, match="iso, qcow2"):
        probe(path)


@pytest.mark.qemu
@pytest.mark.parametrize("size", [4, 72, 511])
def test_a_piece_of_a_header_is_damaged(tmp_path: Path, size: int) -> None:
    """The beginning of a qcow2 file is not a raw disk."""
    disk = create(tmp_path / "disk.qcow2")
    os.truncate(disk, size)
    with pytest.raises(DamagedDiskError, match="truncated"):
        probe(disk)


@given(
    magic=st.sampled_from((b"QFI\xfb", b"KDMV", b"conectix", b"vhdxfile", b"QED\0", b"", b"# D")),
    rest=st.binary(max_size=2000),
)
def test_no_content_makes_the_probe_fail_otherwise(
    tmp_path: Path, magic: bytes, rest: bytes
) -> None:
    """Any bytes end in a format or in an error of ours."""
    path = tmp_path / "disk"
    path.write_bytes(magic + rest)
    with suppress(FailedPreconditionError):
        assert probe(path) in DiskFormat
