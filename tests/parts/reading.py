"""Disks read as the server reads them, in whole or in part."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from clouddesktop.disk.file import LocalFile
from clouddesktop.disk.reader import open_disk


def read_whole(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        with open_disk(LocalFile(fd), readers=1) as disk:
            whole = bytearray(disk.size)
            for extent in disk.iter_extents():
                disk.read_into(extent.offset, memoryview(whole)[extent.offset : extent.end])
            return bytes(whole)
    finally:
        os.close(fd)


def read_some(path: Path) -> None:
    """Read the first data of a disk that may claim to be of any size."""
    fd = os.open(path, os.O_RDONLY)
    try:
        with open_disk(LocalFile(fd), readers=1) as disk:
            for extent in islice(disk.iter_extents(), 100):
                disk.read_into(extent.offset, memoryview(bytearray(min(extent.length, 1 << 20))))
    finally:
        os.close(fd)
