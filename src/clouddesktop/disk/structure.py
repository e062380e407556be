"""What the checks of all formats share: reading tables, and the words for what is wrong with one.

QEMU reads what a truncated file lacks as zeros, or fails in the middle of a copy. So each format
has a check that looks through its tables first: all that the guest's disk needs lies in the file.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from typing import Literal

from clouddesktop.disk.errors import DamagedDiskError, UnsupportedDiskError
from clouddesktop.disk.file import DiskFile

MAX_DISK_SIZE = 64 << 40
"""Bytes that a guest may see: the map of a sparse disk takes QEMU two seconds at this size."""

TABLE_PIECE = 1 << 20
"""Bytes of a block map that are looked through at a time."""


def check_disk_size(file: DiskFile, disk_size: int) -> None:
    """Refuse a disk that is too large to be looked through.

    Raises:
        UnsupportedDiskError: it is.
    """
    if disk_size > MAX_DISK_SIZE:
        raise UnsupportedDiskError(
            f"The disk {file.name} is of {disk_size} bytes, more than {MAX_DISK_SIZE >> 40} TiB.",
            remedy="Shrink it with `qemu-img resize --shrink`, and copy that.",
            facts={"file": file.name, "size": str(disk_size)},
        )


def iter_table(
    file: DiskFile, offset: int, count: int, kind: Literal["I", "Q"]
) -> Iterator[tuple[int, array[int]]]:
    """Read a map of little-endian numbers in pieces, each with the index of its first entry.

    Pieces in which all entries are one and the same are left out, but for the first of their kind:
    they map nothing, or the same block again and again, which the first one shows.
    """
    width = 4 if kind == "I" else 8
    step = TABLE_PIECE // width
    last_uniform: int | None = None
    for first in range(0, count, step):
        size = width * min(step, count - first)
        table = read_table(file, offset + width * first, size)
        if table == table[:width] * (size // width):
            number = int.from_bytes(table[:width], "little")
            if number == last_uniform:
                continue
            last_uniform = number
        yield first, to_numbers(table, kind, order="little")


def read_table(file: DiskFile, offset: int, size: int) -> bytearray:
    """Read a table whole.

    Raises:
        DamagedDiskError: the file ends before it does.
    """
    if offset + size > file.size:
        raise truncation(file, needed_size=offset + size)
    table = bytearray(size)
    file.read_into(offset, memoryview(table))
    return table


def to_numbers(
    table: bytearray, kind: Literal["I", "Q"], *, order: Literal["little", "big"]
) -> array[int]:
    """Take a table of unsigned numbers of 4 (`I`) or 8 (`Q`) bytes apart, in C."""
    numbers = array(kind)
    numbers.frombytes(table)
    if sys.byteorder != order:
        numbers.byteswap()
    return numbers


def truncation(file: DiskFile, *, needed_size: int) -> DamagedDiskError:
    """Say that the file ends before its content does, which reaches to `needed_size`."""
    return DamagedDiskError(
        f"The disk {file.name} is truncated: its content reaches to byte {needed_size} at least, "
        f"the file has {file.size}.",
        remedy="Copy or download the file again.",
        facts={"file": file.name, "size": str(file.size), "expected_size": str(needed_size)},
    )


def contradiction(file: DiskFile, what: str) -> DamagedDiskError:
    """Say that the file cannot be right, whatever its size."""
    return DamagedDiskError(
        f"The disk {file.name} is damaged: {what}.",
        remedy="Look at it with `qemu-img check`, or copy or download the file again.",
        facts={"file": file.name},
    )


def unsupported(file: DiskFile, what: str, *, remedy: str) -> UnsupportedDiskError:
    """Say that the file is sound, as far as is known, and of a kind that is not served."""
    return UnsupportedDiskError(
        f"The disk {file.name} {what}, which is not served.",
        remedy=remedy,
        facts={"file": file.name},
    )


CONVERT = "Convert it with `qemu-img convert -O qcow2 OLD NEW` and copy that."
FLATTEN = (
    "If you trust what it refers to, make one self-contained file of it with "
    "`qemu-img convert -O qcow2 OLD NEW` and copy that."
)
