"""VMDK, VDI, VHD and VHDX files: damaged ones are refused, or read as they were when whole."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clouddesktop.disk.errors import DamagedDiskError, UnsafeDiskError, UnsupportedDiskError
from clouddesktop.disk.file import LocalFile
from clouddesktop.disk.vdi import check_vdi
from clouddesktop.errors import FailedPreconditionError
from parts.children import own_children
from parts.disks import read_as_qemu
from parts.reading import read_some, read_whole
from strategies import (
    DiskLayout,
    Piece,
    PieceKind,
    build_other,
    disk_layouts,
    other_formats,
)

pytestmark = pytest.mark.qemu

LAYOUT = DiskLayout(
    size=3 << 20,
    pieces=(
        Piece(offset=0, length=200_000, kind=PieceKind.RANDOM, seed=1),
        Piece(offset=2_600_000, length=300_000, kind=PieceKind.TEXT, seed=2),
    ),
)
VMDK = ("vmdk", "subformat=monolithicSparse")
STREAM = ("vmdk", "subformat=streamOptimized")
VDI = ("vdi", "static=off")
VHD = ("vpc", "subformat=dynamic")
FIXED_VHD = ("vpc", "subformat=fixed,force_size=on")
VHDX = ("vhdx", "subformat=dynamic")
FORMS = (VMDK, STREAM, VDI, VHD, FIXED_VHD, VHDX)

Change = Callable[[bytearray], None]


def put(offset: int, layout: str, *values: int | bytes) -> Change:
    """Make a change that writes values over what is there."""

    def change(data: bytearray) -> None:
        struct.pack_into(layout, data, offset, *values)

    return change


def replace(old: bytes, new: bytes) -> Change:
    """Make a change of the descriptor's text; it keeps its length."""

    def change(data: bytearray) -> None:
        assert data.count(old) == 1
        place = data.index(old)
        text = data[: data.index(b"\0", place)]
        data[place : len(text)] = (bytes(text[place:]).replace(old, new)).ljust(
            len(text) - place, b"\n"
        )[: len(text) - place]

    return change


def with_checksum(change: Change, *, checksum: int, structure: slice) -> Change:
    """Make the checksum of a VHD's structure right again after a change."""

    def both(data: bytearray) -> None:
        change(data)
        struct.pack_into(">I", data, checksum, 0)
        struct.pack_into(">I", data, checksum, ~sum(data[structure]) & 0xFFFFFFFF)

    return both


def in_footer(change: Change) -> Change:
    return with_checksum(change, checksum=64, structure=slice(0, 512))


def in_dynamic_header(change: Change) -> Change:
    return with_checksum(change, checksum=512 + 36, structure=slice(512, 1536))


def changed(tmp_path: Path, form: tuple[str, str], change: Change) -> Path:
    path = build_other(tmp_path / "disk", LAYOUT, form)
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    return path


@settings(max_examples=100)
@given(
    layout=disk_layouts().filter(lambda each: each.size > 0),
    form=other_formats(),
    share=st.floats(0, 1),
    cut=st.integers(1, 2000),
)
def test_a_truncated_file_is_never_read_as_another_disk(
    layout: DiskLayout, form: tuple[str, str], share: float, cut: int
) -> None:
    """Wherever the file ends: an error, or the very bytes of the whole file."""
    with tempfile.TemporaryDirectory() as folder:
        path = build_other(Path(folder) / "disk", layout, form)
        expected = read_whole(path)
        size = path.stat().st_size
        end = size - cut if share > 0.5 else int(size * share * 2)
        if form[1].startswith("subformat=fixed") and form[0] == "vpc":
            end = max(0, min(end, 511))  # its one mark is its end: without it, it is a raw disk
        os.truncate(path, max(72, end))
        with suppress(FailedPreconditionError):
            found = read_whole(path)
            assert found == expected or form[0] == "vpc"
            assert len(found) <= len(expected)


@settings(max_examples=100)
@given(
    form=st.sampled_from(FORMS),
    changes=st.lists(st.tuples(st.integers(0, 400_000), st.integers(0, 255)), max_size=8),
    words=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 2**32 - 1)), max_size=2),
)
def test_damage_ends_in_an_error_of_ours_or_in_bytes(
    form: tuple[str, str], changes: list[tuple[int, int]], words: list[tuple[int, int]]
) -> None:
    """Whatever is changed, in header, tables and data: no crash, and no process is left."""
    with tempfile.TemporaryDirectory() as folder:
        path = build_other(Path(folder) / "disk", LAYOUT, form)
        with path.open("r+b") as file:
            for offset, value in changes:
                file.seek(offset % path.stat().st_size)
                file.write(bytes([value]))
            for number, word in words:
                file.seek(number * 4)
                file.write(struct.pack("<I", word))
        with suppress(FailedPreconditionError):
            read_some(path)
    assert not own_children()


