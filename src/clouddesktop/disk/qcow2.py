"""Finds truncated qcow2 files, which QEMU reads as if zeros followed.

    header -> L1 table -> L2 tables -> clusters of data     (all offsets are the file's, big-endian)

Format: docs/interop/qcow2.txt of QEMU. Every table that the guest's disk needs is read, one at a
time, so memory is bounded by the L1 table (32 MiB, QEMU's limit) and one L2 table (2 MiB).
"""

from __future__ import annotations

import re
import struct
import zlib
from array import array
from dataclasses import dataclass

import zstandard

from clouddesktop.disk.errors import DamagedDiskError, UnsupportedDiskError
from clouddesktop.disk.file import DiskFile
from clouddesktop.disk.structure import contradiction, read_table, to_numbers, truncation

_HEADER = struct.Struct(">4sIQIIQIIQ")  # magic .. L1 table's offset
_HEADER_SIZE = 112
_INCOMPATIBLE = struct.Struct(">Q")  # at 72, from version 3 on
_CORRUPT = 1 << 1
_COMPRESSION_TYPE_FEATURE = 1 << 3
_EXTENDED_FEATURE = 1 << 4
_ZSTD = 1

_OFFSET_MASK = ((1 << 56) - 1) & ~511
_ZERO_FLAG = 1
_COMPRESSED_FLAG = 1 << 62
_COMPRESSED_TOP_BYTE = re.compile(rb"[\x40-\x7f\xc0-\xff]")
_ENTRY_SIZE = 8
_EXTENDED_ENTRY_SIZE = 16  # the entry, and a bit for each of 32 parts: there, or zero
_PARTS = 32
_ALLOCATED_PARTS = (1 << _PARTS) - 1
_SECTOR_SIZE = 512

