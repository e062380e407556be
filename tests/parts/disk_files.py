"""Disk files that lie nowhere: in memory, with faults where a test wants them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from clouddesktop.model.manifest import Extent


class MemoryFile:
    """A disk file without a descriptor; `before_read` is called with each read's place and length.

    What that raises, the read raises; what it waits for, the read waits for.
    """

    def __init__(
        self,
        content: bytes,
        *,
        name: str = "remote.qcow2",
        before_read: Callable[[int, int], None] | None = None,
    ) -> None:
        self.content = content
        self.name = name
        self.before_read = before_read
        self.reads: list[tuple[int, int]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def fd(self) -> int | None:
        return None

    def read_at(self, offset: int, length: int) -> bytes:
        with self._lock:
            self.reads.append((offset, length))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.before_read is not None:
                self.before_read(offset, length)
            return self.content[offset : offset + length]
        finally:
            with self._lock:
                self._at_once -= 1

    def read_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self.read_at(offset, len(buffer))

    def iter_extents(self) -> Iterator[Extent]:
        yield Extent(offset=0, length=self.size)
