"""Scrubs find every damage, name the images hit, and repair what is left somewhere."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clouddesktop.catalog import tables
from clouddesktop.delivery.export import Exports, QuarantinedChunkError
from clouddesktop.errors import DataLossError, UnavailableError
from clouddesktop.keeping.runs import RunInterruptedError, Turn
from clouddesktop.store.packs import PackEntry, read_table
from parts.disks import is_same
from parts.inspection import Inspection
from parts.scrubs import open_bench, scrub
from parts.vault import Vault

FIGURES = (
    "packs_damaged",
    "chunks_damaged",
    "manifests_damaged",
    "chunks_lost",
    "images_hit",
)


def flip(path: Path, place: int = 300) -> None:
    """Flip a bit; places past the end or before the start are counted around."""
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1
    path.write_bytes(data)


def swap(left: Path, right: Path) -> None:
    between = left.with_name("between")
    left.rename(between)
    right.rename(left)
    between.rename(right)


def check_whole(vault: Vault) -> None:
    """Every byte of every image is right, and so are all packs, at this and the next look."""
    inspection = Inspection.of(vault.data_dir)
    try:
        for name, image_id in vault.images.items():
            inspection.check_image(image_id, vault.disks[name])
        inspection.check_store()
        assert inspection.count(tables.damaged_chunks) == 0
        assert set(inspection.column(tables.manifests.c.damage)) == {None}
        assert None not in inspection.column(tables.manifests.c.verified_at)
    finally:
        inspection.close()
    report = scrub(vault, with_sources=False)
    assert {name: report[name] for name in FIGURES} == dict.fromkeys(FIGURES, 0)


def read_images(vault: Vault) -> dict[str, bool]:
    """Tell which images can be read; what can be read is right."""
    inspection = Inspection.of(vault.data_dir)
    readable = {}
    try:
        for name, image_id in vault.images.items():
            try:
                inspection.check_image(image_id, vault.disks[name])
                readable[name] = True
            except DataLossError:
                readable[name] = False
    finally:
        inspection.close()
    return readable


def hit(report: dict[str, Any]) -> set[str]:
    return {each["name"] for each in report["images"]}


def test_a_whole_store_is_found_whole(vault: Vault) -> None:
    """Everything is read, and every content knows since when it was last verified."""
    before = datetime.now().astimezone()
    report = scrub(vault)
    assert report["packs_checked"] == report["packs_total"] == len(vault.packs())
    assert report["manifests_checked"] == 3
    assert report["bytes_read"] > 4 << 20
    assert {name: report[name] for name in FIGURES} == dict.fromkeys(FIGURES, 0)
    inspection = Inspection.of(vault.data_dir)
    verified = inspection.column(tables.manifests.c.verified_at)
    inspection.close()
    assert len(verified) == 3
    assert all(isinstance(each, datetime) and each >= before for each in verified)


def test_what_was_verified_lately_is_passed_over(vault: Vault) -> None:
    """Unless it is damaged, or never was."""
    packs = len(vault.packs())
    assert scrub(vault, max_age_seconds=3600)["packs_skipped"] == 0
    again = scrub(vault, max_age_seconds=3600)
    assert (again["packs_checked"], again["packs_skipped"]) == (0, packs)
    assert scrub(vault, max_age_seconds=0)["packs_checked"] == packs


def on_packs(action: Callable[[Path], object]) -> Callable[[Vault], None]:
    def damage(vault: Vault) -> None:
        for path in vault.packs():
            action(path)

    return damage


def on_manifests(action: Callable[[Path], object]) -> Callable[[Vault], None]:
    def damage(vault: Vault) -> None:
        for path in vault.manifests():
            action(path)

    return damage


def spoil_all(vault: Vault) -> None:
    for path in (*vault.packs(), *vault.manifests()):
        path.write_bytes(b"gone")


def entries_of(pack: memoryview) -> Sequence[PackEntry]:
    def fetch(offset: int, length: int) -> bytes:
        return bytes(pack[offset : offset + length])

    return read_table(fetch, size=len(pack))


def swap_chunks(vault: Vault) -> None:
    """Let two chunks of one size change places, each still the right bytes of something."""
    for path in vault.packs():
        data = bytearray(path.read_bytes())
        view = memoryview(bytes(data))
        for left, right in itertools.combinations(entries_of(view), 2):
            if left.stored_size == right.stored_size:
                data[left.offset : left.end], data[right.offset : right.end] = (
                    view[right.offset : right.end],
                    view[left.offset : left.end],
                )
                path.write_bytes(data)
                return
    raise AssertionError("There are no two chunks of one size.")


DAMAGES: dict[str, Callable[[Vault], object]] = {
    "a bit of a chunk": on_packs(flip),
    "a bit of each table": on_packs(lambda path: flip(path, -100)),
    "headers": on_packs(lambda path: flip(path, 3)),
    "footers": on_packs(lambda path: flip(path, -20)),
    "truncated": on_packs(lambda path: path.write_bytes(path.read_bytes()[:-900])),
    "emptied": on_packs(lambda path: path.write_bytes(b"")),
    "appended to": on_packs(lambda path: path.write_bytes(path.read_bytes() + b"x")),
    "deleted": on_packs(Path.unlink),
    "swapped chunks": swap_chunks,
    "swapped packs": lambda vault: swap(vault.packs()[0], vault.packs()[1]),
    "a pack in another's place": lambda vault: shutil.copy(vault.packs()[0], vault.packs()[1]),
    "a manifest in another's place": lambda vault: shutil.copy(
        vault.manifests()[0], vault.manifests()[1]
    ),
    "bits of manifests": on_manifests(lambda path: flip(path, 60)),
    "deleted manifests": on_manifests(Path.unlink),
    "swapped manifests": lambda vault: swap(vault.manifests()[0], vault.manifests()[1]),
    "everything": spoil_all,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_found_and_repaired_from_the_sources(vault: Vault, damage: str) -> None:
    """Once looked at only: named and quarantined; then repaired; then whole."""
    DAMAGES[damage](vault)
    read_images(vault)
    looked = scrub(vault, repair=False)
    assert any(looked[name] for name in FIGURES)
    readable = read_images(vault)
    assert hit(looked) == {name for name, is_readable in readable.items() if not is_readable}
    repaired = scrub(vault)
    assert repaired["chunks_lost"] == 0
    assert repaired["images"] == []
    check_whole(vault)


@pytest.mark.parametrize("damage", ["a bit of a chunk", "deleted", "deleted manifests"])
def test_damage_without_a_source_stays_named(vault: Vault, damage: str) -> None:
    """Reads of the images hit fail, others go on, and a backup put in place heals all."""
    kept = vault.copied_to(vault.root.with_name("kept"))
    DAMAGES[damage](vault)
    for _ in range(2):
        report = scrub(vault, with_sources=False)
        readable = read_images(vault)
        assert hit(report) == {name for name in vault.images if not readable[name]} != set()
    shutil.copytree(kept.store, vault.store, dirs_exist_ok=True)
    restored = scrub(vault, with_sources=False)
    assert restored["chunks_lost"] == restored["images_hit"] == 0
    check_whole(vault)


def test_a_quarantined_chunk_is_named_with_its_image(vault: Vault) -> None:
    """Whoever reads it learns which chunk of which image is damaged, and why."""
    (small,) = [each for each in vault.packs() if each.stat().st_size < 2000]
    flip(small, 100)
    report = scrub(vault, with_sources=False)
    assert [each["name"] for each in report["images"]] == ["small"]
    inspection = Inspection.of(vault.data_dir)
    exports = Exports(
        database=inspection.database, chunks=inspection.chunks, manifests=inspection.manifests
    )
    with pytest.raises(QuarantinedChunkError, match=vault.images["small"]) as caught:
        exports.open_image(vault.images["small"]).read(0, 100)
    assert caught.value.facts["chunk"] in caught.value.message
    inspection.close()


def test_a_chunk_that_lies_in_two_packs_is_repaired_from_the_other(vault: Vault) -> None:
    """Without any source; here a copy of a pack in the place of another plays the other."""
    base = max(vault.packs(), key=lambda each: each.stat().st_size)
    other = min(vault.packs(), key=lambda each: each.stat().st_size)  # no chunk of base is in it
    data = base.read_bytes()
    other.write_bytes(data)  # as if it had been written twice
    flip(base)
    report = scrub(vault, with_sources=False)
    assert report["chunks_repaired_from_packs"] >= 1
    assert read_images(vault)["base"]


def test_a_changed_source_repairs_nothing(vault: Vault) -> None:
    """It is not what was copied, so its bytes are not asked for."""
    sources = vault.root / "images"
    original = sources.resolve()
    sources.unlink()
    shutil.copytree(original, sources)  # the same bytes, but other files
    for pack in vault.packs():
        flip(pack)
    report = scrub(vault)
    assert report["chunks_repaired_from_sources"] == 0
    assert report["chunks_lost"] == report["chunks_damaged"] > 0


def test_a_store_that_is_not_mounted_is_no_damage(vault: Vault) -> None:
    """The run fails, and nothing goes into quarantine."""
    with open_bench(vault) as bench:
        (vault.store / "format.json").rename(vault.root / "format.json")
        shutil.move(vault.store / "packs", vault.root / "packs")
        with pytest.raises(UnavailableError, match="is not there"):
            bench.scrub()
        (vault.root / "format.json").rename(vault.store / "format.json")
        shutil.move(vault.root / "packs", vault.store / "packs")
    inspection = Inspection.of(vault.data_dir)
    assert inspection.count(tables.damaged_chunks) == 0
    inspection.close()


def test_an_interrupted_scrub_goes_on_where_it_was(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pack is looked at once, over all turns."""
    monkeypatch.setattr("clouddesktop.keeping.scrub._SAVE_SECONDS", -1)
    with open_bench(vault) as bench:
        run_id = bench.add_run()
        turns = 0
        report: dict[str, Any] = {}
        while not report:
            turn = bench.begin(run_id)
            turns += 1
            _allow(turn, checks=8)
            try:
                report = dict(bench.scrubber.run(turn))
            except RunInterruptedError:
                assert turns < 20
                _allow(turn, checks=1000)
    assert turns > 1
    assert report["packs_checked"] == len(vault.packs())


def _allow(turn: Turn, *, checks: int) -> None:
    """Have the turn end after some calls of `check`; each turn gets on by at least a pack."""
    left = iter(range(checks + 4 * turn.epoch))

    def check() -> None:
        if next(left, None) is None:
            raise RunInterruptedError("The turn is over.")

    turn.check = check  # type: ignore[method-assign]


@settings(max_examples=8)
@given(data=st.data())
def test_a_flipped_byte_anywhere_is_found(
    make_copy: Callable[[], Vault], data: st.DataObject
) -> None:
    """Whichever byte of whichever blob: no read gives wrong bytes, and a scrub repairs it."""
    vault = make_copy()
    blobs = [*vault.packs(), *vault.manifests()]
    blob = data.draw(st.sampled_from(blobs))
    place = data.draw(st.integers(0, blob.stat().st_size - 1))
    content = bytearray(blob.read_bytes())
    content[place] ^= data.draw(st.integers(1, 255))
    blob.write_bytes(content)
    read_images(vault)
    report = scrub(vault)
    assert report["packs_damaged"] + report["manifests_damaged"] == 1
    assert report["images"] == []
    check_whole(vault)
    assert is_same(vault.disks["small"], vault.root.parent / "copy" / "small.disk")
