"""Digests, zero tests and compression of chunks: pure functions for threads.

Hashing and compression let other threads run: they hold no interpreter lock while they work.
"""

from __future__ import annotations

import threading
from enum import IntEnum

import zstandard

from clouddesktop.content import MAX_PLAIN_SIZE, Buffer, decompress, digest_of
from clouddesktop.errors import DataLossError

__all__ = ["MAX_PLAIN_SIZE", "Buffer", "Codec", "decode", "digest_of", "encode", "is_zero"]

_LEVEL = 1
"""Level 3 stores 6 % less of a system's files in 1.6 times the time (benchmarks/codec.py)."""

_WORTHWHILE = 0.97
"""Compressed bytes above this share of the plain ones aren't worth decompressing at each read."""

_ZEROS = bytes(1 << 20)


class Codec(IntEnum):
    """How the stored bytes of a chunk come from its plain ones; numbers are part of the format."""

    PLAIN = 0
    ZSTD = 1
    SEALED_PLAIN = 2  # the same, encrypted (encryption.py)
    SEALED_ZSTD = 3


class _Contexts(threading.local):
    """A thread's own context: zstd allows no sharing, and making one costs more than using it."""

    def __init__(self) -> None:
        # No checksum: the digest of the plain bytes covers more. The size lets decode refuse early.
        self.compressor = zstandard.ZstdCompressor(
            level=_LEVEL, write_checksum=False, write_content_size=True, write_dict_id=False
        )


_contexts = _Contexts()


def is_zero(plain: Buffer) -> bool:
    """Tell whether all bytes are zero; an empty buffer is."""
    view = memoryview(plain)
    # startswith compares by memcmp, ten times faster than comparing memoryviews.
    return all(
        _ZEROS.startswith(view[start : start + len(_ZEROS)])
        for start in range(0, len(view), len(_ZEROS))
    )


def encode(plain: Buffer) -> tuple[Codec, Buffer]:
    """Compress a chunk; what doesn't shrink comes back as PLAIN, and is `plain` itself, no copy."""
    compressed = _contexts.compressor.compress(plain)
    if len(compressed) >= len(plain) * _WORTHWHILE:
        return Codec.PLAIN, plain
    return Codec.ZSTD, compressed


def decode(codec: Codec, stored: Buffer, plain_size: int) -> bytes:
    """Undo `encode`. The caller compares the digest: only that says whether the bytes are right.

    Takes no more memory than `plain_size`, whatever the stored bytes say.

    Raises:
        DataLossError: the stored bytes don't make exactly `plain_size` bytes.
    """
    if not 0 <= plain_size <= MAX_PLAIN_SIZE:
        raise DataLossError(f"A size of {plain_size} bytes is out of bounds.")
    if codec is Codec.PLAIN:
        if len(stored) != plain_size:
            raise DataLossError(f"There are {len(stored)} bytes instead of {plain_size}.")
        return bytes(stored)
    if codec is not Codec.ZSTD:
        raise DataLossError("The bytes are encrypted.")
    return decompress(stored, plain_size)
