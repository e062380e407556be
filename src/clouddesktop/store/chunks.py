"""The chunk store: packs in, verified chunks out. The catalogue says where a chunk lies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from clouddesktop.errors import DataLossError
from clouddesktop.ids import Digest, PackId
from clouddesktop.store.blobs import BlobStore
from clouddesktop.store.codec import Buffer, Codec, decode, digest_of
from clouddesktop.store.encryption import KeyRing, key_id_of
from clouddesktop.store.faults import BlobNotFoundError, ShortBlobError
from clouddesktop.store.packs import (
    MAX_STORED_SIZE,
    DamagedPackError,
    PackBuffer,
    PackEntry,
    PackWriter,
    read_table,
)

_PACKS = "packs"
_PACK_KEY = re.compile(rf"{_PACKS}(/[A-Za-z0-9][A-Za-z0-9._-]*){{2}}")

_READ_SIZE = 8 << 20
"""Bytes that one read takes at most, chunks of a larger size apart."""

_GAP_SIZE = 128 << 10
"""Bytes between two chunks that are rather read along than made into two reads."""


class DamagedChunkError(DataLossError):
    """A chunk's bytes are not those that its digest names."""

    reason = "DAMAGED_CHUNK"


class MissingPackError(DamagedChunkError):
    """The pack in which a chunk should lie is not in the store (any more)."""

    reason = "MISSING_PACK"


Piece = TypeVar("Piece")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkPlace:
    """Where a chunk lies."""

    pack_id: PackId
    entry: PackEntry


