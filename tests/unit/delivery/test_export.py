"""Reading images back, without a database."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import add_cloud, add_folder
from clouddesktop.catalog.images import add_image
from clouddesktop.catalog.tables import images, manifests
from clouddesktop.delivery import export
from clouddesktop.delivery.export import Exports, ImageNotReadyError, ImageReader, MissingChunkError
from clouddesktop.errors import DataLossError, InvalidArgumentError, NotFoundError
from clouddesktop.ids import Digest, PackId
from clouddesktop.model.folder import Cloud, Folder
from clouddesktop.model.frame import MOST_SPAN, parse_frames
from clouddesktop.model.image import Image, ImageStatus
from clouddesktop.model.manifest import Extent, Manifest
from clouddesktop.store.blobs import BlobStore
from clouddesktop.store.chunks import (
    ChunkPlace,
    ChunkStore,
    DamagedChunkError,
    MissingPackError,
)
from clouddesktop.store.codec import digest_of, encode, is_zero
from clouddesktop.store.manifests import ManifestStore
from clouddesktop.store.packs import PackWriter

CHUNK = 1024
PACK = PackId("e3o1/000000-1-1")


class StoredImage:
    """A disk that is stored in one pack, and the index that leads to it."""

    def __init__(self, disk: bytes) -> None:
        self.backing = MemoryStore()
        self.places: dict[Digest, ChunkPlace] = {}
        self.queries: list[Sequence[Digest]] = []
        self._chunks = ChunkStore(BlobStore(self.backing, name="memory"))
        content: dict[int, Digest] = {}
        writer = PackWriter()
        for number in range(-(-len(disk) // CHUNK)):
            plain = disk[number * CHUNK : (number + 1) * CHUNK]
            if is_zero(plain):
                continue
            digest = digest_of(plain)
            if digest not in content.values():
                codec, stored = encode(plain)
                writer.add(digest, codec, stored, len(plain))
            content[number] = digest
        self.manifest = Manifest(size=len(disk), chunk_size=CHUNK, chunks=content)
        entries, data = writer.finish()
        self._chunks.put_pack(PACK, data)
        self.places = {each.digest: ChunkPlace(pack_id=PACK, entry=each) for each in entries}

    def find_places(self, digests: Sequence[Digest]) -> Mapping[Digest, ChunkPlace]:
        self.queries.append(digests)
        return {digest: self.places[digest] for digest in digests if digest in self.places}

    def reader(self, manifest: Manifest | None = None) -> ImageReader:
        return ImageReader(
            manifest=manifest or self.manifest, places=self.find_places, chunks=self._chunks
        )


@st.composite
def disks(draw: st.DrawFn) -> bytes:
    """Draw disks of holes, patterns and noise, often repeated, with any tail."""
    kinds = {
        "zero": bytes(CHUNK),
        "text": (b"clouddesktop " * CHUNK)[:CHUNK],
        "noise": random.Random(1).randbytes(CHUNK),  # noqa: S311  (test data)
        "edge": bytes(CHUNK - 1) + b"x",
    }
    layout = draw(st.lists(st.sampled_from(sorted(kinds)), max_size=12))
    return b"".join(kinds[kind] for kind in layout) + draw(st.binary(max_size=CHUNK - 1))


@given(disk=disks(), data=st.data())
def test_any_range_reads_as_the_disk(disk: bytes, data: st.DataObject) -> None:
    """Aligned or not, across holes and the short last chunk."""
    reader = StoredImage(disk).reader()
    assert reader.size == len(disk)
    assert reader.read(0, len(disk)) == disk
    offset = data.draw(st.integers(0, len(disk)))
    length = data.draw(st.integers(0, len(disk) - offset))
    assert reader.read(offset, length) == disk[offset : offset + length]


@given(disk=disks())
def test_extents_are_the_data(disk: bytes) -> None:
    """Ascending, apart, inside the disk; all the rest is zero, and all of theirs is not."""
    extents = list(StoredImage(disk).reader().iter_extents())
    rebuilt = bytearray(len(disk))
    before = -1
    for extent in extents:
        assert before < extent.offset < extent.end <= len(disk)
        assert extent.offset % CHUNK == 0
        rebuilt[extent.offset : extent.end] = disk[extent.offset : extent.end]
        before = extent.end
        for start in range(extent.offset, extent.end, CHUNK):
            assert not is_zero(disk[start : start + CHUNK])
    assert rebuilt == disk


def test_neighbours_are_one_extent() -> None:
    """The last one ends with the disk, not with its chunk."""
    data, hole = b"x" * CHUNK, bytes(CHUNK)
    reader = StoredImage(data * 2 + hole + data + b"tail").reader()
    assert list(reader.iter_extents()) == [
        Extent(offset=0, length=2 * CHUNK),
        Extent(offset=3 * CHUNK, length=CHUNK + 4),
    ]


def test_holes_ask_nobody_and_repeated_chunks_once() -> None:
    """The index is asked once for a read, and each digest is in the question once."""
    image = StoredImage(bytes(CHUNK * 5) + b"x" * CHUNK * 4)
    reader = image.reader()
    reader.read(0, CHUNK * 5)
    assert image.queries == []
    reader.read(CHUNK * 3, CHUNK * 5)
    assert image.queries == [[digest_of(b"x" * CHUNK)]]


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (0, 11), (10, 1), (11, 0)])
def test_reads_outside_the_disk_are_refused(offset: int, length: int) -> None:
    """Whoever asks is mistaken."""
    with pytest.raises(ValueError, match="disk of 10 bytes"):
        StoredImage(b"x" * 10).reader().read(offset, length)


def test_many_threads_read_one_image() -> None:
    """A reader has no position."""
    disk = random.Random(2).randbytes(CHUNK * 50 + 7)  # noqa: S311  (test data)
    reader = StoredImage(disk).reader()
    with ThreadPoolExecutor(8) as threads:
        pieces = threads.map(
            lambda start: reader.read(start, min(777, len(disk) - start)), range(0, len(disk), 777)
        )
        assert b"".join(pieces) == disk


def test_damage_is_no_bytes() -> None:
    """A damaged chunk fails the reads that need it, and no others."""
    image = StoredImage(random.Random(3).randbytes(CHUNK * 3))  # noqa: S311  (test data)
    whole = image.reader().read(0, CHUNK)
    pack = bytearray(image.backing.get(f"packs/{PACK}").bytes())
    pack[image.places[image.manifest.chunks[1]].entry.offset + 5] ^= 1
    image.backing.put(f"packs/{PACK}", bytes(pack))
    assert image.reader().read(0, CHUNK) == whole
    with pytest.raises(DamagedChunkError):
        image.reader().read(CHUNK - 1, 2)


@given(disk=disks(), data=st.data())
def test_frames_are_the_chunks_of_the_disk(disk: bytes, data: st.DataObject) -> None:
    """On the wire and back again, answer by answer; chunks of zeros have none."""
    reader = StoredImage(disk).reader()
    first = start = data.draw(st.integers(0, 14))
    end = first + data.draw(st.integers(1, MOST_SPAN))
    most_frames = data.draw(st.sampled_from([1, 2, 64]))
    most_size = data.draw(st.sampled_from([1, CHUNK, CHUNK * 3, 1 << 20]))
    written = bytearray(len(disk))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "MOST_FRAMES", most_frames)
        patch.setattr(export, "MOST_STORED_SIZE", most_size)
        while start < end and (frames := reader.read_frames(start, end - start)):
            assert len(frames) <= most_frames
            assert len(frames) == 1 or sum(len(each.stored) for each in frames) <= most_size
            answer = b"".join(each.head() + bytes(each.stored) for each in frames)
            for frame in parse_frames(answer):
                assert start <= frame.number < end
                plain = frame.to_plain()
                written[frame.number * CHUNK : frame.number * CHUNK + len(plain)] = plain
                start = frame.number + 1
    covered = slice(first * CHUNK, end * CHUNK)
    assert written[covered] == disk[covered]


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (0, 0), (0, MOST_SPAN + 1)])
def test_frames_of_too_many_chunks_are_refused(first: int, count: int) -> None:
    """A request is bounded in numbers."""
    with pytest.raises(InvalidArgumentError, match="count"):
        StoredImage(b"x" * CHUNK).reader().read_frames(first, count)


def test_damage_in_a_frame_shows_to_its_reader() -> None:
    """The server sends what is stored, and the digest that it should have."""
    image = StoredImage(random.Random(4).randbytes(CHUNK))  # noqa: S311  (test data)
    pack = bytearray(image.backing.get(f"packs/{PACK}").bytes())
    pack[image.places[image.manifest.chunks[0]].entry.offset + 5] ^= 1
    image.backing.put(f"packs/{PACK}", bytes(pack))
    (frame,) = image.reader().read_frames(0, 1)
    with pytest.raises(DataLossError, match="another digest"):
        frame.to_plain()


@pytest.mark.parametrize(
    "read",
    [
        lambda reader: reader.read(0, CHUNK * 3),
        lambda reader: b"".join(each.to_plain() for each in reader.read_frames(0, 3)),
    ],
    ids=["bytes", "frames"],
)
def test_a_pack_that_was_rewritten_meanwhile_is_looked_up_again(
    read: Callable[[ImageReader], bytes],
) -> None:
    """Collection moves chunks, tells the index, and deletes the old pack: readers go after them."""
    disk = random.Random(5).randbytes(CHUNK * 3)  # noqa: S311  (test data)
    image = StoredImage(disk)
    stale = dict(image.places)
    image.backing.put("packs/e3ogc/rewritten", image.backing.get(f"packs/{PACK}").bytes())
    image.backing.delete(f"packs/{PACK}")
    moved = PackId("e3ogc/rewritten")
    image.places = {
        digest: ChunkPlace(pack_id=moved, entry=place.entry) for digest, place in stale.items()
    }
    answers = [stale, image.places]
    reader = ImageReader(
        manifest=image.manifest, places=lambda _digests: answers.pop(0), chunks=image._chunks
    )
    assert read(reader) == disk
    assert answers == []


def test_a_pack_that_is_gone_for_good_is_asked_for_twice_only() -> None:
    """Then it is a loss."""
    image = StoredImage(b"x" * CHUNK)
    image.backing.delete(f"packs/{PACK}")
    with pytest.raises(MissingPackError, match="the pack is missing"):
        image.reader().read(0, 1)
    assert len(image.queries) == 2


def test_a_chunk_that_the_index_lost_is_named() -> None:
    """The way out is the database's backup, not the store's."""
    image = StoredImage(b"x" * CHUNK)
    image.places.clear()
    with pytest.raises(MissingChunkError, match=digest_of(b"x" * CHUNK).hex()):
        image.reader().read(0, 1)


def test_a_manifest_that_stretches_a_chunk_is_noticed() -> None:
    """A chunk stands for as many bytes as it has."""
    image = StoredImage(b"x" * 10)
    longer = Manifest(size=CHUNK, chunk_size=CHUNK, chunks=image.manifest.chunks)
    with pytest.raises(DataLossError, match="10 bytes"):
        image.reader(longer).read(0, 10)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/catalogue.db")
    database.migrate()
    yield database
    database.close()


def test_images_are_opened_when_they_are_active(database: Database) -> None:
    """An unknown id is not found, one that is being made is not ready."""
    blobs = BlobStore(MemoryStore(), name="memory")
    exports = Exports(database=database, chunks=ChunkStore(blobs), manifests=ManifestStore(blobs))
    with pytest.raises(NotFoundError, match="Image e3v1 not found"):
        exports.open_image("e3v1")
    now = datetime.now(tz=UTC)
    folder = Folder(id="b1g1", cloud_id="b1c1", name="default", created_at=now)
    image = Image(
        id="e3v1", folder_id="b1g1", name="one", status=ImageStatus.CREATING, created_at=now
    )
    database.write(add_cloud, Cloud(id="b1c1", name="cloud", created_at=now))
    database.write(add_folder, folder)
    database.write(add_image, image)
    with pytest.raises(ImageNotReadyError, match="Image e3v1 is CREATING"):
        exports.open_image("e3v1")


def test_an_image_that_was_deleted_while_it_is_read_is_not_found(database: Database) -> None:
    """Once its chunks are collected, that is the news, and not that the index lacks them."""
    blobs = BlobStore(MemoryStore(), name="memory")
    manifest_store = ManifestStore(blobs)
    now = datetime.now(tz=UTC)
    plain = b"x" * CHUNK
    manifest = Manifest(size=CHUNK, chunk_size=CHUNK, chunks={0: digest_of(plain)})
    digest = manifest_store.put(manifest)
    image = Image(
        id="e3v1", folder_id="b1g1", name="one", status=ImageStatus.CREATING, created_at=now
    )
    database.write(add_cloud, Cloud(id="b1c1", name="cloud", created_at=now))
    database.write(add_folder, Folder(id="b1g1", cloud_id="b1c1", name="default", created_at=now))
    database.write(add_image, image)
    content = {"digest": digest, "disk_size": CHUNK, "storage_size": 1, "created_at": now}
    database.write(lambda connection: connection.execute(sa.insert(manifests).values(content)))
    active = {"status": int(ImageStatus.ACTIVE), "manifest": digest}
    database.write(lambda connection: connection.execute(sa.update(images).values(active)))
    exports = Exports(database=database, chunks=ChunkStore(blobs), manifests=manifest_store)
    reader = exports.open_image("e3v1")
    with pytest.raises(MissingChunkError):
        reader.read(0, 1)
    database.write(lambda connection: connection.execute(sa.delete(images)))
    with pytest.raises(NotFoundError, match="Image e3v1 not found"):
        reader.read(0, 1)
