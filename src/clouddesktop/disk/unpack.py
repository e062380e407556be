"""Compressed files (gzip, xz, zstd, bzip2), unpacked once, as a stream, into a spool file.

What comes out is not trusted to be of any size: its bytes, those of them that take space, the time
that they take and the memory of the decoders are bounded. One level is unpacked; what is inside is
data to the caller.
"""

from __future__ import annotations

import bz2
import lzma
import re
import time
import zlib
from collections.abc import Callable
from typing import Protocol

import zstandard

from clouddesktop.disk.errors import DamagedDiskError, DiskBombError, UnsupportedDiskError
from clouddesktop.disk.file import DiskFile, LocalFile
from clouddesktop.disk.spool import SpoolFile
from clouddesktop.disk.structure import MAX_DISK_SIZE, unsupported

_PIECE_SIZE = 1 << 20
_XZ_MEMORY = 256 << 20
_ZSTD_WINDOW = 128 << 20
_GZIP_WBITS = 31  # zlib's word for a gzip header and checksum (RFC 1952)

_FREE_STORED = 4 << 30
_MOST_RATIO = 2000
"""Past 4 GiB the bytes that take space need a file of that part of their size. Zeros are holes and
take none: an empty disk of 64 GiB is 2 MiB of zstd, and as good as any."""

_FREE_SECONDS = 1200.0
_SECONDS_PER_MIB = 5.0
"""What zeros do take is time. It is a processor's own, so that neither a busy machine nor a slow
source counts: 20 minutes, and 5 seconds for each MiB of the file that was read, of which honest
data need a tenth. That is enough for zeros of half a TiB (bzip2) to nine (zstd)."""

MAGICS = {
    b"\x1f\x8b\x08": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
}
"""What a compressed file begins with (RFC 1952, .xz file format 1.1, RFC 8878, bzip2)."""

_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
"""What a zstd file may begin with, too: a frame of somebody's own (RFC 8878, 3.1.2)."""

_ENDINGS = (".gz", ".xz", ".zst", ".bz2")


