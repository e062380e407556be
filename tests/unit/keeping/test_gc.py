"""The collector over a real catalogue and store: what goes, what stays, and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clouddesktop.catalog import copies, rolling_back, tables
from clouddesktop.catalog.keeper_runs import KeeperRunReplacedError
from clouddesktop.errors import Code, Failure
from clouddesktop.ids import PackId
from clouddesktop.store.codec import digest_of
from clouddesktop.store.manifests import ManifestBlob
from parts.keeping import Folderful, content_of

FAILURE = Failure(code=Code.ABORTED, reason="R", message="m.")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folderful]:
    made = Folderful.made(tmp_path)
    yield made
    made.close()


def bytes_of(letters: str) -> bytes:
    return b"".join(bytes(4096) if each == "0" else content_of(each) for each in letters)


def check_whole(folder: Folderful, **images: str) -> None:
    """These images read as they should, and the store holds their chunks and nothing else."""
    for name, letters in images.items():
        assert folder.read(name) == bytes_of(letters)
    letters_held = set("".join(images.values())) - {"0"}
    assert folder.indexed_chunks() == {digest_of(content_of(each)) for each in letters_held}
    assert folder.stored_packs() == folder.indexed_packs()
    assert len(list(folder.manifests.iter_blobs())) == len(set(images.values()))
    folder.check_index()


def test_nothing_goes_while_all_is_needed(folder: Folderful) -> None:
    """A collection of a store without garbage changes no pack, and looks at each once."""
    folder.copy("one", "abcd0efgh")
    folder.copy("two", "abcdijkl")
    packs = folder.stored_packs()
    report = folder.collect()
    assert report["packs_examined"] == 4
    assert report["bytes_freed"] == report["chunks_dropped"] == 0
    assert folder.stored_packs() == packs
    assert folder.collect()["packs_examined"] == 0
    check_whole(folder, one="abcd0efgh", two="abcdijkl")


def test_a_pack_that_many_need_is_looked_into_once(folder: Folderful) -> None:
    """One content proves that all of it is live; the others need not be read to call it clean."""
    for name in ("one", "two", "three"):
        folder.copy(name, "abcd" + name)
    assert folder.collect()["packs_left"] == 0
    report = folder.collect()
    assert (report["packs_examined"], report["packs_left"]) == (0, 0)


def test_a_deleted_image_takes_all_that_is_its_own(folder: Folderful) -> None:
    """Its manifest and packs go; an empty store is left after the last one."""
    folder.copy("one", "abcdefgh")
    folder.copy("two", "ijkl")
    size = sum(folder.column(tables.packs.c.size))
    folder.delete("one")
    report = folder.collect()
    assert (report["contents_removed"], report["packs_removed"]) == (1, 2)
    assert 0 < report["bytes_freed"] < size
    check_whole(folder, two="ijkl")
    folder.delete("two")
    folder.collect()
    assert folder.stored_packs() == set()
    assert list(folder.manifests.iter_blobs()) == []
    check_whole(folder)


def test_chunks_that_others_share_stay(folder: Folderful) -> None:
    """A pack with few live chunks is written anew; its dead ones leave index and disk."""
    folder.copy("old", "abcdefgh")
    folder.copy("new", "axyz0fgh")
    folder.delete("old")
    before = sum(folder.column(tables.packs.c.size))
    report = folder.collect()
    assert report["packs_rewritten"] == 2
    assert report["packs_written"] == 1
    assert report["chunks_dropped"] == 4
    assert sum(folder.column(tables.packs.c.size)) < before
    check_whole(folder, new="axyz0fgh")
    assert folder.collect()["packs_examined"] == 0


def test_a_pack_that_is_mostly_live_is_kept(folder: Folderful) -> None:
    """Its dead chunks leave the index, so that nothing new relies on them; no byte is moved."""
    folder.copy("old", "abcd")
    folder.copy("new", "abc")
    packs = folder.stored_packs()
    folder.delete("old")
    report = folder.collect(least_live=0.5)
    assert (report["chunks_dropped"], report["packs_rewritten"]) == (1, 0)
    assert folder.stored_packs() == packs
    check_whole(folder, new="abc")
    folder.copy("again", "d")
    check_whole(folder, new="abc", again="d")


def test_a_dry_run_tells_and_changes_nothing(folder: Folderful) -> None:
    """Its figures are those of the collection that follows, and each item has its reason."""
    folder.copy("old", "abcdefghmnop")
    folder.copy("new", "axyz0fgh")
    folder.chunks.put_pack(PackId("e3ounknown/0-1-1"), b"orphan")
    folder.delete("old")
    packs, blobs = folder.stored_packs(), set(folder.manifests.iter_blobs())
    foreseen = folder.collect(dry_run=True)
    assert (folder.stored_packs(), set(folder.manifests.iter_blobs())) == (packs, blobs)
    assert {(each["what"], each["id"]) for each in foreseen["items"]} == {
        ("content", next(each for each in blobs if each.writer == "e3oold-1").digest.hex()),
        ("pack", "e3oold/0-1-1"),
        ("pack", "e3oold/1-1-1"),
        ("pack", "e3oold/2-1-1"),
        ("pack", "e3ounknown/0-1-1"),
    }
    assert all(each["reason"].endswith(".") and each["bytes"] > 0 for each in foreseen["items"])
    report = folder.collect()
    for name in (
        "contents_removed",
        "packs_removed",
        "packs_rewritten",
        "chunks_dropped",
        "orphan_packs",
        "bytes_freed",
    ):
        assert foreseen[name] == report[name] > 0, name
    assert "items" not in report
    check_whole(folder, new="axyz0fgh")


def test_what_a_running_copy_relies_on_stays(folder: Folderful) -> None:
    """It pins the packs it shares, and the content that it has sealed, until it is published."""
    folder.copy("old", "abcd")
    run = folder.begin_copy("new")
    folder.store_range(run, 0, 0, "ab")
    folder.delete("old")
    report = folder.collect()
    assert report["packs_left"] == 1
    assert folder.indexed_chunks() == {digest_of(content_of(each)) for each in "abcd"}
    manifest = folder.seal(run, 2)
    assert folder.collect()["contents_removed"] == 0
    folder.database.write(copies.publish, run, manifest=manifest)
    folder.collect()
    check_whole(folder, new="ab")


@pytest.mark.parametrize("least_live", [0.0, 1.0], ids=["dropped", "rewritten"])
@pytest.mark.parametrize("is_published", [True, False], ids=["published", "running"])
@pytest.mark.parametrize("failpoint", ["gc-examined", "gc-pack-put"])
def test_a_chunk_that_comes_to_life_meanwhile_stays(
    folder: Folderful, failpoint: str, *, is_published: bool, least_live: float
) -> None:
    """A copy shares a chunk that was found dead, just before it goes: the judgement is void."""
    folder.copy("old", "abcd")
    folder.copy("kept", "a")
    folder.delete("old")

    def share(name: str) -> None:
        if name == failpoint and "new" not in folder.column(tables.images.c.name):
            run = folder.begin_copy("new")
            folder.store_range(run, 0, 0, "bc")
            if is_published:
                folder.publish(run, folder.seal(run, 2))

    folder.failpoint = share
    folder.collect(least_live=least_live)
    if "new" not in folder.column(tables.images.c.name):
        share(failpoint)  # nothing was written anew, so the copy comes after it all
    if not is_published:
        run = folder.take_over("e3onew")
        folder.publish(run, folder.seal(run, 2))
    folder.collect(least_live=1.0)
    check_whole(folder, kept="a", new="bc")


def test_what_failed_copies_left_is_collected(folder: Folderful) -> None:
    """Packs without a row, a manifest that was never recorded, a pack that two of them shared."""
    failed, other = folder.begin_copy("failed"), folder.begin_copy("other")
    folder.store_range(failed, 0, 0, "ab")
    folder.store_range(other, 0, 0, "bc")
    folder.chunks.put_pack(PackId("e3ofailed/9-1-1"), b"never recorded")
    folder.seal(other, 2)
    for run in (failed, other):
        folder.database.write(rolling_back.record_failure, run, FAILURE)
    folder.collect()
    assert "e3ofailed/9-1-1" in folder.stored_packs(), "its copy may still record it"
    for run in (failed, other):
        for pack_id in folder.database.write(rolling_back.roll_back, run):
            folder.chunks.delete_pack(pack_id)
        folder.database.write(rolling_back.finish_rollback, run)
    folder.collect()
    check_whole(folder)


def test_blobs_of_unknown_writers_stay_if_so_asked(folder: Folderful) -> None:
    """They may be of a later state of the catalogue than the one that was restored."""
    folder.chunks.put_pack(PackId("e3ounknown/0-1-1"), b"orphan")
    assert folder.collect(keep_unknown=True)["orphan_packs"] == 0
    assert folder.collect()["orphan_packs"] == 1
    assert folder.stored_packs() == set()


def test_a_content_that_cannot_be_read_keeps_its_packs(folder: Folderful) -> None:
    """Nothing is judged dead by half of the evidence; the report names the manifest."""
    folder.copy("old", "abcd")
    folder.copy("new", "ab")
    manifest = folder.exports.open_image("e3vnew")
    assert manifest.size == 2 * 4096
    blob = next(each for each in folder.manifests.iter_blobs() if each.writer == "e3onew-1")
    path = folder.folder / f"store/manifests/{blob.digest.hex()[:2]}"
    whole = next(path.glob(f"{blob.digest.hex()}*")).read_bytes()
    next(path.glob(f"{blob.digest.hex()}*")).write_bytes(b"damaged")
    folder.delete("old")
    report = folder.collect()
    assert report["packs_left"] == 1
    assert blob.digest.hex() in report["problems"][0]
    assert len(folder.indexed_chunks()) == 4
    next(path.glob(f"{blob.digest.hex()}*")).write_bytes(whole)
    folder.collect()
    check_whole(folder, new="ab")


def test_a_damaged_chunk_keeps_its_pack(folder: Folderful) -> None:
    """It is not moved as if it were right; other packs are."""
    folder.copy("old", "abcdefgh")
    folder.copy("new", "ae")
    pack = folder.folder / "store/packs/e3oold/0-1-1"
    pack.write_bytes(pack.read_bytes()[:20])
    folder.delete("old")
    report = folder.collect()
    assert (report["packs_left"], report["packs_rewritten"]) == (1, 1)
    assert digest_of(content_of("a")).hex() in report["problems"][0]
    assert "e3oold/0-1-1" in folder.stored_packs()


def test_a_replaced_turn_changes_nothing_more(folder: Folderful) -> None:
    """Whatever it was about to commit fails, and what it has put is an orphan."""
    folder.copy("old", "abcd")
    folder.copy("new", "a")
    folder.delete("old")
    old = folder.turn()
    new = folder.turn(old.run_id)
    with pytest.raises(KeeperRunReplacedError):
        folder.collector().run(old)
    folder.chunks.put_pack(PackId(f"{old.run_id}/{old.epoch}-1"), b"put by the old turn")
    folder.chunks.put_pack(PackId(f"{new.run_id}/{new.epoch}-9"), b"put by this turn")
    folder.collector(least_live=1.0).run(new)
    assert f"{new.run_id}/{new.epoch}-9" in folder.stored_packs()
    assert f"{old.run_id}/{old.epoch}-1" not in folder.stored_packs()


def test_the_second_copy_of_a_content_keeps_one_manifest(folder: Folderful) -> None:
    """The first one's blob counts; the content lives as long as one image has it."""
    folder.copy("one", "abc")
    folder.copy("two", "abc")
    digest = next(iter(folder.manifests.iter_blobs())).digest
    assert list(folder.manifests.iter_blobs()) == [ManifestBlob(digest, "e3oone-1")]
    folder.delete("one")
    assert folder.collect()["contents_removed"] == 0
    check_whole(folder, two="abc")
