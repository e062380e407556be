"""Checks VHDX files, the format of Hyper-V.

    "vhdxfile", two headers, two region tables (192 and 256 KiB)
        -> metadata table -> sizes
        -> block table (u64: state in 3 bits, place in MiB from bit 20 on) -> blocks

Format: [MS-VHDX] of Microsoft. All little-endian.
"""

from __future__ import annotations

import struct
import uuid
from array import array
from dataclasses import dataclass

from clouddesktop.disk.file import DiskFile
from clouddesktop.disk.structure import (
    CONVERT,
    FLATTEN,
    check_disk_size,
    contradiction,
    iter_table,
    read_table,
    truncation,
    unsupported,
)

_REGION_TABLES = (192 << 10, 256 << 10)
_REGION_TABLE_SIZE = 64 << 10
_REGION_HEAD = struct.Struct("<4sIII")  # signature, checksum, entries, reserved
_REGION = struct.Struct("<16sQII")  # kind, offset, size, required
_METADATA_SIZE = 64 << 10
_METADATA_HEAD = struct.Struct("<8sHH")  # signature, reserved, entries
_METADATA_ITEM = struct.Struct("<16sIIII")  # kind, offset, size, flags, reserved
_METADATA_FIRST = 32
_MOST_ENTRIES = 2047
_ITEM_SIZES = (4, 8)

_BLOCK_TABLE = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
_METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
_FILE_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
_DISK_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
_LOGICAL_SECTOR_SIZE = uuid.UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
_KNOWN_ITEMS = frozenset(
    {
        _FILE_PARAMETERS,
        _DISK_SIZE,
        _LOGICAL_SECTOR_SIZE,
        uuid.UUID("cda348c7-445d-4471-9cc9-e9885251c556"),  # physical sector size
        uuid.UUID("beca12ab-b2e6-4523-93ef-c309e000c746"),  # page 83 data
    }
)
_HAS_PARENT = 1 << 1
_REQUIRED_ITEM = 1 << 2

