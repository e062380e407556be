"""Damaged qcow2 files: refused, or read as they were when they were whole; nothing in between."""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.disk.errors import DamagedDiskError, UnsupportedDiskError
from clouddesktop.disk.file import LocalFile
from clouddesktop.disk.qcow2 import check_qcow2
from clouddesktop.errors import FailedPreconditionError
from parts.children import own_children
from parts.reading import read_some, read_whole
from strategies import (
    DiskLayout,
    Piece,
    PieceKind,
    QcowOptions,
    QcowOrigin,
    build_qcow2,
    disk_layouts,
    qcow_options,
)

pytestmark = pytest.mark.qemu

LAYOUT = DiskLayout(
    size=1 << 20,
    pieces=(
        Piece(offset=0, length=200_000, kind=PieceKind.RANDOM, seed=1),
        Piece(offset=600_000, length=300_000, kind=PieceKind.TEXT, seed=2),
    ),
)


def check(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY)
    try:
        return check_qcow2(LocalFile(fd))
    finally:
        os.close(fd)


@given(
    layout=disk_layouts(), options=qcow_options(), share=st.floats(0, 1), cut=st.integers(0, 2000)
)
def test_a_truncated_file_is_never_read_as_another_disk(
    layout: DiskLayout, options: QcowOptions, share: float, cut: int
) -> None:
    """Wherever the file ends: an error, or the very bytes of the whole file."""
    with tempfile.TemporaryDirectory() as folder:
        path = build_qcow2(Path(folder) / "disk.qcow2", layout, options)
        expected = read_whole(path)
        size = path.stat().st_size
        # Near the end, where the last clusters are, or anywhere, but not within the magic.
        end = size - cut if share > 0.5 else int(size * share * 2)
        os.truncate(path, max(4, end))
        with suppress(DamagedDiskError):
            assert read_whole(path) == expected


@given(
    options=qcow_options(),
    changes=st.lists(st.tuples(st.integers(4, 200_000), st.integers(0, 255)), max_size=8),
    fields=st.lists(st.tuples(st.integers(1, 28), st.integers(0, 2**32 - 1)), max_size=2),
)
def test_damage_ends_in_an_error_of_ours_or_in_bytes(
    options: QcowOptions, changes: list[tuple[int, int]], fields: list[tuple[int, int]]
) -> None:
    """Whatever bytes are changed, in header, tables and data: no crash, and no process is left."""
    with tempfile.TemporaryDirectory() as folder:
        path = build_qcow2(Path(folder) / "disk.qcow2", LAYOUT, options)
        with path.open("r+b") as file:
            for offset, value in changes:
                file.seek(offset % path.stat().st_size)
                file.write(bytes([value]))
            for number, word in fields:
                file.seek(number * 4)
                file.write(struct.pack(">I", word))
        with suppress(FailedPreconditionError):
            read_some(path)
    assert not own_children()


def test_the_error_tells_how_much_is_missing(tmp_path: Path) -> None:
    """So that people see at once that a download broke off."""
    options = QcowOptions(origin=QcowOrigin.CONVERTED, cluster_size=65536)
    path = build_qcow2(tmp_path / "disk.qcow2", LAYOUT, options)
    size = path.stat().st_size
    os.truncate(path, size - 100_000)
    with pytest.raises(DamagedDiskError, match=r"disk\.qcow2 is truncated.*at least") as caught:
        check(path)
    assert caught.value.facts["size"] == str(size - 100_000)
    assert caught.value.facts["expected_size"] <= str(size)


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
def test_a_compressed_cluster_at_the_end_has_to_be_whole(tmp_path: Path, compression: str) -> None:
    """Its length is known in sectors only, so it is unpacked."""
    options = QcowOptions(
        origin=QcowOrigin.COMPRESSED, cluster_size=65536, compression_type=compression
    )
    path = build_qcow2(tmp_path / "disk.qcow2", LAYOUT, options)
    assert check(path) == LAYOUT.size
    expected = read_whole(path)
    for _ in range(600):
        os.truncate(path, path.stat().st_size - 1)
        try:
            check(path)
        except DamagedDiskError:
            return
        assert read_whole(path) == expected
    pytest.fail("A file without its last sector passed.")


def test_a_corrupt_mark_is_respected(tmp_path: Path) -> None:
    """QEMU sets it when it has found the tables broken."""
    options = QcowOptions(origin=QcowOrigin.CONVERTED, cluster_size=65536)
    path = build_qcow2(tmp_path / "disk.qcow2", LAYOUT, options)
    with path.open("r+b") as file:
        file.seek(79)
        file.write(b"\2")
    with pytest.raises(DamagedDiskError, match="marked as corrupt") as caught:
        check(path)
    assert "qemu-img check -r" in caught.value.remedy


def test_an_encrypted_disk_is_not_served(tmp_path: Path) -> None:
    """Its bytes are not what a guest would see."""
    path = tmp_path / "disk.qcow2"
    secret = ["--object", "secret,id=key,data=123456"]
    options = "encrypt.format=aes,encrypt.key-secret=key"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", *secret, "-o", options, str(path), "1M"]
    subprocess.run(command, check=True)
    with pytest.raises(UnsupportedDiskError, match="encrypted"):
        check(path)


def test_a_cluster_at_an_impossible_place_is_damage(tmp_path: Path) -> None:
    """QEMU's own words are in the error."""
    options = QcowOptions(origin=QcowOrigin.CONVERTED, cluster_size=65536)
    path = build_qcow2(tmp_path / "disk.qcow2", LAYOUT, options)
    with path.open("r+b") as file:
        header = file.read(72)
        (l1_offset,) = struct.unpack_from(">Q", header, 40)
        file.seek(l1_offset)
        l2_offset = struct.unpack(">Q", file.read(8))[0] & ((1 << 56) - 1)
        file.seek(l2_offset)
        file.write(struct.pack(">Q", (1 << 63) | 512))
    with pytest.raises(DamagedDiskError, match="unaligned"):
        read_whole(path)
