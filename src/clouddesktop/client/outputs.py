"""Where an export goes: a local file that appears whole or not at all, raw or in another format."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from clouddesktop.content import Buffer
from clouddesktop.direct import BLOCK, aligned_memory, write_all, write_blocks
from clouddesktop.errors import FailedPreconditionError

_GATHERED_SIZE = 4 << 20
"""Bytes that one write takes at most."""


class OutputFormat(StrEnum):
    """The formats that an export can have, named as qemu-img names them, save for `vhd`."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VDI = "vdi"
    VHDX = "vhdx"
    VHD = "vhd"

    @classmethod
    def of_path(cls, path: Path) -> OutputFormat | None:
        """Tell the format that a file's name ends in; None when it ends in none of them."""
        return _FORMATS.get(path.suffix.lower())


_FORMATS = {f".{each}": each for each in OutputFormat} | {
    ".img": OutputFormat.RAW,
    ".vpc": OutputFormat.VHD,
}


class ExportError(FailedPreconditionError):
    """The output cannot be written; what was there before is unchanged."""

    reason = "EXPORT_FAILED"


class Gathering:
    """Puts blocks that follow each other into one write."""

    def __init__(self, write: Callable[[int, memoryview], None], memory: mmap.mmap) -> None:
        self._write = write
        self._memory = memoryview(memory)
        self._start = self._end = 0

    def add(self, offset: int, block: Buffer) -> None:
        """Take a block, which is copied; it is written now or later."""
        if offset != self._end or self._end - self._start + len(block) > len(self._memory):
            self.flush()
            self._start = self._end = offset
        if len(block) > len(self._memory):
            self._write(offset, memoryview(block))
            return
        place = self._end - self._start
        self._memory[place : place + len(block)] = block
        self._end += len(block)

    def flush(self) -> None:
        """Write what is still to be written."""
        if self._end > self._start:
            self._write(self._start, self._memory[: self._end - self._start])
        self._start = self._end


class OutputFile:
    """The raw, sparse file `partial` beside the output, until `publish` renames it.

    `direct_fd` writes past the page cache; None if the file system can't, or it is read again soon.
    """

    def __init__(self, *, output: Path, partial: Path, fd: int, direct_fd: int | None) -> None:
        self.partial = partial
        self.is_renamed = False
        self._output = output
        self._fd = fd
        self._direct_fd = direct_fd
        self._lock = threading.Lock()
        self._memories: list[mmap.mmap] = []

    def set_size(self, disk_size: int) -> None:
        with _written(self._output):
            os.ftruncate(self._fd, disk_size)

    def write_at(self, offset: int, block: Buffer) -> None:
        """Write all of `block`; many threads may write at a time."""
        with _written(self._output):
            write_all(self._fd, memoryview(block), offset)

    @contextmanager
    def gathering(self) -> Iterator[Gathering]:
        """Write blocks that mostly follow each other, from one thread; all are written after it."""
        with self._lock:
            memory = self._memories.pop() if self._memories else aligned_memory(_GATHERED_SIZE)
        gathering = Gathering(self._write_aligned, memory)
        try:
            yield gathering
            gathering.flush()
        finally:
            with self._lock:
                self._memories.append(memory)

    def _write_aligned(self, offset: int, view: memoryview) -> None:
        done = 0
        with _written(self._output):
            if self._direct_fd is not None and offset % BLOCK == 0:
                done = write_blocks(self._direct_fd, view, offset)
            write_all(self._fd, view[done:], offset + done)

    def publish(self, ready: Path) -> None:
        """Flush a file beside the output to the disk, and give it the output's name."""
        with _written(self._output):
            _fsync(ready, os.O_RDONLY)
            ready.replace(self._output)
            self.is_renamed = ready == self.partial
            _fsync(self._output.parent, os.O_RDONLY | os.O_DIRECTORY)


@contextmanager
def open_output(output: Path, *, overwrite: bool, is_final: bool) -> Iterator[OutputFile]:
    """Lock `<output>.partial` for one export; it is gone at the end, published or not.

    `is_final` says that the file is wanted as it is, and so need not lie in the page cache.

    Raises:
        ExportError: the output is no place for a file, exists (unless it is empty or `overwrite` is
            set), or another export is writing it.
    """
    with _written(output):
        _check_output(output, overwrite=overwrite)
    partial = output.with_name(f"{output.name}.partial")
    with _written(output):
        fd = _open_locked(partial)
    direct_fd = _open_direct(fd) if is_final else None
    file = OutputFile(output=output, partial=partial, fd=fd, direct_fd=direct_fd)
    try:
        with _written(output):
            os.ftruncate(fd, 0)  # what a killed export left
        yield file
    finally:
        # Once renamed, the name may be another export's already.
        if not file.is_renamed:
            partial.unlink(missing_ok=True)
        for each in (fd, direct_fd):
            if each is not None:
                os.close(each)


def _check_output(output: Path, *, overwrite: bool) -> None:
    if output.is_dir():
        raise ExportError(f"{output} is a folder.", remedy="Name a file inside it as the output.")
    if not output.parent.is_dir():
        raise ExportError(
            f"The folder {output.parent} does not exist.", remedy="Make it, or name another output."
        )
    if not output.exists():
        return
    if not output.is_file():
        raise ExportError(
            f"{output} is no regular file.",
            remedy="Export to a file, and copy it to the device from there.",
        )
    if not overwrite and output.stat().st_size > 0:
        raise ExportError(
            f"{output} exists already.", remedy="Remove it, name another output, or pass --force."
        )


def _open_locked(partial: Path) -> int:
    while True:
        fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between the two calls another export may have renamed it: then it is no longer ours.
            if partial.exists() and partial.samefile(f"/proc/self/fd/{fd}"):
                return fd
        except BlockingIOError:
            os.close(fd)
            raise ExportError(
                f"Another export is writing {partial}.",
                remedy="Wait for it, or choose another output.",
            ) from None
        os.close(fd)


def _open_direct(fd: int) -> int | None:
    """Open the same file for writes past the page cache; None where there are no such writes."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_CLOEXEC | os.O_DIRECT)
    except OSError:
        return None


def _fsync(path: Path, flags: int) -> None:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _written(output: Path) -> Iterator[None]:
    """Turn the operating system's refusals into ExportError."""
    try:
        yield
    except OSError as error:
        remedy = "Choose another output."
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            remedy = "Free some space there, or choose another output."
        raise ExportError(
            f"{output} cannot be written: {error.strerror}.", remedy=remedy
        ) from error
