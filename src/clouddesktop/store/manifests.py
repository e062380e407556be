r"""Manifests as blobs, named by the BLAKE3-256 of their plain encoding; one encoding per content.

    blob      magic "CDMANIF\n", version u32, codec u32, plain size u64,
              BLAKE3-256 of these 24 bytes and of all that follows,
              the encoding, compressed or plain
    encoding  version u32, chunk size u32, disk size u64, chunks u64, runs u64,
              runs:    {first chunk u64, count u64}, ascending, never touching,
              digests: 32 bytes for each chunk of the runs, in their order

Numbers are little-endian. docs/store-format.md says the same for people who write a restorer.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import NamedTuple

from clouddesktop.errors import DataLossError, FailedPreconditionError
from clouddesktop.ids import DIGEST_SIZE, Digest
from clouddesktop.model.manifest import Manifest
from clouddesktop.store.blobs import BlobStore
from clouddesktop.store.codec import MAX_PLAIN_SIZE, Buffer, Codec, decode, digest_of, encode
from clouddesktop.store.encryption import KeyRing, key_id_of
from clouddesktop.store.faults import BlobConflictError, BlobNotFoundError

VERSION = 1
"""Of the encoding."""

BLOB_VERSION = 2
"""2 knows the sealed codecs; blobs without them are of version 1, which earlier releases read."""

_MAGIC = b"CDMANIF\n"
_BLOB = struct.Struct("<8sIIQ")
_HEAD = struct.Struct("<IIQQQ")
_RUN = struct.Struct("<QQ")
_NAME = re.compile(r"manifests/[0-9a-f]{2}/([0-9a-f]{64})(?:-([A-Za-z0-9._-]+))?")

Run = tuple[int, int]
"""The number of a first chunk, and how many follow each other from there."""


class DamagedManifestError(DataLossError):
    """A manifest is not as it was written, or is missing."""

    reason = "DAMAGED_MANIFEST"


class ManifestTooNewError(FailedPreconditionError):
    """A later version of clouddesktop has written this manifest."""

    reason = "MANIFEST_TOO_NEW"


class ChunkDigests(Mapping[int, Digest]):
    """Chunk numbers, ascending, to digests, in a fifth of the memory that a dict of them takes."""

    def __init__(self, runs: Sequence[Run], digests: Buffer) -> None:
        """Take runs, ascending and apart, and the digests of their chunks in one buffer."""
        self._runs = tuple(runs)
        self._firsts = [first for first, _ in self._runs]
        self._starts = [0, *accumulate(count for _, count in self._runs)]
        self._digests = memoryview(digests)

    def __getitem__(self, chunk: int) -> Digest:
        place = bisect_right(self._firsts, chunk) - 1
        if place < 0 or chunk - self._firsts[place] >= self._runs[place][1]:
            raise KeyError(chunk)
        start = (self._starts[place] + chunk - self._firsts[place]) * DIGEST_SIZE
        return Digest(bytes(self._digests[start : start + DIGEST_SIZE]))

    def __iter__(self) -> Iterator[int]:
        for first, count in self._runs:
            yield from range(first, first + count)

    def __len__(self) -> int:
        return self._starts[-1]

    def iter_digests(self) -> Iterator[Digest]:
        """Go through the digests in the order of the chunks, much faster than by `values`."""
        for start in range(0, len(self._digests), DIGEST_SIZE):
            yield Digest(bytes(self._digests[start : start + DIGEST_SIZE]))


class ManifestBlob(NamedTuple):
    """One of the blobs that hold a manifest; `writer` tells it from others of the same content."""

    digest: Digest
    writer: str


class ManifestStore:
    """Puts and gets manifests; thread-safe.

    Give each `put` a writer that no other has, and the blob's name is never used again: then a
    delete that comes late takes nothing away that somebody has stored since (docs/adr/0007).
    """

    def __init__(self, blobs: BlobStore, *, keys: KeyRing | None = None) -> None:
        self._blobs = blobs
        self._keys = keys or KeyRing()

    def waiting(self, check: Callable[[], None]) -> ManifestStore:
        """Give the same store for long work, as `BlobStore.waiting` does."""
        return ManifestStore(self._blobs.waiting(check), keys=self._keys)

    def put(self, manifest: Manifest, *, writer: str = "") -> Digest:
        """Store a manifest and give its address; durable on return, and may be repeated.

        A damaged one by the same writer is replaced.

        Raises:
            StoreFullError: there is no room; nothing stayed.
        """
        plain = encode_manifest(manifest)
        digest = digest_of(plain)
        key, blob = _key_of(ManifestBlob(digest, writer)), self._wrap(plain, digest)
        try:
            is_new = self._blobs.put(key, blob)
        except BlobConflictError:  # damaged, or compressed by another version of zstd
            is_new = False
        if not is_new and not self.is_whole(ManifestBlob(digest, writer)):
            self._blobs.delete(key)
            self._blobs.put(key, blob)
        return digest

    def get(self, digest: Digest, *, writer: str | None = None) -> Manifest:
        """Read a manifest; it is the one that the digest names. Any whole blob of it will do.

        That of `writer` is looked at first, which saves listing them.

        Raises:
            DamagedManifestError: it is not as it was written, or missing.
            ManifestTooNewError: it is of a later version.
        """
        if writer is not None:
            with suppress(DataLossError):
                return self._read(ManifestBlob(digest, writer))
        damage: DataLossError | None = None
        for blob in self._iter_blobs(_folder_of(digest)):
            if blob.digest == digest:
                try:
                    return self._read(blob)
                except DataLossError as error:
                    damage = error
        raise damage or _damaged(digest.hex(), "it is missing from the store")

    def is_whole(self, blob: ManifestBlob) -> bool:
        """Tell whether this blob is there and undamaged."""
        try:
            self._read(blob)
        except DataLossError:
            return False
        return True

    def iter_blobs(self) -> Iterator[ManifestBlob]:
        """Go through the blobs of all manifests, in no order; foreign names are passed over."""
        return self._iter_blobs("manifests")

    def size(self, blob: ManifestBlob) -> int:
        """Give the size of a blob in bytes, 0 if there is none."""
        try:
            return self._blobs.size(_key_of(blob))
        except BlobNotFoundError:
            return 0

    def delete(self, blob: ManifestBlob) -> None:
        """Delete a blob, durably; one that is not there is fine."""
        self._blobs.delete(_key_of(blob))

    def _iter_blobs(self, prefix: str) -> Iterator[ManifestBlob]:
        for key in self._blobs.iter_keys(prefix):
            name = _NAME.fullmatch(key)
            if name is not None:
                yield ManifestBlob(Digest(bytes.fromhex(name[1])), name[2] or "")

    def _read(self, blob: ManifestBlob) -> Manifest:
        name = blob.digest.hex()
        try:
            data = self._blobs.get(_key_of(blob))
        except BlobNotFoundError as error:
            raise _damaged(name, "it is missing from the store") from error
        plain = self._unwrap(data, digest=blob.digest)
        if digest_of(plain) != blob.digest:
            raise _damaged(name, "its content has another digest")
        return decode_manifest(plain, name=name)

    def key_id(self, blob: ManifestBlob) -> str:
        """Tell by which key a blob is sealed; nothing if it isn't, or is not there."""
        try:
            data = self._blobs.get(_key_of(blob))
        except BlobNotFoundError:
            return ""
        start = _BLOB.size + DIGEST_SIZE
        if len(data) < start or (codec := _BLOB.unpack_from(data)[2]) not in set(Codec):
            return ""
        return key_id_of(Codec(codec), data[start:])

    def _wrap(self, plain: bytes, digest: Digest) -> bytes:
        codec, stored = Codec.PLAIN, memoryview(plain)
        if len(plain) <= MAX_PLAIN_SIZE:  # decode's bound; digests hardly shrink, repeated ones do
            codec, encoded = encode(plain)
            stored = memoryview(encoded)
        codec, sealed = self._keys.seal(codec, stored, digest=digest, plain_size=len(plain))
        version = BLOB_VERSION if codec > Codec.ZSTD else 1
        head = _BLOB.pack(_MAGIC, version, codec, len(plain))
        return b"".join([head, digest_of(b"".join([head, sealed])), sealed])

    def _unwrap(self, blob: memoryview, *, digest: Digest) -> bytes:
        name = digest.hex()
        start = _BLOB.size + DIGEST_SIZE
        if len(blob) < start:
            raise _damaged(name, "it is too short")
        magic, version, number, plain_size = _BLOB.unpack_from(blob)
        if magic != _MAGIC:
            raise _damaged(name, "it does not begin as a manifest does")
        head, checksum, stored = blob[: _BLOB.size], bytes(blob[_BLOB.size : start]), blob[start:]
        if digest_of(b"".join([head, stored])) != checksum:
            raise _damaged(name, "it does not have the checksum that it was written with")
        _check_version(version, name, BLOB_VERSION)
        if number not in set(Codec) or (version == 1 and number > Codec.ZSTD):
            raise _damaged(name, "its size or its codec makes no sense")
        try:
            codec, opened = self._keys.open(
                Codec(number), stored, digest=digest, plain_size=plain_size
            )
            if codec is Codec.PLAIN and len(opened) == plain_size:
                return bytes(opened)
            if codec is Codec.PLAIN:
                raise _damaged(name, "its size or its codec makes no sense")
            return decode(codec, opened, plain_size)
        except DamagedManifestError:
            raise
        except DataLossError as error:
            raise _damaged(name, error.message.rstrip(".")) from error


