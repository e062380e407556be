r"""The pack format: an immutable blob of stored chunks that carries its own table of contents.

    offset       bytes
    0            16      header:  magic "CDPACK\r\n", version u32, 0 u32
    16                   the chunks' stored bytes, back to back, in the order of the table
    table        52 each table:   digest 32 bytes, offset u64, stored size u32, plain size u32,
                                  codec u32
    size - 56    56      footer:  table's offset u64, entries u32, version u32,
                                  BLAKE3-256 of header + table + the 16 footer bytes before it,
                                  magic "CDPACKED"

Numbers are little-endian. The magics, the footer's size and the places of both versions stay as
they are in every version. docs/store-format.md says the same for people who write a restorer.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clouddesktop.direct import aligned_memory
from clouddesktop.errors import DataLossError, FailedPreconditionError
from clouddesktop.ids import Digest
from clouddesktop.store.codec import MAX_PLAIN_SIZE, Buffer, Codec, digest_of
from clouddesktop.store.encryption import SEAL_OVERHEAD, KeyRing

VERSION = 2
"""2 knows the sealed codecs; packs without them are of version 1, which earlier releases read."""

_PLAIN_VERSION = 1
MAX_STORED_SIZE = MAX_PLAIN_SIZE + SEAL_OVERHEAD

_HEADER = struct.Struct("<8sII")
_ENTRY = struct.Struct("<32sQIII")
_PLACE = struct.Struct("<QII")
_FOOTER = struct.Struct("<16s32s8s")
_HEADER_MAGIC = b"CDPACK\r\n"  # the line end shows a transfer that "corrects" text
_FOOTER_MAGIC = b"CDPACKED"

_TAIL_SIZE = 16 << 10
"""Bytes read first from a pack's end: they hold the table of 300 chunks; packs have about 256."""

_FIRST_BUFFER = 64 << 20
"""More than a range's pack takes. What is not written to takes no memory, and a buffer that grows
has its bytes copied, while no other thread runs."""

_MAX_ENTRIES = 1 << 20
"""A table of 52 MiB; ours are of some hundred entries."""


def overhead_of(entries: int) -> int:
    """Give the bytes that a pack with so many chunks takes beside their stored bytes."""
    return _HEADER.size + _FOOTER.size + entries * _ENTRY.size


class DamagedPackError(DataLossError):
    """A pack's table of contents cannot be trusted."""

    reason = "DAMAGED_PACK"


class PackTooNewError(FailedPreconditionError):
    """A later version of clouddesktop has written this pack."""

    reason = "PACK_TOO_NEW"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackEntry:
    """One chunk in a pack: `stored_size` bytes at `offset`, which decode to `plain_size` bytes."""

    digest: Digest
    codec: Codec
    offset: int
    stored_size: int
    plain_size: int

    @property
    def end(self) -> int:
        return self.offset + self.stored_size


class PackBuffer:
    """Memory that grows, for one pack at a time; it begins at a page, as direct writes need it.

    Whoever writes many packs keeps it: pages that the system gives anew cost more than the copy.
    """

    def __init__(self) -> None:
        self._memory = aligned_memory(_FIRST_BUFFER)

    def put(self, offset: int, data: Buffer) -> int:
        """Copy bytes to an offset; gives the offset after them."""
        end = offset + len(data)
        if end > len(self._memory):
            larger = aligned_memory(max(end, 2 * len(self._memory)))
            larger[:offset] = memoryview(self._memory)[:offset]
            self._memory = larger
        self._memory[offset:end] = data
        return end

    def view(self, end: int) -> memoryview:
        """Give the bytes up to an offset, read-only and not copied."""
        return memoryview(self._memory)[:end].toreadonly()


