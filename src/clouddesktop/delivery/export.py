"""Handing images out: random access to an image's bytes, verified on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import accumulate, islice
from typing import TypeVar

from clouddesktop.catalog.chunks import find_places
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.images import get_image
from clouddesktop.catalog.scrubbing import find_quarantined
from clouddesktop.errors import (
    DataLossError,
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
)
from clouddesktop.iam.access import Caller
from clouddesktop.ids import Digest
from clouddesktop.model.access import Resource
from clouddesktop.model.frame import MOST_FRAMES, MOST_SPAN, MOST_STORED_SIZE, Frame
from clouddesktop.model.image import ImageStatus
from clouddesktop.model.manifest import Extent, Manifest
from clouddesktop.model.roles import Permission
from clouddesktop.store.chunks import ChunkPlace, ChunkStore, MissingPackError
from clouddesktop.store.codec import Buffer, Codec
from clouddesktop.store.manifests import ManifestStore

_OPEN_MANIFESTS = 4
"""Manifests kept in memory: a client reads in many requests. One of a full 64 GiB takes 8 MiB."""

_ZEROS = memoryview(bytes(1 << 20))

Piece = TypeVar("Piece")


class ImageNotReadyError(FailedPreconditionError):
    """The image has no content to hand out: it is being made or deleted."""

    reason = "IMAGE_NOT_READY"


class MissingChunkError(DataLossError):
    """The chunk index does not know a chunk that a manifest names."""

    reason = "MISSING_CHUNK"


class QuarantinedChunkError(DataLossError):
    """A chunk of the image was found damaged, and could not be repaired so far."""

    reason = "QUARANTINED_CHUNK"


class ImageReader:
    """Random access to the bytes of one image; thread-safe, and without a buffer of its own."""

    def __init__(
        self,
        *,
        manifest: Manifest,
        places: Callable[[Sequence[Digest]], Mapping[Digest, ChunkPlace]],
        chunks: ChunkStore,
    ) -> None:
        self._manifest = manifest
        self._places = places
        self._chunks = chunks

    @property
    def size(self) -> int:
        """The disk's size in bytes."""
        return self._manifest.size

    @property
    def manifest(self) -> Manifest:
        return self._manifest

    @property
    def chunk_size(self) -> int:
        """Bytes of each chunk but the disk's last."""
        return self._manifest.chunk_size

    def iter_extents(self) -> Iterator[Extent]:
        """Go through the data, in whole chunks, neighbours as one; the rest of the disk is zero."""
        chunk_size = self._manifest.chunk_size
        first = after = 0
        for number in self._manifest.chunks:
            if number != after:
                if after > first:
                    yield self._extent(first * chunk_size, after * chunk_size)
                first = number
            after = number + 1
        if after > first:
            yield self._extent(first * chunk_size, after * chunk_size)

    def read(self, offset: int, length: int) -> bytes:
        """Read bytes of the disk, all or none; takes twice `length` of memory.

        Raises:
            DataLossError: a chunk is damaged or missing.
            ValueError: the bytes are not all inside the disk.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"{length} bytes at {offset} of a disk of {self.size} bytes")
        if not length:
            return b""
        chunk_size = self._manifest.chunk_size
        numbers = range(offset // chunk_size, -(-(offset + length) // chunk_size))
        plain = self._read_chunks(numbers)
        pieces: list[bytes | memoryview] = []
        for number in numbers:
            start = number * chunk_size
            begin = max(offset - start, 0)
            end = min(offset + length - start, chunk_size)
            if number in plain:
                pieces.append(memoryview(plain[number])[begin:end])
            else:
                pieces.extend(_zeros(end - begin))
        return b"".join(pieces)

    def read_frames(self, first: int, count: int) -> list[Frame]:
        """Read chunks `first` to `first + count - 1` as they are stored, for a client to verify.

        Chunks of zeros have no frame. Gives as many as an answer takes, one at least if there is
        one; who wants the rest asks again from behind the last. Takes 8 MiB of memory, and what
        stands repeatedly once.

        Raises:
            InvalidArgumentError: the numbers are out of bounds.
            DataLossError: a chunk is missing.
        """
        chunks = islice(self._iter_chunks(_checked_span(first, count)), MOST_FRAMES)
        wanted = dict(chunks)
        stored = self._read(list(dict.fromkeys(wanted.values())), self._read_first)
        frames: list[Frame] = []
        size = 0
        for number, digest in wanted.items():
            if digest not in stored:
                break
            codec, piece = stored[digest]
            size += len(piece)
            if frames and size > MOST_STORED_SIZE:
                break
            plain_size = self._manifest.length_of(number)
            frame = Frame(
                number=number, codec=int(codec), plain_size=plain_size, digest=digest, stored=piece
            )
            frames.append(frame)
        return frames

    def _read_first(self, places: Sequence[ChunkPlace]) -> list[tuple[Codec, Buffer]]:
        """Read as many of the chunks, in their order, as an answer takes; one at least."""
        sizes = accumulate(place.entry.stored_size for place in places)
        fitting = sum(1 for size in sizes if size <= MOST_STORED_SIZE)
        return self._chunks.read_stored(places[: max(fitting, 1)])

    def _read_chunks(self, numbers: range) -> dict[int, bytes]:
        wanted = dict(self._iter_chunks(numbers))
        plain = self._read(list(dict.fromkeys(wanted.values())), self._chunks.read_chunks)
        for number, digest in wanted.items():
            if len(plain[digest]) != self._manifest.length_of(number):
                raise DataLossError(
                    f"Chunk {digest.hex()} has {len(plain[digest])} bytes and stands for"
                    f" {self._manifest.length_of(number)}.",
                    facts={"chunk": digest.hex()},
                )
        return {number: plain[digest] for number, digest in wanted.items()}

    def _iter_chunks(self, numbers: range) -> Iterator[tuple[int, Digest]]:
        for number in numbers:
            digest = self._manifest.chunks.get(number)
            if digest is not None:
                yield number, digest

    def _read(
        self, digests: list[Digest], read: Callable[[Sequence[ChunkPlace]], list[Piece]]
    ) -> dict[Digest, Piece]:
        if not digests:
            return {}
        try:
            pieces = read(self._find_places(digests))
        except MissingPackError:
            # A collection moves chunks: the index knows the new place before the old pack goes.
            pieces = read(self._find_places(digests))
        return dict(zip(digests, pieces, strict=False))  # frames: the first ones only

    def _find_places(self, digests: list[Digest]) -> list[ChunkPlace]:
        places = self._places(digests)
        for digest in digests:
            if digest not in places:
                raise MissingChunkError(
                    f"The chunk index does not know chunk {digest.hex()}.",
                    remedy="Restore the database from a backup.",
                    facts={"chunk": digest.hex()},
                )
        return [places[each] for each in digests]

    def _extent(self, start: int, end: int) -> Extent:
        return Extent(offset=start, length=min(end, self.size) - start)


class Exports:
    """Opens readers by image id; thread-safe."""

    def __init__(self, *, database: Database, chunks: ChunkStore, manifests: ManifestStore) -> None:
        self._database = database
        self._chunks = chunks
        self._get_manifest = lru_cache(maxsize=_OPEN_MANIFESTS)(manifests.get)

    def open_image(self, image_id: str, *, caller: Caller | None = None) -> ImageReader:
        """Open an image for reading, on behalf of a caller or for the server's own use.

        Raises:
            NotFoundError: there is no such image, or none that the caller may see.
            PermissionDeniedError: the caller may not read what it holds.
            ImageNotReadyError: it is not ACTIVE.
            DataLossError: its manifest is damaged.
        """
        return ImageReader(
            manifest=self._get_manifest(self._get_content(image_id, caller)),
            places=partial(self._find_places, image_id),
            chunks=self._chunks,
        )

    def _get_content(self, image_id: str, caller: Caller | None = None) -> Digest:
        image = self._database.read(get_image, image_id)
        if caller is not None:
            resource = Resource.of_image(image_id, image.folder_id)
            caller.require(Permission.IMAGES_EXPORT, resource)
        if image.status is not ImageStatus.ACTIVE or image.manifest is None:
            raise ImageNotReadyError(
                f"Image {image_id} is {image.status.name} and cannot be read.",
                remedy="Wait until its operation is done.",
                facts={"resource_type": "Image", "resource_id": image_id},
            )
        return image.manifest

    def _find_places(self, image_id: str, digests: Sequence[Digest]) -> Mapping[Digest, ChunkPlace]:
        places = self._database.read(find_places, digests)
        unknown = [each for each in digests if each not in places]
        if not unknown:
            return places
        self._get_content(image_id)  # was it deleted and collected while it is read?
        quarantined = self._database.read(find_quarantined, unknown)
        for digest, why in quarantined.items():
            raise QuarantinedChunkError(
                f"Chunk {digest.hex()} of the image {image_id} is damaged: {why}",
                remedy="Copy the image again, or put the pack back from a backup; then scrub.",
                facts={"chunk": digest.hex(), "image": image_id},
            )
        return places


def _zeros(length: int) -> Iterator[memoryview]:
    while length > 0:
        yield _ZEROS[:length]
        length -= len(_ZEROS)


def _checked_span(first: int, count: int) -> range:
    if first < 0 or not 1 <= count <= MOST_SPAN:
        raise _bad_span(f"Value must be 1 to {MOST_SPAN}, and `first` 0 or more")
    return range(first, first + count)


def _bad_span(why: str) -> InvalidArgumentError:
    return InvalidArgumentError.of_fields([FieldViolation(field="count", description=why)])
