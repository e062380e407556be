"""Scratch files for what cannot be read where it lies: nameless, bounded, gone with their use.

A file never has a name (O_TMPFILE), or loses it before its first byte is written, so nothing of it
survives a crash; NFS and FUSE keep names of their own until then, and what the end of a machine
leaves under those is removed when the folder is next used. Its zeros are holes.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clouddesktop.disk.file import LocalFile
from clouddesktop.errors import AbortedError, FailedPreconditionError, ResourceExhaustedError

_STEP = 64 << 10
"""Bytes that are a hole if they are all zero."""

_RESERVE = 1 << 30
"""Bytes that stay free on the disk, which the database and the store may share."""

_ZEROS = bytes(_STEP)

_OWN_PREFIX = "unpacking-"
_LEFT = (_OWN_PREFIX, ".nfs", ".fuse_hidden")
"""What the names of files begin with that may be left."""

_WITHOUT_TMPFILE = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT}
"""What open(2) says where the file system (NFS, FAT, most of FUSE) or the kernel has none."""


class SpoolFullError(ResourceExhaustedError):
    """There is no room to unpack a file; the space that it took is free again."""

    reason = "SPOOL_FULL"


class SpoolUnusableError(FailedPreconditionError):
    """The folder for scratch files cannot be made or written."""

    reason = "SPOOL_UNUSABLE"


class SpoolClosedError(AbortedError):
    """The server stops: what was being unpacked is unpacked again by the next one."""

    reason = "SPOOL_CLOSED"


class Spool:
    """The scratch files of one server, bounded together. Thread-safe."""

    def __init__(self, folder: Path, *, most_bytes: int | None = None) -> None:
        """Keep files in `folder`, made when it is first needed; `most_bytes` in all of them.

        Without a bound, what the disk has free is used, less 1 GiB.
        """
        self._folder = folder
        self._most_bytes = most_bytes
        self._used = 0
        self._is_closed = False
        self._is_swept = False
        self._lock = threading.Lock()

    @contextmanager
    def open_file(
        self, name: str, *, check_alive: Callable[[], None] = lambda: None
    ) -> Iterator[SpoolFile]:
        """Open an empty file, which people know as `name`; its space is free at the end.

        `check_alive` is called before each write; what it raises, the write raises.

        Raises:
            SpoolUnusableError: the folder cannot be made or written.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep_once()
            fd = _open_nameless(self._folder)
        except OSError as error:
            raise _unusable(self._folder, error) from error
        file = SpoolFile(spool=self, folder=self._folder, fd=fd, name=name, check_alive=check_alive)
        try:
            yield file
        finally:
            os.close(fd)
            self._give_back(file.used)

    @property
    def used(self) -> int:
        """Bytes that its files take now."""
        return self._used

    def close(self) -> None:
        """Make all writing end; what is written already can still be read."""
        self._is_closed = True

    def check_open(self) -> None:
        """Raise SpoolClosedError once it is closed."""
        if self._is_closed:
            raise SpoolClosedError("The server stops.")

    def take(self, size: int, name: str) -> None:
        """Count bytes before they are written.

        Raises:
            SpoolFullError: there is no room for them.
        """
        with self._lock:
            if self._most_bytes is not None:
                has_room = self._used + size <= self._most_bytes
            else:
                has_room = shutil.disk_usage(self._folder).free - size >= _RESERVE
            if not has_room:
                raise _full(self._folder, name)
            self._used += size

    def _sweep_once(self) -> None:
        with self._lock:
            if not self._is_swept:
                for each in self._folder.iterdir():
                    if each.name.startswith(_LEFT):
                        with suppress(OSError):  # it takes space, and nothing else
                            each.unlink()
            self._is_swept = True

    def _give_back(self, size: int) -> None:
        with self._lock:
            self._used -= size


class SpoolFile:
    """A file that is written once, from its start to its end, and then read."""

    def __init__(
        self,
        *,
        spool: Spool,
        folder: Path,
        fd: int,
        name: str,
        check_alive: Callable[[], None],
    ) -> None:
        self.used = 0
        """Bytes that take space so far: all but the zeros."""
        self._spool = spool
        self._folder = folder
        self._fd = fd
        self._name = name
        self._check_alive = check_alive
        self._size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes.

        Raises:
            SpoolFullError: there is no room for them.
            SpoolClosedError: the server stops.
        """
        self._spool.check_open()
        self._check_alive()
        view = memoryview(data)
        while view:
            # Steps are aligned in the file, so that zeros become holes whatever comes in.
            piece = view[: _STEP - self._size % _STEP]
            if not _ZEROS.startswith(piece):
                self._write_piece(piece)
            self._size += len(piece)
            view = view[len(piece) :]

    def finish(self) -> LocalFile:
        """Give the whole file for reading; its descriptor is valid as long as the spool file.

        Raises:
            SpoolUnusableError: the file system has no files of that size.
        """
        try:
            os.ftruncate(self._fd, self._size)
        except OSError as error:
            raise _unusable(self._folder, error) from error
        return LocalFile(self._fd, name=self._name)

    def _write_piece(self, piece: memoryview) -> None:
        self._spool.take(len(piece), self._name)
        self.used += len(piece)
        offset = self._size
        while piece:
            try:
                written = os.pwrite(self._fd, piece, offset)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise _full(self._folder, self._name) from error
                raise _unusable(self._folder, error) from error
            piece, offset = piece[written:], offset + written


def _open_nameless(folder: Path) -> int:
    """Open a file that goes with its descriptor; at worst an empty one is left by a crash."""
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in _WITHOUT_TMPFILE:
            raise
    fd, name = tempfile.mkstemp(dir=folder, prefix=_OWN_PREFIX)
    try:
        Path(name).unlink()
    except BaseException:
        os.close(fd)
        raise
    return fd


def _unusable(folder: Path, error: OSError) -> SpoolUnusableError:
    return SpoolUnusableError(
        f"The folder {folder} cannot be used to unpack files: {error.strerror}.",
        remedy="Let the server's user write there; the file system has to allow files as large as "
        "the disks.",
        facts={"folder": str(folder)},
    )


def _full(folder: Path, name: str) -> SpoolFullError:
    return SpoolFullError(
        f"There is no room to unpack {name} in {folder}.",
        remedy="Free some space there or raise the setting spool_size; or unpack the file yourself "
        "and copy that.",
        facts={"file": name},
    )
