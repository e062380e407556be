"""Blocks of a file on another machine: each fetched once, ahead of who reads in order."""

from __future__ import annotations

import os
import threading
from collections import Counter, defaultdict

import pytest

from clouddesktop.source.base import SourceUnreadableError
from clouddesktop.source.https import HttpMark
from clouddesktop.source.remote import BLOCK_SIZE, RangeReader, RemoteFile

BLOCKS = 120
STEP = BLOCK_SIZE // 2


class CountingReader:
    """Gives ranges of bytes in memory, and counts them by block."""

    def __init__(self, content: bytes) -> None:
        self.fetched: Counter[int] = Counter()
        self._content = content
        self._lock = threading.Lock()

    def fetch(self, offset: int, length: int) -> bytes:
        with self._lock:
            self.fetched[offset // BLOCK_SIZE] += 1
        return self._content[offset : offset + length]


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(BLOCK_SIZE) * (BLOCKS - 1) + os.urandom(BLOCK_SIZE // 3)


def opened(content: bytes, reader: RangeReader) -> RemoteFile:
    return RemoteFile(
        name="disk.raw",
        size=len(content),
        fingerprint=HttpMark(size=len(content), etag='"1"', modified=""),
        reader=reader,
        check=lambda _expected: None,
        requests=8,
    )


def read(file: RemoteFile, start: int, end: int) -> bytes:
    """Read in order, in steps that are smaller than a block."""
    return b"".join(file.read_at(each, min(STEP, end - each)) for each in range(start, end, STEP))


@pytest.mark.parametrize("border", [60 * BLOCK_SIZE, 60 * BLOCK_SIZE + 4096])
def test_neighbours_fetch_nothing_twice(content: bytes, border: int) -> None:
    """What another reader has been through is not read ahead again where its place begins."""
    reader = CountingReader(content)
    with opened(content, reader) as file:
        second = read(file, border, len(content))
        first = read(file, 0, border)
    assert first + second == content
    twice = {number for number, count in reader.fetched.items() if count > 1}
    assert twice <= {border // BLOCK_SIZE}


def test_who_reads_once_more_is_read_ahead_for(content: bytes) -> None:
    """The second time through, all but a few blocks are asked for before they are wanted."""
    asked: dict[int, threading.Event] = defaultdict(threading.Event)
    alone: list[int] = []

    class WaitingReader:
        def fetch(self, offset: int, length: int) -> bytes:
            number = offset // BLOCK_SIZE
            asked[number].set()
            if not asked[number + 1].wait(0.2):
                alone.append(number)
            return content[offset : offset + length]

    with opened(content, WaitingReader()) as file:
        for _ in range(2):
            asked.clear()
            alone.clear()
            assert read(file, 0, len(content)) == content
            assert alone[-1] == BLOCKS - 1
            assert len(alone) <= 6


def test_a_size_that_no_disk_has_is_refused() -> None:
    """What a server says must not decide how much memory is taken."""

    class Nothing:
        def fetch(self, offset: int, length: int) -> bytes:
            raise AssertionError((offset, length))

    with pytest.raises(SourceUnreadableError, match="64 TiB"):
        RemoteFile(
            name="disk.raw",
            size=1 << 62,
            fingerprint=HttpMark(size=1 << 62, etag="", modified=""),
            reader=Nothing(),
            check=lambda _expected: None,
            requests=1,
        )
