"""Digests and compressed bytes, as both ends of a transfer need them: pure functions for threads.

A client checks what it gets by the same functions that the store is read with.
"""

from __future__ import annotations

import threading

import zstandard
from blake3 import blake3

from clouddesktop.errors import DataLossError
from clouddesktop.ids import Digest

Buffer = bytes | bytearray | memoryview
"""Bytes that are handed on without a copy; memoryviews are of single bytes."""

MAX_PLAIN_SIZE = 64 << 20
"""Bytes of a chunk at most: what bounds the memory that a damaged figure can ask for."""

_UNUSED_BIT = 0x10
"""The bit of a frame's descriptor that decoders ignore (RFC 8878, 3.1.1.1.1.3)."""


class _Contexts(threading.local):
    """A thread's own context: zstd allows no sharing, and making one costs more than using it."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def digest_of(plain: Buffer) -> Digest:
    """Hash plain bytes to their address in the store."""
    return Digest(blake3(plain).digest())


def decompress(stored: Buffer, plain_size: int) -> bytes:
    """Decode one zstd frame, which states its content's size, with nothing after it.

    Takes no more memory than `plain_size`, whatever the frame says.

    Raises:
        DataLossError: it does not make exactly `plain_size` bytes, which are at most 64 MiB.
    """
    if not 0 <= plain_size <= MAX_PLAIN_SIZE:
        raise DataLossError(f"A size of {plain_size} bytes is out of bounds.")
    try:
        # Checked first because decompress() takes the frame's word for how much memory to get.
        frame_size = zstandard.frame_content_size(stored)
        if frame_size != plain_size or stored[4] & _UNUSED_BIT:
            raise DataLossError(f"The compressed bytes don't make {plain_size} bytes.")
        plain: bytes = _contexts.decompressor.decompress(
            stored, max_output_size=plain_size, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise DataLossError(f"The compressed bytes are damaged: {error}.") from error
    if len(plain) != plain_size:
        raise DataLossError(f"The compressed bytes don't make {plain_size} bytes.")
    return plain