def encode_manifest(manifest: Manifest) -> bytes:
    """Encode a manifest; the same content always gives the same bytes, in any order of its chunks.

    Raises:
        ValueError: a chunk is outside the disk, a digest has a wrong length, a size is impossible.
    """
    numbers = sorted(manifest.chunks)
    chunk_size = manifest.chunk_size
    if not 0 < chunk_size <= MAX_PLAIN_SIZE or manifest.size < 0:
        raise ValueError(f"A disk of {manifest.size} bytes in chunks of {chunk_size}.")
    most = _chunk_count(manifest.size, chunk_size)
    if numbers and not 0 <= numbers[0] <= numbers[-1] < most:
        raise ValueError(f"Chunks {numbers[0]} to {numbers[-1]} of a disk that has {most}.")
    digests = b"".join([manifest.chunks[number] for number in numbers])
    if len(digests) != len(numbers) * DIGEST_SIZE:
        raise ValueError("A digest has a wrong length.")
    runs = list(_runs_of(numbers))
    return b"".join(
        [
            _HEAD.pack(VERSION, chunk_size, manifest.size, len(numbers), len(runs)),
            *(_RUN.pack(*run) for run in runs),
            digests,
        ]
    )


def decode_manifest(plain: bytes, *, name: str = "manifest") -> Manifest:
    """Decode a manifest and check everything that it says; takes no copy of the digests.

    Raises:
        DamagedManifestError: these are not the bytes that `encode_manifest` gives for any manifest.
        ManifestTooNewError: it is of a later version.
    """
    if len(plain) < _HEAD.size:
        raise _damaged(name, "it is too short")
    version, chunk_size, size, chunk_count, run_count = _HEAD.unpack_from(plain)
    _check_version(version, name, VERSION)
    if version < VERSION:
        raise _damaged(name, f"no release has written version {version}")
    start = _HEAD.size + run_count * _RUN.size
    if len(plain) != start + chunk_count * DIGEST_SIZE or not 0 < chunk_size <= MAX_PLAIN_SIZE:
        raise _damaged(name, "its sizes do not fit")
    runs: list[Run] = list(_RUN.iter_unpack(memoryview(plain)[_HEAD.size : start]))
    after = -1  # the chunk before which no run may begin
    for first, count in runs:
        if first <= after or count < 1:
            raise _damaged(name, "its runs are out of order")
        after = first + count
    if sum(count for _, count in runs) != chunk_count:
        raise _damaged(name, "its runs and digests differ in number")
    if after > _chunk_count(size, chunk_size):
        raise _damaged(name, "it names chunks past the end of the disk")
    return Manifest(
        size=size, chunk_size=chunk_size, chunks=ChunkDigests(runs, memoryview(plain)[start:])
    )


def _runs_of(numbers: Iterable[int]) -> Iterator[Run]:
    first = after = -1
    for number in numbers:
        if number != after:
            if after > first:
                yield first, after - first
            first = number
        after = number + 1
    if after > first:
        yield first, after - first


def _chunk_count(size: int, chunk_size: int) -> int:
    return -(-size // chunk_size)


def _check_version(version: int, name: str, newest: int) -> None:
    if version > newest:
        raise ManifestTooNewError(
            f"The manifest {name} is of format version {version}; this release reads {newest}.",
            remedy="Use the release that has written it, or a later one.",
        )


def _folder_of(digest: Digest) -> str:
    return f"manifests/{digest.hex()[:2]}"


def _key_of(blob: ManifestBlob) -> str:
    suffix = f"-{blob.writer}" if blob.writer else ""
    return f"{_folder_of(blob.digest)}/{blob.digest.hex()}{suffix}"


def _damaged(name: str, why: str) -> DamagedManifestError:
    return DamagedManifestError(
        f"The manifest {name} is damaged: {why}.",
        remedy="Check the store's disk, and restore the manifest from a backup.",
        facts={"manifest": name},
    )