class _Decoder(Protocol):
    """One member of a stream: the form that zlib, lzma and bz2 share."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decode(self, data: bytes, most: int) -> bytes:
        """Take more input (none: go on with what is left), give up to `most` bytes."""

    @property
    def needs_input(self) -> bool: ...


def find_compression(file: DiskFile) -> str | None:
    """Tell how a file is compressed, by its first bytes."""
    head = file.read_at(0, max(map(len, MAGICS)))
    if _SKIPPABLE.match(head):
        return "zstd"
    return next((name for magic, name in MAGICS.items() if head.startswith(magic)), None)


def name_without_ending(name: str) -> str:
    """Give the name of what is in a compressed file."""
    ending = next((each for each in _ENDINGS if name.lower().endswith(each)), "")
    return name[: len(name) - len(ending)]


def unpack(file: DiskFile, compression: str, spool_file: SpoolFile) -> LocalFile:
    """Unpack a whole file into the spool.

    Raises:
        DamagedDiskError: it is truncated, damaged, or goes on after its end.
        UnsupportedDiskError: unpacking it takes too much memory.
        DiskBombError: far more comes out than such a file should hold.
        SpoolFullError: there is no room.
        SpoolClosedError, and what the spool file's `check_alive` raises: it was stopped.
    """
    bounds = _Bounds(file, spool_file)
    done = 0
    decoder: _Decoder | None = None
    rest = b""
    position = 0
    while True:
        if not rest and position < file.size and (decoder is None or decoder.needs_input):
            rest = file.read_at(position, _PIECE_SIZE)
            position += len(rest)
        if decoder is None:
            rest = _skip_padding(rest, compression, is_first=done == 0 and position == len(rest))
            if not rest and position >= file.size:
                return spool_file.finish()
            if not rest:
                spool_file.write(b"")  # raises when it was stopped
                bounds.check(done=done, position=position)
                continue
            decoder = _DECODERS[compression]()
        if not rest and decoder.needs_input:
            raise _damaged(file, "it ends too early")
        try:
            plain = decoder.decode(rest, _PIECE_SIZE)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, zstandard.ZstdError) as error:
            raise _explain(file, compression, error) from error
        rest = b""
        spool_file.write(plain)
        done += len(plain)
        bounds.check(done=done, position=position)
        if decoder.eof:
            rest = decoder.unused_data
            decoder = None


def _skip_padding(rest: bytes, compression: str, *, is_first: bool) -> bytes:
    """Leave out the zeros that writers put between and after members (not for zstd)."""
    if is_first or compression == "zstd":
        return rest
    return rest.lstrip(b"\0")


class _Bounds:
    """How much may come out of a file."""

    def __init__(self, file: DiskFile, spool_file: SpoolFile) -> None:
        self._file = file
        self._spool_file = spool_file
        self._most_stored = max(_FREE_STORED, file.size * _MOST_RATIO)
        self._began = time.thread_time()

    def check(self, *, done: int, position: int) -> None:
        """Look at what `done` bytes out of the first `position` of the file have cost.

        Raises:
            DiskBombError: it is too much.
        """
        if done > MAX_DISK_SIZE:
            raise self._bomb(f"unpacks to more than {MAX_DISK_SIZE >> 40} TiB")
        if self._spool_file.used > self._most_stored:
            raise self._bomb(
                f"of {self._file.size} bytes unpacks to more than {self._most_stored} that are not "
                "zero"
            )
        seconds = time.thread_time() - self._began
        if seconds > _FREE_SECONDS + _SECONDS_PER_MIB * (position >> 20):
            raise self._bomb(
                f"unpacks too slowly: after {seconds:.0f} s, {position} of its {self._file.size} "
                f"bytes have given {done}"
            )

    def _bomb(self, what: str) -> DiskBombError:
        return DiskBombError(
            f"The file {self._file.name} {what}.",
            remedy="If it is what it should be, unpack it yourself and copy that.",
            facts={"file": self._file.name, "size": str(self._file.size)},
        )


def _explain(
    file: DiskFile, compression: str, error: Exception
) -> DamagedDiskError | UnsupportedDiskError:
    """Tell a decoder that may not have the memory it wants from one that meets damage."""
    text = str(error)
    if compression == "xz" and "Memory usage limit" in text:  # LZMA_MEMLIMIT_ERROR
        return unsupported(
            file,
            f"needs more than {_XZ_MEMORY >> 20} MiB of memory to be unpacked",
            remedy="Compress it again with a smaller dictionary: `xz -6`, or `xz -9` at most.",
        )
    if compression == "zstd" and "too much memory" in text:  # frameParameter_windowTooLarge
        return unsupported(
            file,
            f"has a window of more than {_ZSTD_WINDOW >> 20} MiB",
            remedy="Compress it again with a smaller window: `zstd`, or `zstd --long=27` at most.",
        )
    return _damaged(file, text.rstrip("."))


def _damaged(file: DiskFile, why: str) -> DamagedDiskError:
    return DamagedDiskError(
        f"The file {file.name} cannot be unpacked: {why}.",
        remedy="Copy or download the file again.",
        facts={"file": file.name},
    )


class _Zlib:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_GZIP_WBITS)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decode(self, data: bytes, most: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, most)


class _Buffered:
    """lzma's and bz2's decoders, which keep the input they have not used yet."""

    def __init__(self, inner: lzma.LZMADecompressor | bz2.BZ2Decompressor) -> None:
        self._inner = inner

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return self._inner.needs_input

    def decode(self, data: bytes, most: int) -> bytes:
        return self._inner.decompress(data, most)


class _Zstd:
    """zstandard's decoder gives all that an input makes, so it gets little at a time.

    512 bytes make 16 MiB at most: blocks of one repeated byte take 4 (RFC 8878, 3.1.1.2).
    """

    _STEP = 512

    def __init__(self) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._inner = decompressor.decompressobj()
        self._input = memoryview(b"")

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data + bytes(self._input)

    @property
    def needs_input(self) -> bool:
        return not self._input

    def decode(self, data: bytes, most: int) -> bytes:
        if data:
            self._input = memoryview(data)  # only asked for once the last piece is used up
        plain: list[bytes] = []
        size = 0
        while self._input and size < most and not self._inner.eof:
            step, self._input = self._input[: self._STEP], self._input[self._STEP :]
            plain.append(self._inner.decompress(step))
            size += len(plain[-1])
        return b"".join(plain)


_DECODERS: dict[str, Callable[[], _Decoder]] = {
    "gzip": _Zlib,
    "xz": lambda: _Buffered(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)),
    "zstd": _Zstd,
    "bzip2": lambda: _Buffered(bz2.BZ2Decompressor()),
}
