"""Chunks on their way to a client, as they are stored, each with the digest to check it by.

    answer   frames, ascending by number, and nothing else: the first ones of the chunks that were
             asked for, as many as an answer takes
    frame    number of the chunk u64, codec u32, size of the stored bytes u32, of the plain bytes
             u32, BLAKE3-256 of the plain bytes (32 bytes); then the stored bytes

Numbers are little-endian. Codec 0: the stored bytes are the plain ones; 1: one zstd frame of them.
docs/images.md says the same for people who write a client.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from clouddesktop.content import MAX_PLAIN_SIZE, Buffer, decompress, digest_of
from clouddesktop.errors import DataLossError
from clouddesktop.ids import Digest

PLAIN = 0
ZSTD = 1

MOST_FRAMES = 64
"""Frames of an answer at most. Requests have a price: 32 of them took a tenth more CPU time."""

MOST_STORED_SIZE = 8 << 20
"""Stored bytes of an answer at most, one chunk apart: what a server holds for one request."""

MOST_SPAN = 4096
"""Chunk numbers that one request may span; those of zeros take no room in its answer."""

_HEAD = struct.Struct("<QIII32s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One chunk: `stored` makes `plain_size` bytes, which `digest` names."""

    number: int
    codec: int
    plain_size: int
    digest: Digest
    stored: Buffer

    def head(self) -> bytes:
        """Give what goes before the stored bytes."""
        return _HEAD.pack(
            self.number, self.codec, len(self.stored), self.plain_size, bytes(self.digest)
        )

    def to_plain(self) -> Buffer:
        """Decode the chunk and check it.

        Raises:
            DataLossError: the bytes are not those that the digest names.
        """
        if self.codec == PLAIN:
            plain = self.stored
        elif self.codec == ZSTD:
            plain = decompress(self.stored, self.plain_size)
        else:
            raise DataLossError(f"Chunk {self.number} came by an unknown codec, {self.codec}.")
        if len(plain) != self.plain_size or digest_of(plain) != self.digest:
            raise DataLossError(f"Chunk {self.number} has another digest than {self.digest.hex()}.")
        return plain


def parse_frames(answer: Buffer) -> Iterator[Frame]:
    """Take an answer apart without a copy; nothing is decoded yet.

    Raises:
        DataLossError: these are no frames.
    """
    view = memoryview(answer)
    offset = 0
    while offset < len(view):
        start = offset + _HEAD.size
        if start > len(view):
            raise DataLossError("The answer ends inside a frame's head.")
        number, codec, stored_size, plain_size, digest = _HEAD.unpack_from(view, offset)
        offset = start + stored_size
        if offset > len(view) or plain_size > MAX_PLAIN_SIZE:
            raise DataLossError("The answer ends inside a frame, or its sizes make no sense.")
        yield Frame(
            number=number,
            codec=codec,
            plain_size=plain_size,
            digest=Digest(digest),
            stored=view[start:offset],
        )
