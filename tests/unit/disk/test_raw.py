"""Raw files as disks."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from clouddesktop.disk.errors import DamagedDiskError, DiskShrankError
from clouddesktop.disk.file import LocalFile
from clouddesktop.disk.raw import RawDisk
from clouddesktop.model.manifest import Extent

MIB = 1 << 20


@contextmanager
def opened(path: Path) -> Iterator[RawDisk]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield RawDisk(LocalFile(fd))
    finally:
        os.close(fd)


def read(disk: RawDisk, offset: int, length: int) -> bytes:
    buffer = bytearray(b"\xff" * length)
    disk.read_into(offset, memoryview(buffer))
    return bytes(buffer)


def gpt_header(*, sector_size: int, last_lba: int) -> bytes:
    """A boot sector's room and a primary GPT header for a disk that ends with sector `last_lba`."""
    fields = (b"EFI PART", 0x10000, 92, 0, 0, 1, last_lba)
    header = struct.pack("<8sIIIIQQ", *fields).ljust(92, b"\0")
    checksum = struct.pack("<I", zlib.crc32(header))
    return bytes(sector_size) + header[:16] + checksum + header[20:]


def test_the_last_sector_is_filled_up_with_zeros(tmp_path: Path) -> None:
    """A guest sees whole sectors."""
    path = tmp_path / "disk"
    path.write_bytes(b"x" * 700)
    with opened(path) as disk:
        assert disk.size == 1024
        assert read(disk, 0, 1024) == b"x" * 700 + bytes(324)
        assert read(disk, 800, 224) == bytes(224)


def test_holes_are_left_out_of_the_map(tmp_path: Path) -> None:
    """Only what was written is data."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
        for offset in (MIB, 40 * MIB):
            file.seek(offset)
            file.write(b"d" * 65536)
    with opened(path) as disk:
        assert list(disk.iter_extents()) == [
            Extent(offset=MIB, length=65536),
            Extent(offset=40 * MIB, length=65536),
        ]


@pytest.mark.parametrize("size", [0, 4 * MIB])
def test_a_disk_without_data_has_no_extents(tmp_path: Path, size: int) -> None:
    """Neither an empty file nor one that is all hole."""
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, size)
    with opened(path) as disk:
        assert disk.size == size
        assert list(disk.iter_extents()) == []
        disk.read_into(0, memoryview(bytearray()))


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (1024, 1), (0, 1025)])
def test_reads_off_the_disk_are_mistakes(tmp_path: Path, offset: int, length: int) -> None:
    """They raise ValueError and fill nothing."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(1024))
    with opened(path) as disk, pytest.raises(ValueError, match="not on a disk"):
        read(disk, offset, length)


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    """What was there when the disk was opened is never read as zeros."""
    path = tmp_path / "disk"
    path.write_bytes(b"x" * MIB)
    with opened(path) as disk:
        os.truncate(path, 1000)
        with pytest.raises(DiskShrankError, match="shorter"):
            read(disk, 0, 4096)


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    """The file's position plays no part."""
    path = tmp_path / "disk"
    path.write_bytes(b"".join(bytes([number]) * 65536 for number in range(64)))
    with opened(path) as disk, ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda number: read(disk, number * 65536, 65536), range(64))
        assert all(each == bytes([number]) * 65536 for number, each in enumerate(found))


@pytest.mark.parametrize("sector_size", [512, 4096])
def test_a_partition_table_tells_of_a_truncated_file(tmp_path: Path, sector_size: int) -> None:
    """The whole file is accepted, one that lacks its last sector is not."""
    path = tmp_path / "disk.raw"
    path.write_bytes(gpt_header(sector_size=sector_size, last_lba=99))
    os.truncate(path, 100 * sector_size)
    with opened(path) as disk:
        assert disk.size == 100 * sector_size
    os.truncate(path, 99 * sector_size)
    with pytest.raises(DamagedDiskError, match=r"disk\.raw is truncated"), opened(path):
        pass


def test_a_broken_partition_table_tells_nothing(tmp_path: Path) -> None:
    """Without a valid checksum it is just data."""
    path = tmp_path / "disk"
    raw = bytearray(gpt_header(sector_size=512, last_lba=10**9))
    raw[512 + 50] ^= 1
    path.write_bytes(raw.ljust(8192, b"\0"))
    with opened(path) as disk:
        assert disk.size == 8192
