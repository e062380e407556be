"""Which contents have which chunks, for more of them than memory holds: sorted into files.

    content ── its chunks ──> file of the first bits of their digests ──> {chunk: its content}

A file has a record of 16 bytes for each chunk of each content. One file is read at a time, so that
memory holds some ten thousand chunks however many the store has.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from clouddesktop.ids import DIGEST_SIZE, Digest

SHARED = -1
"""Stands for several contents as the owner of a chunk."""

_RECORD = struct.Struct("<12sI")
_PREFIX_SIZE = 12
"""96 bits tell some billion chunks apart; a file of whole digests would be twice as long."""

_MOST_BITS = 12
_BUFFER_SIZE = 16 << 10
"""Of each file: 64 MiB for the most files there are."""

_FIRST_BITS = 16


class Part(NamedTuple):
    """Chunks whose digests are from `first` on and below `until` (None: to the end)."""

    first: bytes
    until: bytes | None
    number: int


class Claims:
    """Claims of contents on chunks; say them all, then read them part by part."""

    def __init__(self, folder: Path, *, chunk_count: int, at_once: int) -> None:
        """Sort into so many files in an empty folder that each is of about `at_once` chunks."""
        self._folder = folder
        self._bits = min(max(chunk_count // at_once, 0).bit_length(), _MOST_BITS)
        self._shift = _FIRST_BITS - self._bits
        self._buffers = [bytearray() for _ in range(1 << self._bits)]

    def claim(self, owner: int, digests: Iterable[Digest]) -> None:
        """Note that a content has these chunks; each is to be named once."""
        buffers, shift = self._buffers, self._shift
        for digest in digests:
            number = int.from_bytes(digest[:2], "big") >> shift
            buffers[number] += _RECORD.pack(digest[:_PREFIX_SIZE], owner)
        for number, buffer in enumerate(buffers):
            if len(buffer) > _BUFFER_SIZE:
                self._flush(number)

    def iter_parts(self) -> Iterator[Part]:
        """Go through all parts in the order of their digests."""
        last = len(self._buffers) - 1
        for number in range(last + 1):
            until = None if number == last else self._first_of(number + 1)
            yield Part(self._first_of(number), until, number)

    def load(self, part: Part) -> Mapping[bytes, int]:
        """Map the part's chunks, by `key_of`, to the content that has them, or to SHARED."""
        owners: dict[bytes, int] = {}
        self._flush(part.number)
        for key, owner in _RECORD.iter_unpack(self._path_of(part.number).read_bytes()):
            if owners.setdefault(key, owner) != owner:
                owners[key] = SHARED
        return owners

    def _first_of(self, number: int) -> bytes:
        return (number << self._shift).to_bytes(2, "big").ljust(DIGEST_SIZE, b"\0")

    def _flush(self, number: int) -> None:
        with self._path_of(number).open("ab") as file:
            file.write(self._buffers[number])
        self._buffers[number] = bytearray()

    def _path_of(self, number: int) -> Path:
        return self._folder / str(number)


def key_of(digest: bytes) -> bytes:
    """Shorten a digest to what claims know it by."""
    return digest[:_PREFIX_SIZE]
