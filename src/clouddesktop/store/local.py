"""What makes a blob in a local folder whole and durable, which obstore leaves to its callers.

obstore puts a name in place without fsync: a power cut could leave a name with short content. Here
a blob is written under `staging/`, synced, then linked to its name, and the folders are synced:

    staging/<token>/lock      held (flock) by the process that writes here, for as long as it lives
    staging/<token>/<number>  blobs being written

A token's folder that nobody holds is what a crash left behind; opening the store removes it.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import secrets
import shutil
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clouddesktop.content import Buffer
from clouddesktop.direct import UNABLE, write_all, write_blocks

_STAGING = "staging"
_LOCK = "lock"
_DIRECT_FROM = 1 << 20
"""Bytes from which a blob is written past the page cache: packs, mostly."""
_NOT_OURS = frozenset({"lost+found", _STAGING})


@dataclass(frozen=True, slots=True)
class _Claim:
    folder: Path
    lock: int  # a file descriptor


class LocalFolder:
    """The root folder of a local store; thread-safe. Keys are relative paths that callers check."""

    def __init__(self, root: Path) -> None:
        """Make the folder if need be, for its owner only, and remove what a crash left in it."""
        self.root = root
        self.naming = threading.Lock()
        """Held while a name is put in place, so that `prune` does not take its folder away."""
        self._claim: _Claim | None = None
        self._claiming = threading.Lock()
        self._numbers = itertools.count()
        if not root.is_dir():
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in root.parents:  # any of them may be new
                with suppress(PermissionError):  # a folder we may not read is not one we made
                    _sync(folder)
        self._remove_stale()

    def is_fresh(self) -> bool:
        """Tell whether the folder holds nothing yet, save what file systems put there."""
        names = [each.name for each in self.root.iterdir()]
        return all(name in _NOT_OURS or name.startswith(".") for name in names)

    def stage(self) -> str:
        """Give the key of a file to write a blob to; `discard` it whatever happens."""
        with self._claiming:
            if self._claim is None or not self._claim.folder.is_dir():  # somebody tidied up
                self._claim = self._make_claim()
                weakref.finalize(self, _release, self._claim)
        return f"{_STAGING}/{self._claim.folder.name}/{next(self._numbers)}"

    def write(self, staged: str, data: Buffer) -> None:
        """Write a staged file; its content is durable on return, its name is not."""
        view = memoryview(data).cast("B")
        path = self.root / staged
        done = 0
        if len(view) >= _DIRECT_FROM:
            done = _write_directly(path, view)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            write_all(descriptor, view[done:], done)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def discard(self, staged: str) -> None:
        """Remove a staged file; one that is gone or was never written is fine."""
        with suppress(FileNotFoundError):
            (self.root / staged).unlink()

    def prune(self, key: str) -> None:
        """Remove the folder that a deleted name was in, if it is empty; the top ones stay."""
        folder = (self.root / key).parent
        if self.root in folder.parents[1:]:
            with self.naming, suppress(OSError):  # mostly: it is not empty
                folder.rmdir()

    def sync_file(self, key: str) -> None:
        """Make a file's content durable."""
        _sync(self.root / key)

    def sync_names(self, key: str) -> None:
        """Make a name's presence or absence durable, and those of the folders above it.

        All of them, every time: a folder that is clean costs less than knowing that it is.
        """
        for folder in (self.root / key).parents:
            with suppress(FileNotFoundError):
                _sync(folder)
            if folder == self.root:
                break

    def _make_claim(self) -> _Claim:
        while True:
            folder = self.root / _STAGING / secrets.token_hex(8)
            folder.mkdir(parents=True)
            try:
                lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:  # another process took the empty folder for a stale one
                continue
            if _try_lock(lock, folder / _LOCK):
                return _Claim(folder, lock)
            os.close(lock)

    def _remove_stale(self) -> None:
        with suppress(FileNotFoundError):
            for folder in (self.root / _STAGING).iterdir():
                _remove_if_stale(folder)


def _remove_if_stale(folder: Path) -> None:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        with suppress(OSError):  # not empty: its process is about to lock it, or just has
            folder.rmdir()
        return
    except OSError:  # of another user, or not a folder: nothing that we have left
        return
    try:
        if _try_lock(lock, folder / _LOCK):
            _remove(folder)
    finally:
        os.close(lock)


def _try_lock(lock: int, path: Path) -> bool:
    """Lock a file, and see that it has not been removed between its opening and its locking."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(lock), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _remove(folder: Path) -> None:
    """Remove a staging folder whose lock is held, the lock last."""
    for path in folder.iterdir():
        if path.name != _LOCK:
            with suppress(FileNotFoundError):
                path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _release(claim: _Claim) -> None:
    with suppress(OSError):
        _remove(claim.folder)
    os.close(claim.lock)


def _write_directly(path: Path, view: memoryview) -> int:
    """Write past the page cache as much as the file system takes; tells how much that is."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_DIRECT
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
        return 0
    try:
        return write_blocks(descriptor, view, 0)
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
