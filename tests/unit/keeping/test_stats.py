"""The store's figures, against contents whose figures are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clouddesktop.catalog import tables
from clouddesktop.ids import Digest
from clouddesktop.keeping import stats
from clouddesktop.keeping.stats import StoreFigures, StoreMeter
from clouddesktop.model.manifest import Manifest
from clouddesktop.store.codec import encode
from parts.keeping import CHUNK, Folderful, content_of

ENTRY_SIZE = 52
"""Bytes that a chunk takes in its pack's table."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folderful]:
    made = Folderful.made(tmp_path)
    yield made
    made.close()


def measure(folder: Folderful) -> StoreFigures:
    return StoreMeter(database=folder.database, manifests=folder.manifests).measure()


def stored(letters: str) -> int:
    return sum(len(encode(content_of(each))[1]) for each in letters)


def test_an_empty_store_holds_nothing(folder: Folderful) -> None:
    """And has no ratio."""
    figures = measure(folder)
    assert (figures.logical_bytes, figures.stored_bytes, figures.dead_bytes) == (0, 0, 0)
    assert figures.ratio is None
    assert figures.images == []
    assert figures.last_collection is None


def test_each_image_is_told_what_is_its_own(folder: Folderful) -> None:
    """Repeated, shared and zero chunks count as they should; two of one content share it all."""
    folder.copy("one", "aab0cd")
    folder.copy("two", "cdefgh")
    folder.copy("twin", "xy")
    folder.copy("twin2", "xy")
    folder.copy("zeros", "000")
    figures = measure(folder)
    by_name = {each.usage.name: each for each in figures.images}
    assert {name: each.logical_bytes // CHUNK for name, each in by_name.items()} == {
        "one": 5,
        "two": 6,
        "twin": 2,
        "twin2": 2,
        "zeros": 0,
    }
    assert by_name["zeros"].usage.disk_size == 3 * CHUNK
    assert by_name["one"].exclusive_bytes == stored("ab")
    assert by_name["two"].exclusive_bytes == stored("efgh")
    assert by_name["twin"].exclusive_bytes == by_name["twin2"].exclusive_bytes == 0
    assert by_name["one"].usage.stored_bytes == stored("abcd")
    assert figures.logical_bytes == 15 * CHUNK
    assert figures.unique_bytes == 10 * CHUNK
    assert figures.live_bytes == stored("abcdefghxy")
    assert figures.dead_bytes == 0
    assert figures.stored_bytes == sum(folder.column(tables.packs.c.size))
    assert figures.ratio == round(15 * CHUNK / figures.stored_bytes, 2)


def test_each_content_is_read_once(folder: Folderful, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many packs and parts of the index it is spread over; the figures stay the same."""
    for number, letters in enumerate(("abcdefgh", "efghijkl", "adgjmnop")):
        folder.copy(str(number), letters)
    whole = measure(folder)
    read: list[Digest] = []
    get = folder.manifests.get

    def get_noted(digest: Digest) -> Manifest:
        read.append(digest)
        return get(digest)

    monkeypatch.setattr(folder.manifests, "get", get_noted)
    monkeypatch.setattr(stats, "_AT_ONCE", 1)
    monkeypatch.setattr(stats, "_CHUNKS_AT_ONCE", 1)
    monkeypatch.setattr(stats, "_USAGES_AT_ONCE", 1)
    assert measure(folder) == whole
    assert len(read) == len(set(read)) == 3


def test_dead_bytes_are_what_collections_give_back(folder: Folderful) -> None:
    """Also what is left in packs that are mostly live; a running copy's are not dead yet."""
    folder.copy("old", "abcdefgh")
    folder.copy("new", "abce")
    folder.delete("old")
    dead = stored("dfgh") + 4 * ENTRY_SIZE
    assert measure(folder).dead_bytes == dead
    run = folder.begin_copy("running")
    folder.store_range(run, 0, 0, "xy")
    assert measure(folder).dead_bytes == dead
    folder.collect(least_live=0.5)
    figures = measure(folder)
    assert figures.dead_bytes == stored("d") + ENTRY_SIZE
    assert figures.last_collection is not None
    assert figures.last_collection.report is not None
    assert figures.last_collection.report["packs_rewritten"] == 1


def test_a_content_that_cannot_be_read_is_named(folder: Folderful) -> None:
    """The other images' figures are there all the same."""
    folder.copy("one", "ab")
    folder.copy("two", "cd")
    blob = next(each for each in folder.manifests.iter_blobs() if each.writer == "e3otwo-1")
    folder.manifests.delete(blob)
    figures = measure(folder)
    assert blob.digest.hex() in figures.problems[0]
    assert figures.images[0].exclusive_bytes == stored("ab")
