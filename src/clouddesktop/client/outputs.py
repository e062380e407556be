"""Where an export goes: a local file that appears whole or not at all, raw or in another format."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from clouddesktop.content import Buffer
from clouddesktop.errors import FailedPreconditionError

_FLUSH_SIZE = 128 << 20
"""Bytes written between two hints to write back; at every MiB they cost a second of CPU a GB."""


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


class OutputFile:
    """The raw, sparse file `partial` beside the output, until `publish` renames it.

    `is_final` says that it is wanted as it is, so that Linux may write it back meanwhile.
    """

    def __init__(self, *, output: Path, partial: Path, fd: int, is_final: bool) -> None:
        self.partial = partial
        self.is_renamed = False
        self._output = output
        self._fd = fd
        self._is_final = is_final
        self._lock = threading.Lock()
        self._unflushed_size = 0

    def set_size(self, disk_size: int) -> None:
        with _written(self._output):
            os.ftruncate(self._fd, disk_size)

    def write_at(self, offset: int, block: Buffer) -> None:
        """Write all of `block`; many threads may write at a time."""
        view = memoryview(block)
        with _written(self._output):
            while view:
                written = os.pwrite(self._fd, view, offset)
                view, offset = view[written:], offset + written
            if self._is_final and self._is_time_to_flush(len(block)):
                # Linux begins to write back: little is left for the sync at the end.
                os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def _is_time_to_flush(self, written_size: int) -> bool:
        with self._lock:
            self._unflushed_size += written_size
            if self._unflushed_size < _FLUSH_SIZE:
                return False
            self._unflushed_size = 0
            return True

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

    See OutputFile for `is_final`.

    Raises:
        ExportError: the output is no place for a file, exists (unless it is empty or `overwrite` is
            set), or another export is writing it.
    """
    with _written(output):
        _check_output(output, overwrite=overwrite)
    partial = output.with_name(f"{output.name}.partial")
    with _written(output):
        fd = _open_locked(partial)
    file = OutputFile(output=output, partial=partial, fd=fd, is_final=is_final)
    try:
        with _written(output):
            os.ftruncate(fd, 0)  # what a killed export left
        yield file
    finally:
        # Once renamed, the name may be another export's already.
        if not file.is_renamed:
            partial.unlink(missing_ok=True)
        os.close(fd)


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
