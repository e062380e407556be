"""Raw files, read directly: the file system knows where the holes are."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from clouddesktop.disk.errors import DamagedDiskError, DiskShrankError, name_of
from clouddesktop.disk.gpt import find_gpt_disk_size
from clouddesktop.errors import UnavailableError
from clouddesktop.model.manifest import Extent

SECTOR_SIZE = 512


class RawDisk:
    """A raw file as a disk. Does not own the file descriptor. Thread-safe."""

    def __init__(self, fd: int) -> None:
        """Take over the size that the file has now.

        Raises:
            DamagedDiskError: the partition table describes a longer disk.
        """
        self._fd = fd
        self._name = name_of(fd)
        self._file_size = os.fstat(fd).st_size
        # QEMU shows a guest whole sectors, the rest of the last one as zeros.
        self._size = -(-self._file_size // SECTOR_SIZE) * SECTOR_SIZE
        with self._reading():
            _check_complete(fd, size=self._size, name=self._name)

    @property
    def size(self) -> int:
        return self._size

    def iter_extents(self) -> Iterator[Extent]:
        position = 0
        while position < self._file_size:
            with self._reading():
                try:
                    start = os.lseek(self._fd, position, os.SEEK_DATA)
                except OSError as error:
                    if error.errno == errno.ENXIO:  # no more data, or the file has shrunk
                        return
                    raise
                position = min(os.lseek(self._fd, start, os.SEEK_HOLE), self._file_size)
            if position > start:
                yield Extent(offset=start, length=position - start)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        end = offset + len(buffer)
        if offset < 0 or end > self._size:
            raise ValueError(f"Bytes {offset} to {end} are not on a disk of {self._size} bytes.")
        in_file = max(0, min(end, self._file_size) - offset)
        done = 0
        while done < in_file:
            with self._reading():
                count = os.preadv(self._fd, [buffer[done:in_file]], offset + done)
            if count == 0:
                raise DiskShrankError(
                    f"The disk {self._name} became shorter while it was read.",
                    remedy="Wait until nothing changes the file, then copy it again.",
                    facts={"file": self._name, "size": str(self._file_size)},
                )
            done += count
        buffer[in_file:] = bytes(len(buffer) - in_file)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UnavailableError(
                f"The disk {self._name} cannot be read: {os.strerror(error.errno or 0)}.",
                remedy="Look at the health of the storage that the file lies on, then try again.",
                facts={"file": self._name},
            ) from error


def _check_complete(fd: int, *, size: int, name: str) -> None:
    wanted = find_gpt_disk_size(fd)
    if wanted is not None and wanted > size:
        raise DamagedDiskError(
            f"The disk {name} is truncated: its partition table describes {wanted} bytes, "
            f"the file has {size}.",
            remedy="Copy or download the file again.",
            facts={"file": name, "size": str(size), "expected_size": str(wanted)},
        )
