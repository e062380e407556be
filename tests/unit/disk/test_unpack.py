"""Compressed files, unpacked in bounds, and the scratch files that they are unpacked into."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from clouddesktop.disk import unpack as unpacking
from clouddesktop.disk.errors import (
    DamagedDiskError,
    DiskBombError,
    UnsafeDiskError,
    UnsupportedDiskError,
)
from clouddesktop.disk.file import LocalFile
from clouddesktop.disk.reader import open_disk
from clouddesktop.disk.spool import (
    Spool,
    SpoolClosedError,
    SpoolFullError,
    SpoolUnusableError,
)
from parts.disk_files import MemoryFile
from parts.disks import MIB, random_bytes
from strategies import DiskLayout, build_qcow2, build_raw, disk_layouts, qcow_options

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "xz": lambda data: lzma.compress(data, preset=0),
    "zst": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
    "bz2": bz2.compress,
}
CONTENT = random_bytes(300_000, seed=4) + bytes(500_000) + b"text " * 40_000


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", most_bytes=1 << 30)


def read(content: bytes, spool: Spool | None, *, name: str = "disk.raw.gz") -> bytes:
    with open_disk(MemoryFile(content, name=name), readers=1, spool=spool) as disk:
        whole = bytearray(disk.size)
        for extent in disk.iter_extents():
            disk.read_into(extent.offset, memoryview(whole)[extent.offset : extent.end])
        return bytes(whole)


def padded(content: bytes) -> bytes:
    return content.ljust(-(-len(content) // 512) * 512, b"\0")


@pytest.mark.parametrize("kind", COMPRESSORS)
@pytest.mark.parametrize("members", [1, 3])
def test_what_was_packed_comes_out(spool: Spool, kind: str, members: int) -> None:
    """Of any number of members, from a file that lies anywhere."""
    packed = COMPRESSORS[kind](CONTENT) * members
    assert read(packed, spool) == padded(CONTENT * members)


@settings(max_examples=20)
@given(layout=disk_layouts(), options=qcow_options(), kind=st.sampled_from(sorted(COMPRESSORS)))
def test_disks_inside_are_read_as_without(layout: DiskLayout, options: object, kind: str) -> None:
    """Raw and qcow2, whatever the compression."""
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder) / "spool", most_bytes=1 << 30)
        raw = build_raw(Path(folder) / "disk.raw", layout)
        assert read(COMPRESSORS[kind](raw.read_bytes()), spool) == padded(raw.read_bytes())
        qcow2 = build_qcow2(Path(folder) / "disk.qcow2", layout, options)  # type: ignore[arg-type]
        fd = os.open(qcow2, os.O_RDONLY)
        with open_disk(LocalFile(fd), readers=1) as disk:
            expected = bytearray(disk.size)
            disk.read_into(0, memoryview(expected))
        os.close(fd)
        assert read(COMPRESSORS[kind](qcow2.read_bytes()), spool) == expected


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_a_truncated_file_is_damaged_wherever_it_ends(spool: Spool, kind: str) -> None:
    """Also within its checksum at the end."""
    packed = COMPRESSORS[kind](CONTENT)
    for end in (8, len(packed) // 2, len(packed) - 20, len(packed) - 1):
        with pytest.raises(DamagedDiskError, match=r"disk\.raw\.gz cannot be unpacked"):
            read(packed[:end], spool)


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_changed_bytes_are_damage(spool: Spool, kind: str) -> None:
    """Every one of the formats has a checksum."""
    packed = bytearray(COMPRESSORS[kind](CONTENT))
    packed[len(packed) // 3] ^= 0x40
    with pytest.raises(DamagedDiskError):
        read(bytes(packed), spool)


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_what_follows_the_end_is_damage(spool: Spool, kind: str) -> None:
    """Nobody knows what it is for. Zeros are padding, where the format allows it."""
    packed = COMPRESSORS[kind](CONTENT)
    with pytest.raises(DamagedDiskError):
        read(packed + b"garbage of some length", spool)
    if kind != "zst":
        assert read(packed + bytes(1024), spool) == padded(CONTENT)


def test_archives_in_archives_are_refused(spool: Spool) -> None:
    """One level is unpacked."""
    with pytest.raises(UnsupportedDiskError, match="more than once"):
        read(gzip.compress(bz2.compress(CONTENT)), spool)


def test_without_room_to_unpack_it_is_refused() -> None:
    with pytest.raises(UnsupportedDiskError, match="is compressed"):
        read(gzip.compress(CONTENT), None)


def test_an_unsafe_disk_inside_is_unsafe(spool: Spool) -> None:
    """What comes out is looked at as any file is, under its own name."""
    header = b"QFI\xfb\0\0\0\3" + (1 << 20).to_bytes(8) + bytes(496)
    with pytest.raises(UnsafeDiskError, match=r"disk\.raw "):
        read(gzip.compress(header), spool)


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_bombs_are_cut(
    spool: Spool, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By what takes space out of how little, in little memory; the space is free again."""
    monkeypatch.setattr(unpacking, "_FREE_STORED", 32 * MIB)
    monkeypatch.setattr(unpacking, "_MOST_RATIO", 10)
    packed = COMPRESSORS[kind](b"A" * (64 * MIB)) * 4
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DiskBombError, match="unpacks to more than 33554432 that are not zero"):
        read(packed, spool)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_zeros_are_no_bomb(spool: Spool, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new disk is nothing else, and takes no space; what is not zero counts all the same."""
    monkeypatch.setattr(unpacking, "_FREE_STORED", MIB)
    monkeypatch.setattr(unpacking, "_MOST_RATIO", 10)
    disk = CONTENT + bytes(64 * MIB - len(CONTENT))
    assert read(COMPRESSORS[kind](disk) * 2, spool) == disk * 2


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_zeros_without_end_are_cut(
    spool: Spool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the time that they take, unless they are read from much; or where no disk is as large."""
    packed = COMPRESSORS[kind](bytes(64 * MIB)) * 100
    with monkeypatch.context() as patch:
        patch.setattr(unpacking, "MAX_DISK_SIZE", 100 * MIB)
        with pytest.raises(DiskBombError, match="unpacks to more than"):
            read(packed, spool)
    monkeypatch.setattr(unpacking, "_FREE_SECONDS", 0.05)
    monkeypatch.setattr(unpacking, "_SECONDS_PER_MIB", 0)
    with pytest.raises(DiskBombError, match=r"too slowly: after 0 s, \d+ of its"):
        read(packed, spool)
    monkeypatch.setattr(unpacking, "_SECONDS_PER_MIB", 60)
    data = random_bytes(9 * MIB, seed=3)
    assert read(COMPRESSORS[kind](data), spool) == padded(data)


def test_a_zstd_window_is_bounded(spool: Spool) -> None:
    """A frame may ask for terabytes; what zstd makes at its highest levels passes."""
    with pytest.raises(UnsupportedDiskError, match="has a window of more than 128 MiB") as caught:
        read(b"\x28\xb5\x2f\xfd\x00\xff" + b"\xff" * 4000, spool)
    assert "`zstd --long=27`" in caught.value.remedy
    for window in (27, 28):
        parameters = zstandard.ZstdCompressionParameters.from_level(
            3, window_log=window, enable_ldm=True
        )
        compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        packed = compressor.compress(CONTENT) + compressor.flush()
        if window == 27:
            assert read(packed, spool) == padded(CONTENT)
        else:
            with pytest.raises(UnsupportedDiskError, match="window"):
                read(packed, spool)


def test_the_memory_for_xz_is_bounded(spool: Spool) -> None:
    """A dictionary may have 4 GiB; what xz makes at its highest level passes."""
    for size in (64 * MIB, 1 << 30):
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": size}]
        packed = lzma.compress(CONTENT, filters=filters)
        if size == 64 * MIB:
            assert read(packed, spool) == padded(CONTENT)
        else:
            with pytest.raises(UnsupportedDiskError, match="more than 256 MiB of mem") as caught:
                read(packed, spool)
            assert "`xz -9`" in caught.value.remedy


def test_zeros_take_no_space_and_all_space_comes_back(tmp_path: Path) -> None:
    """A gigabyte of zeros fits into a small spool; two files share its bound."""
    small = Spool(tmp_path / "spool", most_bytes=MIB)
    assert read(gzip.compress(bytes(64 * MIB)), small) == bytes(64 * MIB)
    data = random_bytes(MIB - 1000, seed=1)
    for _ in range(3):
        assert read(gzip.compress(data), small) == padded(data)
    with small.open_file("a") as first, small.open_file("b") as second:
        first.write(data)
        with pytest.raises(SpoolFullError, match="no room to unpack b") as caught:
            second.write(data)
        assert "spool_size" in caught.value.remedy
    with pytest.raises(SpoolFullError):
        read(gzip.compress(random_bytes(2 * MIB, seed=1)), small)
    assert list((tmp_path / "spool").iterdir()) == []
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700


def test_a_closed_spool_ends_unpacking(spool: Spool) -> None:
    """So that a server can stop in the middle of a long one."""
    spool.close()
    with pytest.raises(SpoolClosedError):
        read(gzip.compress(CONTENT), spool)


def test_unpacking_can_be_stopped(spool: Spool, tmp_path: Path) -> None:
    """Between any two pieces; also while nothing but zeros comes."""
    calls = 0

    def check_alive() -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise ZeroDivisionError

    file = MemoryFile(gzip.compress(bytes(64 * MIB)))
    with (
        pytest.raises(ZeroDivisionError),
        open_disk(file, readers=1, spool=spool, check_alive=check_alive),
    ):
        pass
    assert calls == 4
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT])
def test_a_file_system_without_nameless_files_will_do(
    spool: Spool, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The name is gone before anything is written, so a crash leaves nothing."""
    real_open = os.open

    def open_without(path: str, flags: int, mode: int = 0o777, **more: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(code, os.strerror(code))
        return real_open(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", open_without)
    assert read(gzip.compress(CONTENT), spool) == padded(CONTENT)
    with spool.open_file("a") as first, spool.open_file("b") as second:
        assert list((tmp_path / "spool").iterdir()) == []
        first.write(b"first")
        second.write(b"second")
        assert first.finish().read_at(0, 10) == b"first"
        assert second.finish().read_at(0, 10) == b"second"


def test_what_a_crash_left_under_a_name_is_removed(spool: Spool, tmp_path: Path) -> None:
    """When the folder is first used; nothing else is touched, and nothing of this server's."""
    folder = tmp_path / "spool"
    folder.mkdir()
    for name in ("unpacking-1", ".nfs00000001", ".fuse_hidden0001", "notes"):
        (folder / name).write_bytes(b"left")
    (folder / "unpacking-2").mkdir()  # what cannot be removed is in nobody's way
    assert read(gzip.compress(CONTENT), spool) == padded(CONTENT)
    assert sorted(each.name for each in folder.iterdir()) == ["notes", "unpacking-2"]
    (folder / ".nfs00000002").touch()
    assert read(gzip.compress(CONTENT), spool) == padded(CONTENT)
    assert (folder / ".nfs00000002").exists()


def test_a_disk_larger_than_the_file_system_allows_is_refused(spool: Spool) -> None:
    """ext4 has files of 16 TiB at most: an error of ours says so."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    packed = gzip.compress(bytes(8 * MIB))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, before[1]))
        with pytest.raises(SpoolUnusableError, match="File too large"):
            read(packed, spool)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", [0x50, 0x5F])
def test_a_skippable_frame_at_the_start_hides_nothing(spool: Spool, kind: int) -> None:
    """Parallel writers of zstd begin so (RFC 8878, 3.1.2)."""
    frame = bytes([kind, 0x2A, 0x4D, 0x18]) + (4).to_bytes(4, "little") + b"note"
    packed = COMPRESSORS["zst"](CONTENT)
    assert read(frame + packed, spool) == padded(CONTENT)
    assert read(packed + frame + packed, spool) == padded(CONTENT * 2)


def test_a_spool_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """An error of ours, for the operation to show."""
    (tmp_path / "file").touch()
    with pytest.raises(SpoolUnusableError, match="file/spool"):
        read(gzip.compress(CONTENT), Spool(tmp_path / "file" / "spool"))