class ChunkStore:
    """Stores packs and reads chunks; thread-safe. `failpoint` is called at named places."""

    def __init__(
        self,
        blobs: BlobStore,
        *,
        keys: KeyRing | None = None,
        failpoint: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self._blobs = blobs
        self._keys = keys or KeyRing()
        self._failpoint = failpoint

    def waiting(self, check: Callable[[], None]) -> ChunkStore:
        """Give the same store for long work, as `BlobStore.waiting` does."""
        blobs = self._blobs.waiting(check)
        return ChunkStore(blobs, keys=self._keys, failpoint=self._failpoint)

    def new_pack(self, buffer: PackBuffer | None = None) -> PackWriter:
        """Begin a pack, in `buffer` if there is one; its chunks are sealed if there is a key."""
        return PackWriter(self._keys, buffer)

    def put_pack(self, pack_id: PackId, data: Buffer) -> None:
        """Store a finished pack; durable on return, and may be repeated with the same pack.

        Raises:
            StoreFullError: there is no room; nothing stayed.
        """
        self._failpoint("pack-put-before")
        self._blobs.put(_key_of(pack_id), data)
        self._failpoint("pack-put-after")

    def read_chunks(self, places: Sequence[ChunkPlace]) -> list[bytes]:
        """Read chunks, in the order asked; each is plain and has the digest that its place names.

        Chunks that lie near each other in a pack are read at once; one named twice is read once.
        Memory: the answer, and a read of 8 MiB.

        Raises:
            DamagedChunkError: one of them cannot be had; none is returned.
            MissingPackError: one of the packs is not there: the chunk may have moved meanwhile.
        """
        return self._read(places, self._verified)

    def read_stored(self, places: Sequence[ChunkPlace]) -> list[tuple[Codec, Buffer]]:
        """Read chunks, in the order asked, as a client can decode them; nothing is verified here.

        Memory and errors are those of `read_chunks`, save that damage shows to who decodes.
        """
        return self._read(places, self._opened)

    def read_key_ids(self, places: Sequence[ChunkPlace]) -> list[str]:
        """Tell by which keys chunks are sealed, in the order asked; nothing for those that aren't.

        Memory and errors are those of `read_chunks`.
        """
        return self._read(places, lambda place, stored: key_id_of(place.entry.codec, stored))

    def _read(
        self, places: Sequence[ChunkPlace], take: Callable[[ChunkPlace, memoryview], Piece]
    ) -> list[Piece]:
        pieces: dict[Digest, Piece] = {}
        for run in _group(places):
            for place, stored in self._read_run(run):
                pieces[place.entry.digest] = take(place, stored)
        return [pieces[place.entry.digest] for place in places]

    def read_table(self, pack_id: PackId) -> Sequence[PackEntry]:
        """Read a pack's own table of contents: what the chunk index is rebuilt from.

        Raises:
            DamagedPackError: it is not as it was written, or the pack is missing.
        """
        key = _key_of(pack_id)
        try:
            return read_table(
                lambda offset, length: self._blobs.get_range(key, offset=offset, length=length),
                size=self._blobs.size(key),
                name=pack_id,
            )
        except BlobNotFoundError as error:
            raise DamagedPackError(
                f"The pack {pack_id} is missing.",
                remedy="Restore it from a backup.",
                facts={"pack": pack_id},
            ) from error

    def iter_packs(self, prefix: str = "") -> Iterator[PackId]:
        """Go through the packs, or those whose ids begin with `prefix` and a slash, in no order."""
        below = f"{_PACKS}/{prefix}" if prefix else _PACKS
        for key in self._blobs.iter_keys(below):
            if _PACK_KEY.fullmatch(key):  # else it is somebody else's, such as a file manager's
                yield PackId(key.removeprefix(f"{_PACKS}/"))

    def pack_size(self, pack_id: PackId) -> int:
        """Give the size of a pack's blob in bytes, 0 if there is none."""
        try:
            return self._blobs.size(_key_of(pack_id))
        except BlobNotFoundError:
            return 0

    def delete_pack(self, pack_id: PackId) -> None:
        """Delete a pack, durably; one that is not there is fine."""
        self._blobs.delete(_key_of(pack_id))

    def _read_run(self, run: Sequence[ChunkPlace]) -> Iterator[tuple[ChunkPlace, memoryview]]:
        start = run[0].entry.offset
        length = max(place.entry.end for place in run) - start
        try:
            stored = self._blobs.get_range(_key_of(run[0].pack_id), offset=start, length=length)
        except BlobNotFoundError as error:
            raise _damaged(run[0], "the pack is missing", MissingPackError) from error
        except ShortBlobError as error:
            cut = next((each for each in run if each.entry.end > error.size), run[0])
            raise _damaged(cut, f"the pack ends after {error.size} bytes") from error
        for place in run:
            begin = place.entry.offset - start
            yield place, stored[begin : begin + place.entry.stored_size]

    def _opened(self, place: ChunkPlace, stored: Buffer) -> tuple[Codec, Buffer]:
        entry = place.entry
        try:
            return self._keys.open(
                entry.codec, stored, digest=entry.digest, plain_size=entry.plain_size
            )
        except DataLossError as error:
            raise _damaged(place, error.message.rstrip(".")) from error

    def _verified(self, place: ChunkPlace, stored: Buffer) -> bytes:
        codec, opened = self._opened(place, stored)
        try:
            plain = decode(codec, opened, place.entry.plain_size)
        except DataLossError as error:
            raise _damaged(place, error.message.rstrip(".")) from error
        if digest_of(plain) != place.entry.digest:
            raise _damaged(place, "its bytes have another digest")
        return plain


def _group(places: Iterable[ChunkPlace]) -> Iterator[list[ChunkPlace]]:
    """Sort places into runs, each of one pack and near enough for one read."""
    once = {place.entry.digest: place for place in places}
    run: list[ChunkPlace] = []
    for place in sorted(once.values(), key=lambda each: (each.pack_id, each.entry.offset)):
        if not (place.entry.offset >= 0 and 0 < place.entry.stored_size <= MAX_STORED_SIZE):
            raise _damaged(place, "its place makes no sense")
        if run and not _joins(run, place):
            yield run
            run = []
        run.append(place)
    if run:
        yield run


def _joins(run: Sequence[ChunkPlace], place: ChunkPlace) -> bool:
    first, last = run[0], run[-1]
    return (
        place.pack_id == last.pack_id
        and place.entry.offset - last.entry.end <= _GAP_SIZE
        and place.entry.end - first.entry.offset <= _READ_SIZE
    )


def _key_of(pack_id: PackId) -> str:
    return f"{_PACKS}/{pack_id}"


def _damaged(
    place: ChunkPlace, why: str, kind: type[DamagedChunkError] = DamagedChunkError
) -> DamagedChunkError:
    digest = place.entry.digest.hex()
    return kind(
        f"Chunk {digest} in pack {place.pack_id} is damaged: {why}.",
        remedy="Check the store's disk, and restore this pack from a backup.",
        facts={"chunk": digest, "pack": place.pack_id},
    )
