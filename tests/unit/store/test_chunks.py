"""The chunk store on a local folder."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from clouddesktop.ids import PackId
from clouddesktop.store.blobs import BlobStore, open_store
from clouddesktop.store.chunks import (
    ChunkPlace,
    ChunkStore,
    DamagedChunkError,
    MissingPackError,
)
from clouddesktop.store.codec import Codec, digest_of, encode
from clouddesktop.store.packs import DamagedPackError, PackWriter

PACK = PackId("e3o1/000000-1-1")
OTHER_PACK = PackId("e3o2/000000-1-1")


class CountingBlobs(BlobStore):
    """Notes every ranged read."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(), name="memory")
        self.reads: list[tuple[str, int, int]] = []

    def get_range(self, key: str, *, offset: int, length: int) -> memoryview:
        self.reads.append((key, offset, length))
        return super().get_range(key, offset=offset, length=length)


def put(store: ChunkStore, pack_id: PackId, plains: Sequence[bytes]) -> list[ChunkPlace]:
    """Store these chunks as one pack and tell where they lie."""
    writer = PackWriter()
    for plain in plains:
        codec, stored = encode(plain)
        writer.add(digest_of(plain), codec, stored, len(plain))
    entries, data = writer.finish()
    store.put_pack(pack_id, data)
    return [ChunkPlace(pack_id=pack_id, entry=entry) for entry in entries]


def noise(size: int, seed: int) -> bytes:
    """Make bytes that don't shrink."""
    return random.Random(seed).randbytes(size)  # noqa: S311  (test data)


@given(data=st.data())
def test_chunks_come_in_the_order_asked(data: st.DataObject) -> None:
    """From several packs, some of them twice; what is stored twice too."""
    plains = [noise(5, 1), bytes(9999), noise(70_000, 2), noise(200_000, 3), b"text " * 999]
    store = ChunkStore(BlobStore(MemoryStore(), name="memory"))
    places = put(store, PACK, plains) + put(store, OTHER_PACK, plains[::-1])
    asked = data.draw(st.lists(st.sampled_from(places), max_size=30))
    by_digest = {digest_of(plain): plain for plain in plains}
    expected = [by_digest[place.entry.digest] for place in asked]
    assert store.read_chunks(asked) == expected


def test_neighbours_are_read_at_once() -> None:
    """One read for a pack's near chunks, another across a wide gap, and none above 8 MiB."""
    blobs = CountingBlobs()
    store = ChunkStore(blobs)
    places = put(store, PACK, [noise(256 << 10, seed) for seed in range(40)])
    store.read_chunks(places[:20])
    store.read_chunks([places[0], places[2]])
    store.read_chunks([places[7]] * 3)
    assert [read[1:] for read in blobs.reads] == [
        (16, 20 << 18),
        (16, 1 << 18),
        (16 + (2 << 18), 1 << 18),
        (16 + (7 << 18), 1 << 18),
    ]
    blobs.reads.clear()
    store.read_chunks(places[::-1])
    assert [read[2] for read in blobs.reads] == [8 << 20, 2 << 20]
    blobs.reads.clear()
    small = put(store, OTHER_PACK, [noise(60 << 10, seed) for seed in range(100, 103)])
    store.read_chunks([small[2], small[0]])
    assert [read[2] for read in blobs.reads] == [180 << 10]


def test_packs_are_listed_and_deleted(tmp_path: Path) -> None:
    """By operation or all; a pack that is gone is no error to delete."""
    store = ChunkStore(open_store(f"file://{tmp_path}"))
    put(store, PACK, [b"one"])
    put(store, OTHER_PACK, [b"two"])
    put(store, PackId("e3o1x/000000-1-1"), [b"three"])
    assert list(store.iter_packs("e3o1")) == [PACK]
    assert sorted(store.iter_packs()) == [PACK, "e3o1x/000000-1-1", OTHER_PACK]
    store.delete_pack(PACK)
    store.delete_pack(PACK)
    assert list(store.iter_packs("e3o1")) == []
    assert len(list(store.iter_packs())) == 2


def test_a_pack_may_be_put_twice() -> None:
    """As after a crash between storing and recording."""
    store = ChunkStore(BlobStore(MemoryStore(), name="memory"))
    assert put(store, PACK, [b"one"]) == put(store, PACK, [b"one"])


def test_failpoints_stand_around_the_put(tmp_path: Path) -> None:
    """Before the first there is nothing, after the second the pack is there."""
    seen = []
    pack = tmp_path / "packs" / PACK
    store = ChunkStore(
        open_store(f"file://{tmp_path}"), failpoint=lambda name: seen.append((name, pack.exists()))
    )
    put(store, PACK, [b"one"])
    assert seen == [("pack-put-before", False), ("pack-put-after", True)]


