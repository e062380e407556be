"""A file on another machine, read in place: blocks, several requests in flight, some read ahead.

    read_into -> blocks of 2 MiB -> in memory? else asked for, with those that will come next
                                        -> RangeReader.fetch, in threads

Memory is bounded by the blocks that are kept and those in flight.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from clouddesktop.model.manifest import Extent
from clouddesktop.source.base import Mark, SourceUnreadableError

BLOCK_SIZE = 2 << 20
_MOST_SIZE = 64 << 40
"""Bytes: what another server says decides how much memory the notes on its file take."""
_KEPT_BLOCKS = 24
_AHEAD = 4
"""Blocks that are asked for before they are needed, behind each place that is read in order."""
_WINDOW = 64
"""Blocks that are read ahead once more when somebody reads them once more."""
_LOOK_SECONDS = 0.5
_STREAMS = 8
"""Places that are read in order at a time, as far as is remembered."""


class RangeReader(Protocol):
    """Gives ranges of one file that does not change, or else says that it did. Thread-safe."""

    def fetch(self, offset: int, length: int) -> bytes:
        """Give exactly these bytes; retries what may pass.

        Raises:
            SourceChangedError: the file is not what it was when it was opened.
            CloudDesktopError: it cannot be had.
        """


class RemoteFile:
    """An open file on another machine; a context manager. Thread-safe."""

    fd = None
    check_wanted: Callable[[], None] = staticmethod(lambda: None)
    """Called again and again while a reader waits for the other server; it may raise."""

    def __init__(
        self,
        *,
        name: str,
        size: int,
        fingerprint: Mark,
        reader: RangeReader,
        check: Callable[[str], None],
        requests: int,
    ) -> None:
        """Read by `reader`, up to `requests` at a time; `check` is what `check_unchanged` does.

        Raises:
            SourceUnreadableError: the file is said to be larger than any that is read.
        """
        if size > _MOST_SIZE:
            raise SourceUnreadableError(
                f"{name} has {size} bytes, as its server says; files of up to 64 TiB are read.",
                remedy="See what the server hands out under this name.",
                facts={"file": name, "size": str(size)},
            )
        self.name = name
        self.size = size
        self._fingerprint = fingerprint
        self._reader = reader
        self._check = check
        self._lock = threading.Lock()
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._finished = bytearray(-(-size // BLOCK_SIZE))  # 1: the block's last byte was read
        self._is_unwanted = False
        self._again = -1  # the block that was last fetched although it was finished
        self._expected: OrderedDict[int, None] = OrderedDict()  # blocks that go on a stream
        self._threads = ThreadPoolExecutor(requests, thread_name_prefix="fetch")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Requests of somebody who has been called off are left to the other server's silence.
        self._threads.shutdown(wait=not self._is_unwanted, cancel_futures=True)

    @property
    def fingerprint(self) -> Mark:
        return self._fingerprint

    def settle(self) -> Mark:
        """Give the fingerprint: the other server's clock is not ours to wait for."""
        return self._fingerprint

    def check_unchanged(self, expected: str) -> None:
        """Do as `SourceFile.check_unchanged`."""
        self._check(expected)

    def read_at(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        buffer = bytearray(length)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        end = offset + len(buffer)
        if offset < 0 or end > self.size:
            raise ValueError(f"Bytes {offset} to {end} are not in a file of {self.size} bytes.")
        if not buffer:
            return
        numbers = range(offset // BLOCK_SIZE, -(-end // BLOCK_SIZE))
        for number in numbers:
            block = self._wait(self._get(number))
            start = number * BLOCK_SIZE
            first, last = max(offset, start), min(end, start + len(block))
            buffer[first - offset : last - offset] = block[first - start : last - start]
            if last == start + len(block):
                with self._lock:
                    self._finished[number] = 1

    def iter_extents(self) -> Iterator[Extent]:
        """Give the whole file: other servers do not tell of holes."""
        if self.size:
            yield Extent(offset=0, length=self.size)

    def _get(self, number: int) -> Future[bytes]:
        with self._lock:
            self._note_again(number)
            wanted = self._ask(number)
            is_in_order = number in self._expected or number == 0
            self._expected.pop(number, None)
            self._expected[number + 1] = None
            while len(self._expected) > _STREAMS:
                self._expected.popitem(last=False)
            if is_in_order:
                for each in range(number + 1, min(number + 1 + _AHEAD, len(self._finished))):
                    if not self._finished[each]:  # else it is where another reader began
                        self._ask(each)
            self._forget_some(number)
        return wanted

    def _wait(self, block: Future[bytes]) -> bytes:
        while True:
            try:
                self.check_wanted()
            except BaseException:
                self._is_unwanted = True
                raise
            with suppress(TimeoutError):
                return block.result(timeout=_LOOK_SECONDS)
            if block.done():  # the fetch's own error, if it was one of these
                return block.result()

    def _note_again(self, number: int) -> None:
        """Notice who reads the file once more: two finished blocks are wanted, one by one."""
        if not self._finished[number] or number in self._blocks:
            return
        if number == self._again + 1:
            window = self._finished[number : number + _WINDOW]
            self._finished[number : number + _WINDOW] = bytes(len(window))
        self._again = number

    def _ask(self, number: int) -> Future[bytes]:
        future = self._blocks.get(number)
        if future is not None:  # one that failed stays so: what was read ahead is news, too
            self._blocks.move_to_end(number)
            return future
        offset = number * BLOCK_SIZE
        length = min(BLOCK_SIZE, self.size - offset)
        future = self._threads.submit(self._reader.fetch, offset, length)
        self._blocks[number] = future
        return future

    def _forget_some(self, wanted: int) -> None:
        surplus = len(self._blocks) - _KEPT_BLOCKS
        if surplus <= 0:
            return
        idle = [
            number
            for number, future in self._blocks.items()
            if number != wanted and future.done() and future.exception() is None
        ]
        # Those that were read to their end before those that were asked for ahead: what is
        # forgotten unread is fetched twice.
        for number in sorted(idle, key=lambda each: not self._finished[each])[:surplus]:
            del self._blocks[number]


class StreamedFile:
    """An open file on a server that gives it whole only, from its start: it has to be spooled."""

    fd = None

    def __init__(
        self,
        *,
        name: str,
        fingerprint: Mark,
        stream: Callable[[], Iterator[bytes]],
        check: Callable[[str], None],
    ) -> None:
        """Each call of `stream` fetches the file anew; `check` is what `check_unchanged` does."""
        self.name = name
        self.iter_bytes = stream
        self._fingerprint = fingerprint
        self._check = check

    @property
    def fingerprint(self) -> Mark:
        return self._fingerprint

    def settle(self) -> Mark:
        """Give the fingerprint: the other server's clock is not ours to wait for."""
        return self._fingerprint

    def check_unchanged(self, expected: str) -> None:
        """Do as `SourceFile.check_unchanged`."""
        self._check(expected)
