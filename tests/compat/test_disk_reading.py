"""What open_disk reads is what qemu-img reads, whatever the format and its options."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from clouddesktop.disk.errors import UnsupportedDiskError
from clouddesktop.disk.file import LocalFile
from clouddesktop.disk.reader import open_disk
from clouddesktop.disk.structure import MAX_DISK_SIZE
from parts.disks import read_as_qemu
from strategies import (
    DiskLayout,
    QcowOptions,
    build_other,
    build_qcow2,
    build_raw,
    disk_layouts,
    other_formats,
    qcow_options,
)

pytestmark = pytest.mark.qemu


def check_reads_as_qemu(path: Path, *, disk_format: str) -> None:
    """Size, every byte, and a map that leaves out nothing but zeros."""
    expected = read_as_qemu(path, disk_format=disk_format, scratch=path.parent)
    fd = os.open(path, os.O_RDONLY)
    try:
        with open_disk(LocalFile(fd), readers=2) as disk:
            assert disk.size == len(expected)
            whole = bytearray(b"\xff" * disk.size)
            disk.read_into(0, memoryview(whole))
            assert whole == expected
            by_map = bytearray(disk.size)
            position = 0
            for extent in disk.iter_extents():
                assert position <= extent.offset < extent.end <= disk.size
                position = extent.end
                disk.read_into(extent.offset, memoryview(by_map)[extent.offset : extent.end])
            assert by_map == expected
    finally:
        os.close(fd)


def check_built(build: Callable[[Path], Path], *, disk_format: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_reads_as_qemu(build(Path(folder) / "disk"), disk_format=disk_format)


@given(layout=disk_layouts())
def test_raw_files_read_as_qemu_reads_them(layout: DiskLayout) -> None:
    """Holes, runs of zeros and unaligned tails of raw files."""
    check_built(lambda path: build_raw(path, layout), disk_format="raw")


@given(layout=disk_layouts(), options=qcow_options())
def test_qcow2_files_read_as_qemu_reads_them(layout: DiskLayout, options: QcowOptions) -> None:
    """Cluster sizes, compression, preallocation, versions, snapshots; none is taken for damaged."""
    check_built(lambda path: build_qcow2(path, layout, options), disk_format="qcow2")


@settings(max_examples=60)
@given(layout=disk_layouts().filter(lambda each: each.size > 0), form=other_formats())
def test_other_formats_read_as_qemu_reads_them(layout: DiskLayout, form: tuple[str, str]) -> None:
    """VMDK, VDI, VHD and VHDX, growing and of fixed size."""
    check_built(lambda path: build_other(path, layout, form), disk_format=form[0])


@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_a_disk_beyond_the_bound_is_refused_at_once(tmp_path: Path, disk_format: str) -> None:
    """A small file must not keep a worker busy with a map of an exbibyte."""
    if disk_format == "raw":
        # In memory: common file systems end below the bound.
        fd = os.memfd_create("huge")
        os.truncate(fd, MAX_DISK_SIZE + 512)
    else:
        path = tmp_path / "huge"
        options = ["-f", "qcow2", "-o", "cluster_size=2M", str(path), "65T"]
        subprocess.run(["qemu-img", "create", *options], check=True, capture_output=True)
        fd = os.open(path, os.O_RDONLY)
    try:
        with (
            pytest.raises(UnsupportedDiskError, match="64 TiB"),
            open_disk(LocalFile(fd), readers=1),
        ):
            pass
    finally:
        os.close(fd)
