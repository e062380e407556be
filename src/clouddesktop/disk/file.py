"""The bytes of a file that holds a disk, wherever the file lies."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from clouddesktop.disk.errors import DiskShrankError
from clouddesktop.errors import UnavailableError
from clouddesktop.model.manifest import Extent


@runtime_checkable
class DiskFile(Protocol):
    """An open file, read at any place. Thread-safe."""

    @property
    def name(self) -> str:
        """What to call it in messages: the file's name without its folder."""

    @property
    def size(self) -> int:
        """Bytes, as they were when it was opened."""

    @property
    def fd(self) -> int | None:
        """The descriptor of a local file, which another program may open again; else None."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Give the bytes at a place; fewer than asked for only where the file ends.

        Raises:
            UnavailableError: the storage fails.
        """

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the whole buffer.

        Raises:
            DiskShrankError: the file ends before that, and did not when it was opened.
            UnavailableError: the storage fails.
        """

    def iter_extents(self) -> Iterator[Extent]:
        """Map the data: ascending, not overlapping, maybe touching; the rest reads as zeros."""


class LocalFile:
    """A file of this machine. The descriptor stays the caller's and has to stay open."""

    def __init__(self, fd: int, *, name: str | None = None) -> None:
        """Call it `name`, or what it is called in its folder."""
        self._fd = fd
        link = Path(f"/proc/self/fd/{fd}").readlink()
        self._name = name or link.name.removesuffix(" (deleted)")
        self._size = os.fstat(fd).st_size

    @property
    def name(self) -> str:
        return self._name

    @property
    def size(self) -> int:
        return self._size

    @property
    def fd(self) -> int:
        return self._fd

    def read_at(self, offset: int, length: int) -> bytes:
        pieces: list[bytes] = []
        while length > 0:
            with self._reading():
                piece = os.pread(self._fd, length, offset)
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return b"".join(pieces)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            with self._reading():
                count = os.preadv(self._fd, [buffer[done:]], offset + done)
            if count == 0:
                raise DiskShrankError(
                    f"The disk {self._name} became shorter while it was read.",
                    remedy="Wait until nothing changes the file, then copy it again.",
                    facts={"file": self._name, "size": str(self._size)},
                )
            done += count

    def iter_extents(self) -> Iterator[Extent]:
        position = 0
        while position < self._size:
            with self._reading():
                try:
                    start = os.lseek(self._fd, position, os.SEEK_DATA)
                except OSError as error:
                    if error.errno == errno.ENXIO:  # no more data, or the file has shrunk
                        return
                    raise
                position = min(os.lseek(self._fd, start, os.SEEK_HOLE), self._size)
            if position > start:
                yield Extent(offset=start, length=position - start)

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


class OpenFile(Protocol):
    """What is open already, in whatever way its bytes can be had."""

    @property
    def fd(self) -> int | None:
        """The descriptor of a local file; else None."""


def find_bytes(file: OpenFile) -> DiskFile | None:
    """Give the bytes of an open file at any place; None if it has to be fetched whole first."""
    if file.fd is not None:
        return LocalFile(file.fd)
    return file if isinstance(file, DiskFile) else None


class FileWindow:
    """A part of another file that holds a disk of its own, such as a member of an archive.

    The other file stays the caller's and has to stay open.
    """

    def __init__(self, whole: DiskFile, *, name: str, offset: int, size: int) -> None:
        """Show `size` bytes of `whole` from `offset` on.

        Raises:
            ValueError: that is not all in the file.
        """
        if offset < 0 or size < 0 or offset + size > whole.size:
            raise ValueError(f"{size} bytes from {offset} on are not all in {whole.name}.")
        self.whole = whole
        self.offset = offset
        self._name = name
        self._size = size

    @property
    def name(self) -> str:
        return self._name

    @property
    def size(self) -> int:
        return self._size

    @property
    def fd(self) -> None:
        """None: whoever opened the descriptor again would see the whole file."""

    def read_at(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self._size - offset))
        return self.whole.read_at(self.offset + offset, length)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        if offset < 0 or offset + len(buffer) > self._size:
            raise ValueError(f"{len(buffer)} bytes from {offset} on are not all in {self._name}.")
        self.whole.read_into(self.offset + offset, buffer)

    def iter_extents(self) -> Iterator[Extent]:
        for extent in self.whole.iter_extents():
            start = max(extent.offset - self.offset, 0)
            end = min(extent.offset + extent.length - self.offset, self._size)
            if start >= self._size:
                return
            if end > start:
                yield Extent(offset=start, length=end - start)
