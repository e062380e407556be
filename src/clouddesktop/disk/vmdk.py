"""Checks VMDK files of one extent: monolithicSparse and streamOptimized.

    header (sector 0) -> descriptor (text) ; grain directory -> grain tables -> grains
    streamOptimized: compressed grains behind markers; the header that counts is at the end

Format: "Virtual Disk Format 5.0" of VMware, "Hosted Sparse Extent". Numbers are little-endian,
places and sizes sectors of 512 bytes.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from clouddesktop.disk.errors import UnsafeDiskError
from clouddesktop.disk.file import DiskFile
from clouddesktop.disk.structure import (
    CONVERT,
    FLATTEN,
    contradiction,
    read_table,
    to_numbers,
    truncation,
    unsupported,
)

MAGIC = b"KDMV"

_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH")  # magic .. algorithm of compression
_HEADER_SIZE = 512
_FOOTER_PLACE = 1024  # from the end
_AT_END = 0xFFFFFFFFFFFFFFFF
_ZERO_GRAINS, _COMPRESSED, _MARKERS = 1 << 2, 1 << 16, 1 << 17
_DEFLATE = 1
_LINE_ENDS = b"\n \r\n"  # what shows a transfer that "corrects" text
_MARKER = struct.Struct("<QI")  # first sector, size of the data that follows
_SECTOR_SIZE = 512
_MOST_DESCRIPTOR_SIZE = 1 << 20
_MOST_TABLE_ENTRIES = 512
_MOST_DIRECTORY_SIZE = 32 << 20
_GRAIN_SECTORS = range(1, 0x8000)
"""Up to 16 MiB; the specification allows powers of two from 8 sectors on, and QEMU what is here."""

_EXTENT = re.compile(r'(rw|rdonly) \d+ sparse "[^"/\\]+"\s*')
_ORPHAN = re.compile(r"parentcid\s*=\s*ffffffff\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    disk_size: int
    flags: int
    grain_size: int
    table_entries: int
    directory: int  # in bytes

    @property
    def disk_bytes_per_table(self) -> int:
        return self.table_entries * self.grain_size


def check_vmdk(file: DiskFile) -> int:
    """Check that a VMDK file holds all that its disk needs; give that disk's size in bytes.

    Raises:
        UnsafeDiskError: its descriptor names other files.
        DamagedDiskError: it ends before its tables or grains do, or contradicts itself.
        UnsupportedDiskError: it is encrypted, or its tables are larger than can be looked through.
    """
    layout = _read_layout(file)
    tables = -(-layout.disk_size // layout.disk_bytes_per_table)
    if 4 * tables > _MOST_DIRECTORY_SIZE:
        raise unsupported(file, "has too many tables", remedy=CONVERT)
    directory = to_numbers(read_table(file, layout.directory, 4 * tables), "I", order="little")
    checker = _GrainChecker(file, layout)
    for index, sector in enumerate(directory):
        if sector:
            first = index * layout.disk_bytes_per_table
            grains = min(layout.table_entries, -(-(layout.disk_size - first) // layout.grain_size))
            checker.check_table(sector * _SECTOR_SIZE, grains=grains, disk_offset=first)
    checker.check_last()
    return layout.disk_size


def _read_layout(file: DiskFile) -> _Layout:
    header = bytes(read_table(file, 0, _HEADER_SIZE))
    first = _HEADER.unpack_from(header)
    _check_descriptor(file, offset=first[5] * _SECTOR_SIZE, size=first[6] * _SECTOR_SIZE)
    if first[9] == _AT_END:
        header = bytes(read_table(file, max(0, file.size - _FOOTER_PLACE), _HEADER_SIZE))
    (magic, _, flags, capacity, grain, _, _, entries, _, directory, _, _, ends, packing) = (
        _HEADER.unpack_from(header)
    )
    if magic != MAGIC or ends != _LINE_ENDS:
        raise contradiction(file, "its header is not as it was written, or it is truncated")
    if flags & _COMPRESSED and packing != _DEFLATE:
        raise unsupported(file, "is a VMDK file of an unknown compression", remedy=CONVERT)
    if (
        capacity == 0  # QEMU would take the descriptor's word for where the data lie
        or grain not in _GRAIN_SECTORS
        or grain & (grain - 1)
        or not 0 < entries <= _MOST_TABLE_ENTRIES
        or capacity > 1 << 54
    ):
        raise contradiction(file, "its header holds impossible values")
    return _Layout(
        disk_size=capacity * _SECTOR_SIZE,
        flags=flags,
        grain_size=grain * _SECTOR_SIZE,
        table_entries=entries,
        directory=directory * _SECTOR_SIZE,
    )


def _check_descriptor(file: DiskFile, *, offset: int, size: int) -> None:
    """Let nothing pass that makes other files a part of the disk; see CVE-2022-47951."""
    if not 0 < size <= _MOST_DESCRIPTOR_SIZE:
        raise _unsafe(file, "its descriptor is missing or too long")
    text = bytes(read_table(file, offset, size)).partition(b"\0")[0].decode("latin-1").lower()
    lines = [line.strip() for line in text.splitlines()]
    extents = [line for line in lines if re.match(r"(rw|rdonly|noaccess)\b", line)]
    if len(extents) != 1 or not _EXTENT.fullmatch(extents[0]):
        raise _unsafe(file, "its descriptor names other files")
    parents = [line for line in lines if line.startswith("parentcid")]
    if "parentfilenamehint" in text or not all(map(_ORPHAN.fullmatch, parents)):
        raise _unsafe(file, "it depends on another file")
    if any(line.startswith("encryption") for line in lines):
        raise unsupported(
            file, "is encrypted", remedy="Decrypt it with the program that made it, and copy that."
        )


class _GrainChecker:
    """Looks through grain tables, one at a time."""

    def __init__(self, file: DiskFile, layout: _Layout) -> None:
        self._file = file
        self._layout = layout
        self._tables_size = 0
        self._grains = 0
        self._last = 0  # the byte where the last grain of the file begins

    def check_table(self, offset: int, *, grains: int, disk_offset: int) -> None:
        """Check the grains of one table, the first of which is at the disk's `disk_offset`."""
        layout = self._layout
        self._tables_size += 4 * layout.table_entries
        if self._tables_size > self._file.size:
            raise contradiction(self._file, "its tables share the same bytes")
        table = read_table(self._file, offset, 4 * layout.table_entries)
        sectors = to_numbers(table, "I", order="little")[:grains]
        unused = sectors.count(0)
        if layout.flags & _ZERO_GRAINS:
            unused += sectors.count(1)
        if unused == len(sectors):
            return
        self._grains += len(sectors) - unused
        if layout.flags & _COMPRESSED:
            self._last = max(self._last, max(sectors) * _SECTOR_SIZE)
            self._check_end(self._last + _MARKER.size)
            return
        for index, sector in enumerate(sectors):
            if sector > (1 if layout.flags & _ZERO_GRAINS else 0):
                rest = layout.disk_size - disk_offset - index * layout.grain_size
                self._check_end(sector * _SECTOR_SIZE + min(layout.grain_size, rest))

    def check_last(self) -> None:
        """Check what the tables do not tell: the end of the last compressed grain, and sharing."""
        if self._last and self._layout.flags & _MARKERS:
            _, size = _MARKER.unpack(read_table(self._file, self._last, _MARKER.size))
            self._check_end(self._last + _MARKER.size + size)
        least = _SECTOR_SIZE if self._layout.flags & _COMPRESSED else self._layout.grain_size
        if self._grains * least > self._file.size + self._layout.grain_size:
            raise contradiction(self._file, "its grains share the same bytes")

    def _check_end(self, end: int) -> None:
        if end > self._file.size:
            raise truncation(self._file, needed_size=end)


def _unsafe(file: DiskFile, what: str) -> UnsafeDiskError:
    return UnsafeDiskError(
        f"The disk {file.name} is unsafe to read: {what}.",
        remedy=FLATTEN,
        facts={"file": file.name, "format": "vmdk", "checks": "descriptor"},
    )