def test_the_table_is_read_from_the_store(tmp_path: Path) -> None:
    """It is what the index was given; a missing or cut pack is damage."""
    store = ChunkStore(open_store(f"file://{tmp_path}"))
    places = put(store, PACK, [noise(9000, seed) for seed in range(500)])
    assert list(store.read_table(PACK)) == [place.entry for place in places]
    file = tmp_path / "packs" / PACK
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DamagedPackError, match=PACK):
        store.read_table(PACK)
    with pytest.raises(DamagedPackError, match="missing"):
        store.read_table(OTHER_PACK)


@given(data=st.data())
def test_damage_is_noticed(data: st.DataObject) -> None:
    """A flipped byte in a chunk names that chunk and its pack; the others can still be read."""
    plains = [noise(50, 1), b"compress me " * 50, noise(999, 2)]
    backing = MemoryStore()
    blobs = BlobStore(backing, name="memory")
    store = ChunkStore(blobs)
    places = put(store, PACK, plains)
    key = f"packs/{PACK}"
    pack = bytearray(blobs.get(key))
    victim = data.draw(st.sampled_from([0, 2]))
    entry = places[victim].entry
    assert entry.codec is Codec.PLAIN
    pack[data.draw(st.integers(entry.offset, entry.end - 1))] ^= data.draw(st.integers(1, 255))
    backing.put(key, bytes(pack))
    with pytest.raises(DamagedChunkError, match=f"{entry.digest.hex()} in pack {PACK}") as caught:
        store.read_chunks(places)
    assert caught.value.facts == {"chunk": entry.digest.hex(), "pack": PACK}
    del places[victim], plains[victim]
    assert store.read_chunks(places) == plains


@given(data=st.data())
def test_a_flipped_byte_never_gives_wrong_bytes(data: st.DataObject) -> None:
    """In compressed chunks too, where a few bits have no meaning."""
    plains = [b"compress me " * 50, bytes(3000), b"ab" * 1000]
    backing = MemoryStore()
    blobs = BlobStore(backing, name="memory")
    store = ChunkStore(blobs)
    places = put(store, PACK, plains)
    key = f"packs/{PACK}"
    pack = bytearray(blobs.get(key))
    pack[data.draw(st.integers(0, len(pack) - 1))] ^= data.draw(st.integers(1, 255))
    backing.put(key, bytes(pack))
    for place, plain in zip(places, plains, strict=True):
        with contextlib.suppress(DamagedChunkError):
            assert store.read_chunks([place]) == [plain]


@given(cut=st.integers(0, 3000))
def test_a_cut_pack_names_the_first_chunk_that_is_lost(cut: int) -> None:
    """What lies before the cut can still be read."""
    backing = MemoryStore()
    blobs = BlobStore(backing, name="memory")
    store = ChunkStore(blobs)
    plains = [noise(1000, seed) for seed in range(3)]
    places = put(store, PACK, plains)
    key = f"packs/{PACK}"
    backing.put(key, bytes(blobs.get(key))[:cut])
    lost = next(place for place in places if place.entry.end > cut)
    with pytest.raises(DamagedChunkError, match=f"{lost.entry.digest.hex()}.*ends after {cut}"):
        store.read_chunks(places)
    whole = [place for place in places if place.entry.end <= cut]
    assert store.read_chunks(whole) == plains[: len(whole)]


def test_a_missing_pack_is_damage() -> None:
    """Not "not found": the index says that it should be there."""
    store = ChunkStore(BlobStore(MemoryStore(), name="memory"))
    places = put(store, PACK, [b"one"])
    store.delete_pack(PACK)
    with pytest.raises(MissingPackError, match="the pack is missing"):
        store.read_chunks(places)


@pytest.mark.parametrize(
    "change", [{"offset": -1}, {"stored_size": 0}, {"stored_size": 1 << 40}, {"plain_size": 4}]
)
def test_an_index_that_lies_is_noticed(change: dict[str, int]) -> None:
    """A place that makes no sense, or not of these bytes, gives no bytes."""
    store = ChunkStore(BlobStore(MemoryStore(), name="memory"))
    (place,) = put(store, PACK, [b"one"])
    entry = place.entry
    changed = {
        "offset": entry.offset,
        "stored_size": entry.stored_size,
        "plain_size": entry.plain_size,
    } | change
    lie = replace(
        place,
        entry=replace(
            entry,
            offset=changed["offset"],
            stored_size=changed["stored_size"],
            plain_size=changed["plain_size"],
        ),
    )
    with pytest.raises(DamagedChunkError):
        store.read_chunks([lie])


def test_nothing_asked_is_nothing_read() -> None:
    """An empty request touches no back end."""
    blobs = CountingBlobs()
    assert ChunkStore(blobs).read_chunks([]) == []
    assert blobs.reads == []