_CLUSTER_BITS = range(9, 22)
_MAX_L1_SIZE = 32 << 20
_MAX_TABLES_SIZE = 4 << 30
"""Bytes of L2 tables that are looked through: enough for 32 TiB in clusters of 64 KiB."""
_MAX_TAILS = 4096
"""Compressed clusters that may share the file's last sector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    name: str
    file_size: int
    disk_size: int
    cluster_bits: int
    l1_entries: int
    l1_offset: int
    is_zstd: bool
    has_zero_flag: bool
    is_extended: bool

    @property
    def cluster_size(self) -> int:
        return 1 << self.cluster_bits

    @property
    def guest_bytes_per_table(self) -> int:
        entry_size = _EXTENDED_ENTRY_SIZE if self.is_extended else _ENTRY_SIZE
        return self.cluster_size // entry_size * self.cluster_size


def check_qcow2(file: DiskFile) -> int:
    """Check that a qcow2 file holds all that its disk needs; give that disk's size in bytes.

    Raises:
        DamagedDiskError: the file ends before its tables or clusters do, or is marked as corrupt.
        UnsupportedDiskError: it is encrypted, or its tables are larger than can be looked through.
    """
    layout = _read_layout(file)
    checker = _Checker(file, layout)
    tables_size = 0
    for index, entry in enumerate(_read_l1(file, layout)):
        offset = entry & _OFFSET_MASK
        if offset:
            tables_size += layout.cluster_size
            if tables_size > layout.file_size:
                raise contradiction(file, "its tables share the same bytes")
            if tables_size > _MAX_TABLES_SIZE:
                raise UnsupportedDiskError(
                    f"The disk {layout.name} has more than {_MAX_TABLES_SIZE >> 30} GiB of tables.",
                    remedy="Convert it to larger clusters with "
                    "`qemu-img convert -O qcow2 -o cluster_size=2M OLD NEW` and copy that.",
                    facts={"file": layout.name},
                )
            checker.check_table(offset, guest_offset=index * layout.guest_bytes_per_table)
    return layout.disk_size


def _read_layout(file: DiskFile) -> _Layout:
    name = file.name
    raw = file.read_at(0, _HEADER_SIZE).ljust(_HEADER_SIZE, b"\0")
    _, version, _, _, bits, disk_size, encryption, l1_entries, l1_offset = _HEADER.unpack_from(raw)
    features = _INCOMPATIBLE.unpack_from(raw, 72)[0] if version > 2 else 0  # noqa: PLR2004  (its version)
    if encryption:
        raise UnsupportedDiskError(
            f"The disk {name} is encrypted, which is not served yet.",
            remedy="Decrypt it while converting it with `qemu-img convert`, and copy that.",
            facts={"file": name},
        )
    if features & _CORRUPT:
        raise DamagedDiskError(
            f"The disk {name} is marked as corrupt.",
            remedy="Repair it with `qemu-img check -r all` and copy it again.",
            facts={"file": name},
        )
    if bits not in _CLUSTER_BITS or l1_entries * _ENTRY_SIZE > _MAX_L1_SIZE:
        raise contradiction(file, "its header holds impossible values")
    layout = _Layout(
        name=name,
        file_size=file.size,
        disk_size=disk_size,
        cluster_bits=bits,
        l1_entries=l1_entries,
        l1_offset=l1_offset,
        is_zstd=bool(features & _COMPRESSION_TYPE_FEATURE) and raw[104] == _ZSTD,
        has_zero_flag=version > 2 and not features & _EXTENDED_FEATURE,  # noqa: PLR2004  (its version)
        is_extended=bool(features & _EXTENDED_FEATURE),
    )
    if l1_entries * layout.guest_bytes_per_table < disk_size:
        raise contradiction(file, "its first table is too small for its disk")
    return layout


def _read_l1(file: DiskFile, layout: _Layout) -> array[int]:
    needed = -(-layout.disk_size // layout.guest_bytes_per_table)
    table = _read_table(file, layout, layout.l1_offset, needed * _ENTRY_SIZE)
    return to_numbers(table, "Q", order="big")


def _read_table(file: DiskFile, layout: _Layout, offset: int, size: int) -> bytearray:
    table = read_table(file, offset, size)
    if offset % layout.cluster_size:
        raise contradiction(file, "a table lies at an impossible place")
    return table


def _split(table: bytearray) -> tuple[bytearray, array[int]]:
    """Take the entries of an extended table apart from their bits."""
    numbers = array("Q")
    numbers.frombytes(table)
    bits = to_numbers(bytearray(numbers[1::2].tobytes()), "Q", order="big")
    return bytearray(numbers[::2].tobytes()), bits


class _Checker:
    """Looks through L2 tables."""

    def __init__(self, file: DiskFile, layout: _Layout) -> None:
        self._file = file
        self._layout = layout
        self._empty = bytes(layout.cluster_size)
        self._data_size = 0
        self._tails: set[int] = set()

    def check_table(self, offset: int, *, guest_offset: int) -> None:
        """Check one table, whose first entry stands for the guest's `guest_offset`.

        What can be said of the table as a whole is said by C code: a Python loop over all entries
        of a full disk of 1 TiB would take seconds.
        """
        layout = self._layout
        table = _read_table(self._file, layout, offset, layout.cluster_size)
        if table == self._empty:
            return
        bits = None
        if layout.is_extended:
            table, bits = _split(table)
        top_bytes = table[::_ENTRY_SIZE]
        if _COMPRESSED_TOP_BYTE.search(top_bytes) is None:
            lower = bytearray(table)
            lower[::_ENTRY_SIZE] = bytes(len(top_bytes))
            entries = to_numbers(lower, "Q", order="big")
            if (max(entries) & _OFFSET_MASK) + layout.cluster_size <= layout.file_size:
                self._count(len(entries) - entries.count(0) - entries.count(_ZERO_FLAG))
                return
        self._check_entries(to_numbers(table, "Q", order="big"), bits, guest_offset)

    def _check_entries(
        self, entries: array[int], bits: array[int] | None, guest_offset: int
    ) -> None:
        layout = self._layout
        for index, entry in enumerate(entries):
            if guest_offset >= layout.disk_size:
                return
            if entry & _COMPRESSED_FLAG:
                self._check_compressed(entry)
            elif entry & _OFFSET_MASK and not (layout.has_zero_flag and entry & _ZERO_FLAG):
                # Writers leave out what the last cluster has past the end of the disk.
                length = min(layout.cluster_size, layout.disk_size - guest_offset)
                if bits is not None:  # and the parts behind the last that was written
                    parts = (bits[index] & _ALLOCATED_PARTS).bit_length()
                    length = min(length, parts * layout.cluster_size // _PARTS)
                self._check_plain(entry & _OFFSET_MASK, length)
            guest_offset += layout.cluster_size

    def _check_plain(self, offset: int, length: int) -> None:
        if offset + length > self._layout.file_size:
            raise truncation(self._file, needed_size=offset + length)
        self._count(1)

    def _count(self, clusters: int) -> None:
        """Add clusters of data that are not compressed, each of which has bytes of its own.

        A small file could else stand for a disk of 64 TiB full of the same cluster.
        """
        self._data_size += clusters * self._layout.cluster_size
        if self._data_size > self._layout.file_size + self._layout.cluster_size:
            raise contradiction(self._file, "its clusters share the same bytes")

    def _check_compressed(self, entry: int) -> None:
        layout = self._layout
        offset_bits = 62 - (layout.cluster_bits - 8)
        offset = entry & ((1 << offset_bits) - 1)
        sectors = 1 + ((entry & (_COMPRESSED_FLAG - 1)) >> offset_bits)
        end = offset // _SECTOR_SIZE * _SECTOR_SIZE + sectors * _SECTOR_SIZE
        if end <= layout.file_size:
            return
        if offset >= layout.file_size or end - layout.file_size >= _SECTOR_SIZE:
            raise truncation(self._file, needed_size=end)
        # The length is known in sectors only, and writers end the file where the data ends. Deflate
        # has no checksum here: only unpacking shows whether all is there.
        if offset in self._tails:
            return
        self._tails.add(offset)
        if len(self._tails) > _MAX_TAILS or not self._unpacks(offset, end - offset):
            raise truncation(self._file, needed_size=end)

    def _unpacks(self, offset: int, size: int) -> bool:
        layout = self._layout
        packed = self._file.read_at(offset, size)
        try:
            if layout.is_zstd:
                with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
                    plain = reader.read(layout.cluster_size)
            else:
                unpacker = zlib.decompressobj(wbits=-12)  # qcow2 fixes a window of 4 KiB, no header
                plain = unpacker.decompress(packed, layout.cluster_size)
        except (zlib.error, zstandard.ZstdError):
            return False
        return len(plain) == layout.cluster_size
