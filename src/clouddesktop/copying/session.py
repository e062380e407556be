"""The open source of one run of a copy, shared by its steps."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from clouddesktop.disk.reader import Disk, open_disk
from clouddesktop.model.image import ComputeImage
from clouddesktop.source.catalogue import SourceCatalogue
from clouddesktop.source.folder import SourceFile


class CopySession:
    """Opens the compute image at the first use, keeps it open for the run. Thread-safe."""

    def __init__(
        self, *, sources: SourceCatalogue, compute_image: ComputeImage, readers: int
    ) -> None:
        """Prepare for `readers` threads that read at a time."""
        self._sources = sources
        self._compute_image = compute_image
        self._readers = readers
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._opened: tuple[SourceFile, Disk] | None = None

    def open(self) -> tuple[SourceFile, Disk]:
        """Open the source's file and, once it is found safe, the disk in it."""
        with self._lock:
            if self._opened is None:
                with ExitStack() as stack:
                    file = stack.enter_context(self._sources.open_file(self._compute_image))
                    disk = stack.enter_context(open_disk(file.fd, readers=self._readers))
                    self._stack = stack.pop_all()
                self._opened = file, disk
            return self._opened

    def open_unchanged(self, fingerprint: str) -> Disk:
        """Give the disk.

        Raises:
            SourceChangedError: the file is not what it was when `fingerprint` was taken.
        """
        file, disk = self.open()
        file.check_unchanged(fingerprint)
        return disk

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._opened = None
            self._stack.close()