@pytest.mark.parametrize(
    ("form", "change", "error", "words"),
    [
        (VMDK, put(12, "<Q", 0), DamagedDiskError, "impossible values"),
        (VMDK, put(12, "<Q", 1 << 60), DamagedDiskError, "impossible values"),
        (VMDK, put(20, "<Q", 0), DamagedDiskError, "impossible values"),
        (VMDK, put(44, "<I", 0), DamagedDiskError, "impossible values"),
        (VMDK, put(44, "<I", 1 << 30), DamagedDiskError, "impossible values"),
        (VMDK, put(56, "<Q", 1 << 40), DamagedDiskError, "truncated"),
        (VMDK, put(73, "<4s", b"\n \n\n"), DamagedDiskError, "not as it was written"),
        (STREAM, put(77, "<H", 9), UnsupportedDiskError, "compression"),
        (VMDK, replace(b"SPARSE", b"FLAT"), UnsafeDiskError, "other files"),
        (VMDK, replace(b'"disk"', b'"/etc/passwd"'), UnsafeDiskError, "descriptor"),
        (VMDK, replace(b"RW 6144", b'RW 1 SPARSE "a"\nRW 6144'), UnsafeDiskError, "other files"),
        (VMDK, replace(b"parentCID=ffffffff", b"parentCID=00000001"), UnsafeDiskError, "depends"),
        (
            VMDK,
            replace(b"createType", b'parentFileNameHint="/x"\ncreateType'),
            UnsafeDiskError,
            "depends|descriptor",
        ),
        (VMDK, replace(b"monolithicSparse", b"twoGbMaxExtentFlat"), UnsafeDiskError, "descriptor"),
        (
            VMDK,
            replace(b"ddb.adapterType = ", b"encryption.keySafe="),
            UnsupportedDiskError,
            "encrypted",
        ),
        (VDI, put(0x44, "<I", 0x00020001), UnsupportedDiskError, "version"),
        (VDI, put(0x4C, "<I", 4), UnsupportedDiskError, "another file"),
        (VDI, put(0x1A8, "<B", 1), UnsupportedDiskError, "another file"),
        (VDI, put(0x170, "<q", -512), DamagedDiskError, "impossible values"),
        (VDI, put(0x170, "<Q", 1 << 63), DamagedDiskError, "impossible values"),
        (VDI, put(0x178, "<I", 1 << 16), DamagedDiskError, "impossible values"),
        (VDI, put(0x154, "<I", 0), DamagedDiskError, "impossible values"),
        (VDI, put(0x158, "<I", 512), DamagedDiskError, "over its map"),
        (VDI, put(512, "<I", 1 << 20), DamagedDiskError, "truncated"),
        (VDI, put(512, "<II", 0, 0), DamagedDiskError, "share the same bytes"),
        (VHD, put(40, ">B", 1), DamagedDiskError, "checksum"),
        (VHD, in_footer(put(60, ">I", 4)), UnsupportedDiskError, "another file"),
        (VHD, in_footer(put(60, ">I", 2)), DamagedDiskError, "another kind"),
        (VHD, in_footer(put(48, ">Q", 1 << 62)), DamagedDiskError, "impossible values"),
        (VHD, in_footer(put(16, ">Q", 7)), DamagedDiskError, "impossible place"),
        (VHD, in_footer(put(16, ">Q", 1 << 50)), DamagedDiskError, "truncated"),
        (VHD, put(512, ">B", 0), DamagedDiskError, "not as it was written"),
        (VHD, in_dynamic_header(put(512 + 32, ">I", 3)), DamagedDiskError, "impossible values"),
        (VHD, in_dynamic_header(put(512 + 28, ">I", 0)), DamagedDiskError, "too small"),
        (VHD, in_dynamic_header(put(512 + 16, ">Q", 1 << 50)), DamagedDiskError, "truncated"),
        (VHD, put(1536, ">I", 0), DamagedDiskError, "over its header"),
        (VHD, put(1536, ">I", 1 << 30), DamagedDiskError, "truncated"),
        (VHDX, put(192 << 10, "<I", 0), DamagedDiskError, "region|QEMU"),
        (VHDX, put((192 << 10) + 8, "<I", 1 << 20), DamagedDiskError, "region|QEMU"),
        (VHDX, put((3 << 20), "<Q", 0), DamagedDiskError, "metadata"),
        (VHDX, put((3 << 20) + 10, "<H", 1), DamagedDiskError, "not complete"),
        (VHDX, put((3 << 20) + (64 << 10), "<I", 3 << 20), DamagedDiskError, "impossible values"),
        (VHDX, put((3 << 20) + (64 << 10) + 4, "<I", 2), UnsupportedDiskError, "another file"),
        (VHDX, put((3 << 20) + (64 << 10) + 8, "<Q", 1 << 62), UnsupportedDiskError, "64 TiB"),
        (VHDX, put((3 << 20) + (64 << 10) + 8, "<Q", 1 << 45), DamagedDiskError, "too small"),
        (VHDX, put(2 << 20, "<Q", (1 << 40) | 6), DamagedDiskError, "truncated"),
        (VHDX, put(2 << 20, "<Q", 6), DamagedDiskError, "over its header"),
        (VHDX, put(2 << 20, "<Q", (4 << 20) | 7), UnsupportedDiskError, "another file"),
    ],
)
def test_what_cannot_be_right_is_refused(
    tmp_path: Path,
    form: tuple[str, str],
    change: Change,
    error: type[FailedPreconditionError],
    words: str,
) -> None:
    """Each with its words, the file's name and a way out."""
    path = changed(tmp_path, form, change)
    with pytest.raises(error, match=words) as caught:
        read_whole(path)
    assert "disk" in caught.value.message
    assert caught.value.remedy