class PackWriter:
    """Puts a pack together in memory; `keys` seal what goes into it."""

    def __init__(self, keys: KeyRing | None = None, buffer: PackBuffer | None = None) -> None:
        """Use `buffer` until the pack is stored, or one of its own."""
        self._keys = keys or KeyRing()
        self._buffer = buffer or PackBuffer()
        self._entries: list[PackEntry] = []
        self._size = _HEADER.size
        self._is_finished = False

    @property
    def size(self) -> int:
        """The pack's size in bytes, without its table until it is finished."""
        return self._size

    @property
    def is_empty(self) -> bool:
        return not self._entries

    def add(self, digest: Digest, codec: Codec, stored: Buffer, plain_size: int) -> None:
        """Append one chunk; `stored` is copied, so its buffer may be used again.

        It is sealed on the way if there is a key and it is not sealed already.
        """
        if self._is_finished:
            raise RuntimeError("The pack is finished.")
        codec, stored = self._keys.seal(codec, stored, digest=digest, plain_size=plain_size)
        stored_size = len(stored)
        if not (0 < stored_size <= MAX_STORED_SIZE and 0 < plain_size <= MAX_PLAIN_SIZE):
            raise ValueError(f"A chunk of {plain_size} bytes, stored as {stored_size}.")
        self._entries.append(
            PackEntry(
                digest=digest,
                codec=codec,
                offset=self._size,
                stored_size=stored_size,
                plain_size=plain_size,
            )
        )
        self._size = self._buffer.put(self._size, stored)

    def finish(self) -> tuple[Sequence[PackEntry], Buffer]:
        """Append the table and hand the pack over; the writer keeps nothing of it.

        The answer is a read-only view of the writer's buffer: a pack is never copied.
        """
        if self._is_finished:
            raise RuntimeError("The pack is finished.")
        table = b"".join(
            _ENTRY.pack(each.digest, each.offset, each.stored_size, each.plain_size, each.codec)
            for each in self._entries
        )
        is_sealed = any(each.codec not in {Codec.PLAIN, Codec.ZSTD} for each in self._entries)
        version = VERSION if is_sealed else _PLAIN_VERSION
        header = _HEADER.pack(_HEADER_MAGIC, version, 0)
        place = _PLACE.pack(self._size, len(self._entries), version)
        footer = _FOOTER.pack(place, digest_of(header + table + place), _FOOTER_MAGIC)
        self._buffer.put(0, header)
        self._size = self._buffer.put(self._size, table + footer)
        self._is_finished = True
        return tuple(self._entries), self._buffer.view(self._size)


def read_table(
    fetch: Callable[[int, int], Buffer], *, size: int, name: str = "pack"
) -> tuple[PackEntry, ...]:
    """Read and verify a pack's table of contents, in two or three reads whatever the pack's size.

    Args:
        fetch: gives the bytes at an offset, of a length; never asked past `size`.
        size: the pack's size in bytes.
        name: what to call the pack in errors.

    Raises:
        DamagedPackError: header, table or footer are not as they were written.
        PackTooNewError: the pack is of a later version.
    """
    if size < _HEADER.size + _FOOTER.size:
        raise _damaged(name, f"it has {size} bytes, fewer than an empty one")
    header = bytes(fetch(0, _HEADER.size))
    tail_start = max(size - _TAIL_SIZE, _HEADER.size)
    tail = bytes(fetch(tail_start, size - tail_start))
    place, checksum, magic = _FOOTER.unpack(tail[-_FOOTER.size :])
    table_offset, count, version = _PLACE.unpack(place)
    header_magic, header_version, _ = _HEADER.unpack(header)
    if header_magic != _HEADER_MAGIC or magic != _FOOTER_MAGIC or header_version != version:
        raise _damaged(name, "its header or footer is not that of a pack")
    if version < _PLAIN_VERSION:
        raise _damaged(name, f"no release has written its version, {version}")
    if version > VERSION:
        raise PackTooNewError(
            f"The pack {name} is of format version {version}; this release reads {VERSION}.",
            remedy="Use the release that has written it, or a later one.",
        )
    table_size = count * _ENTRY.size
    if count > _MAX_ENTRIES or table_offset + table_size + _FOOTER.size != size:
        raise _damaged(name, "its table is not where the footer says")
    if table_offset >= tail_start:
        table = tail[table_offset - tail_start : -_FOOTER.size]
    else:
        table = bytes(fetch(table_offset, table_size))
    if digest_of(header + table + place) != checksum:
        raise _damaged(name, "its table does not have the checksum that it was written with")
    return _parse_table(table, end=table_offset, version=version, name=name)


def _parse_table(table: bytes, *, end: int, version: int, name: str) -> tuple[PackEntry, ...]:
    entries: list[PackEntry] = []
    offset = _HEADER.size
    for digest, entry_offset, stored_size, plain_size, codec in _ENTRY.iter_unpack(table):
        if (
            entry_offset != offset
            or codec not in Codec._value2member_map_
            or (version < VERSION and codec > Codec.ZSTD)
            or not 0 < stored_size <= MAX_STORED_SIZE
            or not 0 < plain_size <= MAX_PLAIN_SIZE
        ):
            raise _damaged(name, f"entry {len(entries)} of its table makes no sense")
        entries.append(
            PackEntry(
                digest=Digest(digest),
                codec=Codec(codec),
                offset=entry_offset,
                stored_size=stored_size,
                plain_size=plain_size,
            )
        )
        offset += stored_size
    if offset != end:
        raise _damaged(name, "its chunks do not end where the table begins")
    return tuple(entries)


def _damaged(name: str, why: str) -> DamagedPackError:
    return DamagedPackError(
        f"The pack {name} is damaged: {why}.",
        remedy="Check the store's disk, and restore this pack from a backup.",
        facts={"pack": name},
    )
