"""The shape of a disk: extents, the ranges it is copied in, and the manifest of its chunks.

disk     |....data....|......hole......|..data..|zero|.......|   extents, as the source maps them
chunks   |----|----|----|              |----|----|               of CHUNK_SIZE, the last shorter
ranges   |---- 0 ------|               |--- 1 ---|               at most RANGE_SIZE of chunks
manifest size + {chunk number: digest}; a chunk that is not listed is zero
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from clouddesktop.ids import Digest

CHUNK_SIZE = 256 << 10
"""Bytes of a chunk, the unit of deduplication; docs/adr/0002 has the figures behind it."""

RANGE_SIZE = 48 << 20
"""Bytes of data in a range at most; its new chunks make one pack (docs/adr/0002)."""


MOST_GAP = 16
"""Chunks of zeros that a range may bridge. 2,000 pieces 1 MiB apart took 7 s; without, 26 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """A run of data in bytes from the disk's start. What no extent covers reads as zero."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRange:
    """The unit of durable work: chunks `first_chunk` to `first_chunk + chunk_count - 1`.

    `index` numbers the ranges of one copy from 0, in the order of the disk. Ranges never overlap; a
    chunk outside all of them is zero.
    """

    index: int
    first_chunk: int
    chunk_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An image's content: the disk's size in bytes and the digest of each chunk that is not zero.

    `chunks` maps chunk numbers, ascending, to digests. Chunk n covers the bytes from n x
    `chunk_size` to the next chunk or the end of the disk.
    """

    size: int
    chunk_size: int
    chunks: Mapping[int, Digest]

    def length_of(self, chunk: int) -> int:
        """Give the plain length of one chunk in bytes; only the disk's last may be short."""
        return chunk_length(chunk, disk_size=self.size, chunk_size=self.chunk_size)


def chunk_length(chunk: int, *, disk_size: int, chunk_size: int = CHUNK_SIZE) -> int:
    """Give the plain length in bytes of chunk number `chunk` of a disk."""
    return min(chunk_size, disk_size - chunk * chunk_size)


def plan_ranges(
    extents: Iterable[Extent],
    *,
    disk_size: int,
    chunk_size: int = CHUNK_SIZE,
    range_size: int = RANGE_SIZE,
    most_gap: int = MOST_GAP,
) -> Iterator[CopyRange]:
    """Cut the data of a disk into ranges, lazily.

    Extents are ascending and do not overlap; what they reach past `disk_size` is ignored. Extents
    with no more than `most_gap` chunks between them fall into one range until it is full: reading
    some zeros costs less than a range of its own.
    """
    most = range_size // chunk_size
    index = 0
    first = after = 0  # the open range covers chunks first..after-1
    for extent in extents:
        end = min(extent.end, disk_size)
        if end <= extent.offset:
            continue
        start_chunk = max(extent.offset // chunk_size, after)
        end_chunk = -(-end // chunk_size)
        if start_chunk > after + most_gap and after > first:
            yield CopyRange(index=index, first_chunk=first, chunk_count=after - first)
            index += 1
            first = after = start_chunk
        elif after == first:
            first = after = start_chunk
        after = max(after, end_chunk)
        while after - first > most:
            yield CopyRange(index=index, first_chunk=first, chunk_count=most)
            index += 1
            first += most
    if after > first:
        yield CopyRange(index=index, first_chunk=first, chunk_count=after - first)