def test_a_fixed_vhd_is_its_bytes_without_the_footer(tmp_path: Path) -> None:
    """It is read as it lies, and needs no other program."""
    path = build_other(tmp_path / "disk", LAYOUT, FIXED_VHD)
    content = read_whole(path)
    assert content == path.read_bytes()[:-512]
    data = bytearray(path.read_bytes())
    path.write_bytes(data[512:])
    with pytest.raises(DamagedDiskError, match="truncated"):
        read_whole(path)


@pytest.mark.parametrize("shift", [-7, -1, 0, 1, 7])
def test_blocks_of_a_vhdx_that_share_a_part_are_refused(tmp_path: Path, shift: int) -> None:
    """They begin at any MiB, and have eight."""
    path = tmp_path / "disk"
    options = ["-o", "subformat=dynamic,block_size=8388608"]
    subprocess.run(["qemu-img", "create", "-qf", "vhdx", *options, str(path), "24M"], check=True)
    commands = ["-c", "write -q 0 24M"]
    subprocess.run(["qemu-io", "-f", "vhdx", *commands, str(path)], check=True)
    data = bytearray(path.read_bytes())
    (entry,) = struct.unpack_from("<Q", data, (2 << 20) + 8)
    put(2 << 20, "<Q", entry + (shift << 20))(data)
    path.write_bytes(data)
    with pytest.raises(DamagedDiskError, match="share the same bytes"):
        read_whole(path)


def test_a_vhdx_whose_writer_died_is_read_as_qemu_reads_it(tmp_path: Path) -> None:
    """What was written is there."""
    path = build_other(tmp_path / "disk", LAYOUT, VHDX)
    commands = ["-c", "write -q -P 7 1M 64k", "-c", "sigraise 9"]
    subprocess.run(["qemu-io", "-f", "vhdx", *commands, str(path)], check=False)
    content = read_whole(path)
    assert content[1 << 20 : (1 << 20) + 65536] == b"\7" * 65536
    assert content == read_as_qemu(path, disk_format="vhdx", scratch=tmp_path)


@pytest.mark.parametrize("entry", [b"\0", b"\xff"])
@pytest.mark.parametrize("tib", [4, 64, 128])
def test_a_huge_map_costs_little(tmp_path: Path, entry: bytes, tib: int) -> None:
    """A file of some kilobytes may have a map of gigabytes, all of it holes."""
    path = build_other(tmp_path / "disk", LAYOUT, VDI)
    header = bytearray(path.read_bytes()[:512])
    blocks = tib << 20
    data_offset = 512 + 4 * blocks
    struct.pack_into("<II", header, 0x154, 512, min(data_offset, 0xFFFFFE00))
    struct.pack_into("<QIIII", header, 0x170, tib << 40, 1 << 20, 0, blocks, 0)
    with path.open("wb") as file:
        file.write(header)
        if entry != b"\0":
            file.write(entry * min(4 * blocks, 16 << 20))
        file.truncate(data_offset + (8 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with suppress(FailedPreconditionError):
        check_vdi_file(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def check_vdi_file(path: Path) -> int:
    with path.open("rb") as file:
        return check_vdi(LocalFile(file.fileno()))