_MIB = 1 << 20
_BLOCK_SIZES = range(_MIB, (256 << 20) + 1)
_SECTORS_PER_BITMAP = 1 << 23
_STATE = 7
_PRESENT, _PARTLY_PRESENT = 6, 7
_PLACE = ~(_MIB - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    disk: int
    block: int
    sector: int

    @property
    def blocks_per_bitmap(self) -> int:
        """After so many blocks the table has an entry for their bitmap."""
        return _SECTORS_PER_BITMAP * self.sector // self.block


def check_vhdx(file: DiskFile) -> int:
    """Check that a VHDX file holds all that its disk needs; give that disk's size in bytes.

    Whether its log is empty is seen by QEMU, which reads no disk whose log has to be replayed.

    Raises:
        DamagedDiskError: it ends before its tables or blocks do, or contradicts itself.
        UnsupportedDiskError: it is the difference to another file, or uses unknown features.
    """
    regions = _read_regions(file)
    sizes = _read_sizes(file, regions[_METADATA][0])
    check_disk_size(file, sizes.disk)
    offset, size = regions[_BLOCK_TABLE]
    blocks = -(-sizes.disk // sizes.block)
    entries = blocks + max(blocks - 1, 0) // sizes.blocks_per_bitmap
    if 8 * entries > size:
        raise contradiction(file, "its table is too small for its disk")
    seen = bytearray(file.size // _MIB + 1)
    for first, table in iter_table(file, offset, entries, "Q"):
        if max(table):
            _check_blocks(file, table, first, sizes, seen)
    return sizes.disk


def _check_blocks(
    file: DiskFile, table: array[int], first: int, sizes: _Sizes, seen: bytearray
) -> None:
    step = sizes.blocks_per_bitmap + 1
    for index, entry in enumerate(table, first):
        state = entry & _STATE
        if (index + 1) % step == 0 or state not in (_PRESENT, _PARTLY_PRESENT):
            continue
        if state == _PARTLY_PRESENT:
            raise unsupported(file, "is a VHDX file that depends on another file", remedy=FLATTEN)
        block = index - index // step
        length = min(sizes.block, sizes.disk - block * sizes.block)
        place = entry & _PLACE
        if place < _MIB:
            raise contradiction(file, "a block lies over its header")
        if place + length > file.size:
            raise truncation(file, needed_size=place + length)
        taken = slice(place // _MIB, -(-(place + length) // _MIB))
        if any(seen[taken]):
            raise contradiction(file, "its blocks share the same bytes")
        seen[taken] = b"\1" * (taken.stop - taken.start)


def _read_regions(file: DiskFile) -> dict[uuid.UUID, tuple[int, int]]:
    """Give offset and size of the two regions, from the first table that makes sense."""
    for place in _REGION_TABLES:
        table = read_table(file, place, _REGION_TABLE_SIZE)
        signature, _, count, _ = _REGION_HEAD.unpack_from(table)
        if signature != b"regi" or count > _MOST_ENTRIES:
            continue
        found: dict[uuid.UUID, tuple[int, int]] = {}
        for index in range(count):
            place_of_entry = _REGION_HEAD.size + index * _REGION.size
            kind, offset, size, required = _REGION.unpack_from(table, place_of_entry)
            name = uuid.UUID(bytes_le=kind)
            if name not in (_BLOCK_TABLE, _METADATA) and required & 1:
                raise unsupported(
                    file, "is a VHDX file with features that are not known", remedy=CONVERT
                )
            if name in found or offset < _MIB or offset % _MIB:
                raise contradiction(file, "a region lies at an impossible place")
            found[name] = (offset, size)
        if _BLOCK_TABLE in found and _METADATA in found:
            return found
    raise contradiction(file, "its region tables are not as they were written")


def _read_sizes(file: DiskFile, offset: int) -> _Sizes:
    table = read_table(file, offset, _METADATA_SIZE)
    signature, _, count = _METADATA_HEAD.unpack_from(table)
    if signature != b"metadata" or count > _MOST_ENTRIES:
        raise contradiction(file, "its metadata are not as they were written")
    values: dict[uuid.UUID, bytes] = {}
    for index in range(count):
        kind, place, size, flags, _ = _METADATA_ITEM.unpack_from(
            table, _METADATA_FIRST + index * _METADATA_ITEM.size
        )
        name = uuid.UUID(bytes_le=kind)
        if name in (_FILE_PARAMETERS, _DISK_SIZE, _LOGICAL_SECTOR_SIZE):
            if size not in _ITEM_SIZES or place < _METADATA_SIZE or place > _MIB - size:
                raise contradiction(file, "its metadata lie at an impossible place")
            values[name] = bytes(read_table(file, offset + place, size)).ljust(8, b"\0")
        elif name not in _KNOWN_ITEMS and flags & _REQUIRED_ITEM:
            raise unsupported(
                file, "is a VHDX file with features that are not known", remedy=FLATTEN
            )
    if len(values) != len((_FILE_PARAMETERS, _DISK_SIZE, _LOGICAL_SECTOR_SIZE)):
        raise contradiction(file, "its metadata are not complete")
    block_size, flags = struct.unpack("<II", values[_FILE_PARAMETERS])
    sizes = _Sizes(
        disk=int.from_bytes(values[_DISK_SIZE], "little"),
        block=block_size,
        sector=int.from_bytes(values[_LOGICAL_SECTOR_SIZE][:4], "little"),
    )
    if flags & _HAS_PARENT:
        raise unsupported(file, "is a VHDX file that depends on another file", remedy=FLATTEN)
    if (
        sizes.block not in _BLOCK_SIZES
        or sizes.block & (sizes.block - 1)
        or sizes.sector not in (512, 4096)
        or sizes.disk % sizes.sector
    ):
        raise contradiction(file, "its metadata hold impossible values")
    return sizes
