"""Checks VHD files, the format of Virtual PC and early Hyper-V.

    fixed     the disk's bytes, then the footer (512 bytes)
    dynamic   copy of the footer -> dynamic header (1 KiB) -> block table (u32 sectors) -> blocks,
              each a bitmap of whole sectors and the data; at the end the footer    all big-endian

Format: "Virtual Hard Disk Image Format Specification" 1.0 of Microsoft.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from clouddesktop.disk.file import DiskFile
from clouddesktop.disk.structure import (
    FLATTEN,
    contradiction,
    read_table,
    to_numbers,
    truncation,
    unsupported,
)

COOKIE = b"conectix"
FOOTER_SIZE = 512

_FOOTER = struct.Struct(">8sIIQI4sIIQQHBBII")  # cookie .. checksum
_CHECKSUM = slice(64, 68)
_DYNAMIC_HEADER = struct.Struct(">8sQQIIII")  # cookie, next, table, version, entries, block, sum
_DYNAMIC_HEADER_SIZE = 1024
_DYNAMIC_CHECKSUM = slice(36, 40)
_DYNAMIC_COOKIE = b"cxsparse"
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_SECTOR_SIZE = 512
_UNUSED = 0xFFFFFFFF
_MOST_SIZE = 2040 << 30
"""Bytes of a disk, by the specification."""

_MOST_GEOMETRY = 65535 * 16 * 255 * _SECTOR_SIZE
"""What the geometry of all larger disks says: it stands for no size."""

_BY_GEOMETRY = b"vpc "
"""Virtual PC alone shows its guests the geometry's size; all others the exact one, which may be
larger: QEMU would cut those off that it does not know by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VhdLayout:
    """A VHD that was found whole; `disk_size` is what a guest sees, in bytes.

    `size_rule` is QEMU's word for where that size comes from.
    """

    disk_size: int
    is_fixed: bool
    size_rule: str


def is_fixed_vhd(file: DiskFile) -> bool:
    """Tell whether a file without any header at its start ends with the footer of a VHD."""
    return file.read_at(max(0, file.size - FOOTER_SIZE), FOOTER_SIZE).startswith(COOKIE)


def check_vhd(file: DiskFile) -> VhdLayout:
    """Check that a VHD file holds all that its disk needs.

    Raises:
        DamagedDiskError: it ends before its table or blocks do, or contradicts itself.
        UnsupportedDiskError: it is the difference to another file.
    """
    is_dynamic = file.read_at(0, len(COOKIE)) == COOKIE
    if file.size < FOOTER_SIZE:
        raise truncation(file, needed_size=FOOTER_SIZE)
    footer = bytes(read_table(file, 0 if is_dynamic else file.size - FOOTER_SIZE, FOOTER_SIZE))
    _, _, _, header_offset, _, creator, _, _, _, exact_size, *rest = _FOOTER.unpack_from(footer)
    cylinders, heads, sectors, kind, checksum = rest
    if checksum != _sum_of(footer, _CHECKSUM):
        raise contradiction(file, "its footer does not have the checksum that it was written with")
    if kind == _DIFFERENCING:
        raise unsupported(file, "is a VHD file that depends on another file", remedy=FLATTEN)
    if kind != (_DYNAMIC if is_dynamic else _FIXED):
        raise contradiction(file, "its footer is of another kind than the file")
    by_geometry = cylinders * heads * sectors * _SECTOR_SIZE
    is_by_geometry = creator == _BY_GEOMETRY and by_geometry != _MOST_GEOMETRY
    disk_size = by_geometry if is_by_geometry else exact_size
    disk_size = disk_size // _SECTOR_SIZE * _SECTOR_SIZE
    if disk_size > _MOST_SIZE:
        raise contradiction(file, "its footer holds impossible values")
    if is_dynamic:
        _check_dynamic(file, header_offset=header_offset, disk_size=disk_size)
    elif disk_size > file.size - FOOTER_SIZE:
        raise truncation(file, needed_size=disk_size + FOOTER_SIZE)
    return VhdLayout(
        disk_size=disk_size,
        is_fixed=not is_dynamic,
        size_rule="chs" if is_by_geometry else "current_size",
    )


def _check_dynamic(file: DiskFile, *, header_offset: int, disk_size: int) -> None:
    if header_offset % _SECTOR_SIZE or header_offset < FOOTER_SIZE:
        raise contradiction(file, "its header lies at an impossible place")
    header = bytes(read_table(file, header_offset, _DYNAMIC_HEADER_SIZE))
    cookie, _, table, _, entries, block_size, checksum = _DYNAMIC_HEADER.unpack_from(header)
    if cookie != _DYNAMIC_COOKIE or checksum != _sum_of(header, _DYNAMIC_CHECKSUM):
        raise contradiction(file, "its header is not as it was written")
    if block_size < _SECTOR_SIZE or block_size & (block_size - 1) or table % _SECTOR_SIZE:
        raise contradiction(file, "its header holds impossible values")
    needed = -(-disk_size // block_size)
    if entries < needed:
        raise contradiction(file, "its table is too small for its disk")
    bitmap_size = -(-block_size // _SECTOR_SIZE // 8 // _SECTOR_SIZE) * _SECTOR_SIZE
    numbers = to_numbers(read_table(file, table, 4 * needed), "I", order="big")
    used = sorted((entry, index) for index, entry in enumerate(numbers) if entry != _UNUSED)
    after = header_offset + _DYNAMIC_HEADER_SIZE
    for entry, index in used:
        start = entry * _SECTOR_SIZE
        if start < after:
            raise contradiction(file, "its blocks lie over each other or over its header")
        length = min(block_size, disk_size - index * block_size)
        if start + bitmap_size + length > file.size:
            raise truncation(file, needed_size=start + bitmap_size + length)
        after = start + bitmap_size + length


def _sum_of(structure: bytes, checksum: slice) -> int:
    """Give the complement of the sum of all bytes but the checksum's own."""
    return ~(sum(structure) - sum(structure[checksum])) & 0xFFFFFFFF
