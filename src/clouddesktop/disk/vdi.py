"""Checks VDI files, the format of VirtualBox.

    header (512 bytes) -> block map (u32 each) -> blocks of 1 MiB        all little-endian

Format: the header that VirtualBox publishes as VDICore.h, as block/vdi.c of QEMU reads it.
"""

from __future__ import annotations

import struct

from clouddesktop.disk.file import DiskFile
from clouddesktop.disk.structure import (
    FLATTEN,
    check_disk_size,
    contradiction,
    iter_table,
    read_table,
    truncation,
    unsupported,
)

_HEADER_SIZE = 512
_FIELDS = struct.Struct("<III")  # at 0x44: version, header's size, kind
_PLACES = struct.Struct("<II")  # at 0x154: offsets of the map and of the data
_SIZES = struct.Struct("<QIIII")  # at 0x170: disk, block, extra, blocks, blocks with data
_PARENTS = slice(0x1A8, 0x1C8)
_VERSION = 0x00010001
_DYNAMIC, _STATIC = 1, 2
_BLOCK_SIZE = 1 << 20
_SECTOR_SIZE = 512
_FIRST_SPECIAL = 0xFFFFFFFE
"""Map entries from here on stand for no block: discarded, and never written."""


def check_vdi(file: DiskFile) -> int:
    """Check that a VDI file holds all that its disk needs; give that disk's size in bytes.

    Raises:
        DamagedDiskError: it ends before its map or blocks do, or its header contradicts itself.
        UnsupportedDiskError: it is the difference to another file, or of an unknown version.
    """
    header = bytes(read_table(file, 0, _HEADER_SIZE))
    version, _, kind = _FIELDS.unpack_from(header, 0x44)
    map_offset, data_offset = _PLACES.unpack_from(header, 0x154)
    disk_size, block_size, _, blocks, _ = _SIZES.unpack_from(header, 0x170)
    if any(header[_PARENTS]) or kind not in (_DYNAMIC, _STATIC):
        raise unsupported(file, "is a VDI file that depends on another file", remedy=FLATTEN)
    if version != _VERSION:
        raise unsupported(file, "is a VDI file of an unknown version", remedy=FLATTEN)
    if (
        block_size != _BLOCK_SIZE
        or map_offset % _SECTOR_SIZE
        or data_offset % _SECTOR_SIZE
        or map_offset < _HEADER_SIZE
        or not 0 <= disk_size <= blocks * _BLOCK_SIZE < disk_size + 2 * _BLOCK_SIZE
    ):
        raise contradiction(file, "its header holds impossible values")
    if data_offset < map_offset + 4 * blocks:
        raise contradiction(file, "its blocks lie over its map")
    check_disk_size(file, disk_size)
    _check_map(file, map_offset=map_offset, data_offset=data_offset, disk_size=disk_size)
    return int(disk_size)


def _check_map(file: DiskFile, *, map_offset: int, data_offset: int, disk_size: int) -> None:
    needed = -(-disk_size // _BLOCK_SIZE)
    seen = bytearray(max(0, file.size - data_offset) // _BLOCK_SIZE + 1)
    for first, entries in iter_table(file, map_offset, needed, "I"):
        if min(entries) >= _FIRST_SPECIAL:
            continue
        for index, entry in enumerate(entries, first):
            if entry >= _FIRST_SPECIAL:
                continue
            # The disk may end within its last block, and so may the file.
            length = min(_BLOCK_SIZE, disk_size - index * _BLOCK_SIZE)
            end = data_offset + entry * _BLOCK_SIZE + length
            if end > file.size:
                raise truncation(file, needed_size=end)
            if seen[entry]:
                raise contradiction(file, "its blocks share the same bytes")
            seen[entry] = 1
