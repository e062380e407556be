"""The open source of one run of a copy, shared by its steps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from clouddesktop.catalog.copies import RunReplacedError
from clouddesktop.copying.spooling import spool_whole
from clouddesktop.disk.file import DiskFile, find_bytes
from clouddesktop.disk.reader import Disk, open_disk
from clouddesktop.disk.sandbox import SandboxPolicy
from clouddesktop.disk.spool import Spool, SpoolClosedError
from clouddesktop.model.image import ComputeImage
from clouddesktop.source.base import SourceFile
from clouddesktop.source.catalogue import SourceCatalogue
from clouddesktop.source.remote import RemoteFile, StreamedFile


class CopySession:
    """Opens the compute image at the first use and keeps it open for the run. Thread-safe.

    The run may end while a thread still reads: the last of them closes the file then, so that its
    descriptor never comes to stand for another file under a reader.
    """

    def __init__(
        self,
        *,
        sources: SourceCatalogue,
        compute_image: ComputeImage,
        readers: int,
        sandbox: SandboxPolicy = SandboxPolicy.REQUIRED,
        spool: Spool | None = None,
        check_cancelled: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare for `readers` threads that read at a time; unpack into `spool`.

        `check_cancelled` is called again and again while that takes its time; it may raise.
        """
        self._check_cancelled = check_cancelled
        self._spool = spool
        self._sources = sources
        self._compute_image = compute_image
        self._readers = readers
        self._sandbox = sandbox
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._stack = ExitStack()
        self._disk_file: DiskFile | None = None
        self._opened: tuple[SourceFile, Disk] | None = None
        self._users = 0
        self._is_over = False

    @contextmanager
    def reading(self) -> Iterator[tuple[SourceFile, Disk]]:
        """Give the source's file and, once it is found safe, the disk in it.

        Raises:
            RunReplacedError: the run is over.
            CloudDesktopError: the file or its disk cannot be opened.
        """
        with self._lock:
            if self._is_over:
                raise RunReplacedError("The run is over: its source is closed.")
            self._users += 1
        try:
            # Not under the lock of the run's end: opening takes long when the file is unpacked.
            with self._opening:
                if self._opened is None:
                    self._opened = self._open()
                opened = self._opened
            yield opened
        finally:
            with self._lock:
                self._users -= 1
                self._close_unused()

    def check_alive(self) -> None:
        """Raise once nothing more is to be done.

        Raises:
            RunReplacedError: as `check_running` says.
            OperationCancelledError: the copy was cancelled.
        """
        self.check_running()
        self._check_cancelled()

    def check_running(self) -> None:
        """Raise once this run can do nothing more.

        Raises:
            RunReplacedError: the run is over, or the server stops: a later run does it.
        """
        if self._is_over:
            raise RunReplacedError("The run is over.")
        if self._spool is not None:
            try:
                self._spool.check_open()
            except SpoolClosedError as error:
                raise RunReplacedError("The server stops.") from error

    def _open(self) -> tuple[SourceFile, Disk]:
        self.check_alive()
        with ExitStack() as stack:
            file = stack.enter_context(self._sources.open_file(self._compute_image))
            try:
                self._disk_file = self._to_disk_file(file, stack)
                opening = open_disk(
                    self._disk_file,
                    readers=self._readers,
                    sandbox=self._sandbox,
                    spool=self._spool,
                    check_alive=self.check_alive,
                )
                disk = stack.enter_context(opening)
            except SpoolClosedError as error:
                raise RunReplacedError("The server stops while it unpacks.") from error
            self._stack = stack.pop_all()
        return file, disk

    @property
    def disk_file(self) -> DiskFile:
        """The bytes of the source's file, wherever they come from; inside `reading` only."""
        if self._disk_file is None:
            raise RuntimeError("The source is not open.")
        return self._disk_file

    def _to_disk_file(self, file: SourceFile, stack: ExitStack) -> DiskFile:
        if isinstance(file, RemoteFile):
            file.check_wanted = self._check_cancelled
        if isinstance(file, StreamedFile) and self._spool is not None:
            return spool_whole(file, self._spool, stack, check_alive=self.check_alive)
        found = find_bytes(file)
        if found is None:
            raise TypeError(f"{file} gives neither a descriptor nor bytes.")
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the run: nothing more is read. Waits for what a remote source has yet to answer."""
        with self._lock:
            self._is_over = True  # stops an unpacking that is at work, too
            self._close_unused()

    def _close_unused(self) -> None:
        if self._is_over and not self._users:
            self._stack.close()
