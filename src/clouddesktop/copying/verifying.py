"""Comparing a source's file, all of it, with the checksum that somebody gave for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

import structlog

from clouddesktop.disk.file import DiskFile
from clouddesktop.errors import DataLossError
from clouddesktop.model.checksum import Checksum

_PIECE_SIZE = 4 << 20
_ZEROS = bytes(1 << 20)

_log = structlog.get_logger(__name__)


class ChecksumMismatchError(DataLossError):
    """The file's bytes do not have the checksum that was given for them; nothing was published."""

    reason = "CHECKSUM_MISMATCH"


class _Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...


def verify_checksum(file: DiskFile, expected: Checksum, *, check_alive: Callable[[], None]) -> None:
    """Hash the whole file and compare; `check_alive` is called between pieces and may raise.

    Raises:
        ChecksumMismatchError: the digests differ.
        CloudDesktopError: the file cannot be read.
    """
    if expected.algorithm == "md5":
        _log.warning("md5 shows damage, and no forgery", file=file.name)
    found = hashlib.new(expected.algorithm, usedforsecurity=False)
    position = 0
    buffer = bytearray(_PIECE_SIZE)
    for extent in file.iter_extents():
        _feed_zeros(found, extent.offset - position)
        for offset in range(extent.offset, extent.end, _PIECE_SIZE):
            check_alive()
            piece = memoryview(buffer)[: min(_PIECE_SIZE, extent.end - offset)]
            file.read_into(offset, piece)
            found.update(piece)
        position = extent.end
    _feed_zeros(found, file.size - position)
    if found.hexdigest() != expected.digest:
        raise ChecksumMismatchError(
            f"The file {file.name} has the {expected.algorithm} {found.hexdigest()}, and should "
            f"have {expected.digest}.",
            remedy="Copy or download the file again, and see where the checksum comes from.",
            facts={
                "file": file.name,
                "algorithm": expected.algorithm,
                "digest": found.hexdigest(),
                "expected_digest": expected.digest,
            },
        )


def _feed_zeros(found: _Hash, count: int) -> None:
    while count > 0:
        found.update(memoryview(_ZEROS)[:count])
        count -= len(_ZEROS)
