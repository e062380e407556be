"""Comparing two contents by their manifests, against a plain comparison of their bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clouddesktop.api.diffs import diff_to_json
from clouddesktop.delivery import diff
from clouddesktop.delivery.diff import Comparison, IncomparableImagesError
from clouddesktop.model.diff import Change, ChangeKind, DiffTotals
from clouddesktop.model.manifest import Manifest
from clouddesktop.store.codec import digest_of, is_zero
from clouddesktop.store.manifests import decode_manifest, encode_manifest

CHUNK = 16


def manifest_of(disk: bytes, chunk_size: int = CHUNK) -> Manifest:
    """Make the manifest of a disk, as the store reads it back."""
    plains = dict(enumerate(chunks_of(disk, chunk_size)))
    content = {number: digest_of(each) for number, each in plains.items() if not is_zero(each)}
    made = Manifest(size=len(disk), chunk_size=chunk_size, chunks=content)
    return decode_manifest(encode_manifest(made))


def chunks_of(disk: bytes, chunk_size: int = CHUNK) -> list[bytes]:
    return [disk[start : start + chunk_size] for start in range(0, len(disk), chunk_size)]


def compare(old: bytes, new: bytes) -> tuple[list[Change], DiffTotals]:
    comparison = Comparison(manifest_of(old), manifest_of(new))
    changes = list(comparison.iter_changes())
    comparison.count_shared()
    return changes, comparison.totals


@st.composite
def disks(draw: st.DrawFn) -> bytes:
    """Draw disks whose chunks often repeat, within and between them, with any tail."""
    kinds = [bytes(CHUNK), b"a" * CHUNK, b"b" * CHUNK, bytes(CHUNK - 1) + b"c"]
    layout = draw(st.lists(st.sampled_from(kinds), max_size=12))
    return b"".join(layout) + draw(st.sampled_from([b"", b"a", b"ab", bytes(5)]))


def plain_kinds(old: bytes, new: bytes) -> Iterator[tuple[ChangeKind | None, int]]:
    """Compare byte by byte, chunk after chunk: what happened to it, and its length."""
    before, after = chunks_of(old), chunks_of(new)
    for number in range(max(len(before), len(after))):
        was = before[number] if number < len(before) else b""
        now = after[number] if number < len(after) else b""
        length = max(len(each) for each in (was, now))
        if was == now or not any(was + now):
            yield None, length
        elif not any(was):
            yield ChangeKind.ADDED, len(now)
        elif not any(now):
            yield ChangeKind.REMOVED, len(was)
        else:
            yield ChangeKind.CHANGED, length


@given(old=disks(), new=disks())
@example(old=b"", new=b"")
def test_the_ranges_are_those_of_a_plain_comparison(old: bytes, new: bytes) -> None:
    """Chunk by chunk, for disks of any two sizes; neighbours of a kind are one range."""
    changes, totals = compare(old, new)
    expected = list(plain_kinds(old, new))
    found: list[ChangeKind | None] = [None] * len(expected)
    after, kind = -1, None
    for change in changes:
        assert change.offset > after or change.kind is not kind
        assert change.offset >= after
        after, kind = change.offset + change.length, change.kind
        for number in range(change.offset // CHUNK, -(-after // CHUNK)):
            found[number] = kind
    assert found == [each for each, _ in expected]
    for kind, total in (
        (ChangeKind.CHANGED, totals.changed_bytes),
        (ChangeKind.ADDED, totals.added_bytes),
        (ChangeKind.REMOVED, totals.removed_bytes),
    ):
        assert total == sum(length for each, length in expected if each is kind)
        assert total == sum(each.length for each in changes if each.kind is kind)


@given(old=disks(), new=disks(), most=st.sampled_from([1, 2, 1000]))
def test_the_sums_are_those_of_the_bytes(old: bytes, new: bytes, most: int) -> None:
    """Zeros count nowhere; distinct and shared chunks once, in however many passes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diff, "_MOST_DIGESTS", most)
        _, totals = compare(old, new)
    olds = [each for each in chunks_of(old) if any(each)]
    news = [each for each in chunks_of(new) if any(each)]
    assert totals == DiffTotals(
        old_disk_size=len(old),
        new_disk_size=len(new),
        old_data_bytes=sum(map(len, olds)),
        new_data_bytes=sum(map(len, news)),
        same_bytes=sum(
            len(was)
            for was, now in zip(chunks_of(old), chunks_of(new), strict=False)
            if was == now and any(was)
        ),
        changed_bytes=totals.changed_bytes,
        added_bytes=totals.added_bytes,
        removed_bytes=totals.removed_bytes,
        old_distinct_bytes=sum(map(len, set(olds))),
        new_distinct_bytes=sum(map(len, set(news))),
        shared_bytes=sum(map(len, set(olds) & set(news))),
    )
    assert DiffTotals.from_record(totals.to_record()) == totals


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001])
def test_the_answer_is_json_of_any_length(count: int) -> None:
    """Numbers are texts, as int64 are in proto3's JSON."""
    old, new = bytes(CHUNK * 2 * count), (b"a" * CHUNK + bytes(CHUNK)) * count
    text = "".join(
        diff_to_json(
            Comparison(manifest_of(old), manifest_of(new)),
            old_id="e3vold",
            new_id='e3v"new',
            chunk_size=CHUNK,
        )
    )
    answer = json.loads(text)
    assert (answer["old_image_id"], answer["new_image_id"]) == ("e3vold", 'e3v"new')
    assert answer["chunk_size"] == str(CHUNK)
    assert answer["ranges"] == [
        {"offset": str(number * 2 * CHUNK), "length": str(CHUNK), "kind": "added"}
        for number in range(count)
    ]
    assert answer["totals"]["added_bytes"] == str(count * CHUNK)
    assert answer["totals"]["new_distinct_bytes"] == str(min(count, 1) * CHUNK)


def test_other_chunk_sizes_are_refused() -> None:
    """Their digests are of other bytes."""
    with pytest.raises(IncomparableImagesError, match="16 and of 32"):
        Comparison(manifest_of(b"a" * 64), manifest_of(b"a" * 64, 32))
