"""Cutting a disk into ranges."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.model.manifest import Extent, plan_ranges

CHUNK = 16
RANGE = 64


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, list[Extent]]:
    """A disk's size and its extents: ascending, not overlapping, some touching."""
    extents = []
    position = 0
    for _ in range(draw(st.integers(0, 8))):
        position += draw(st.integers(0, 100))
        length = draw(st.integers(1, 200))
        extents.append(Extent(offset=position, length=length))
        position += length
    return draw(st.integers(0, position + 50)), extents


@given(layouts())
def test_ranges_cover_just_the_chunks_that_hold_data(layout: tuple[int, list[Extent]]) -> None:
    """Every chunk with data is in one range, and no other chunk is in any."""
    size, extents = layout
    ranges = list(
        plan_ranges(extents, disk_size=size, chunk_size=CHUNK, range_size=RANGE, most_gap=0)
    )
    covered = [
        number
        for each in ranges
        for number in range(each.first_chunk, each.first_chunk + each.chunk_count)
    ]
    with_data = {
        byte // CHUNK for each in extents for byte in range(each.offset, min(each.end, size))
    }
    assert covered == sorted(with_data)


@given(layouts())
def test_ranges_are_bounded_and_numbered_in_order(layout: tuple[int, list[Extent]]) -> None:
    """No range holds more than its bound, none is empty, and indexes count from zero."""
    size, extents = layout
    ranges = list(
        plan_ranges(extents, disk_size=size, chunk_size=CHUNK, range_size=RANGE, most_gap=0)
    )
    assert [each.index for each in ranges] == list(range(len(ranges)))
    assert all(1 <= each.chunk_count <= RANGE // CHUNK for each in ranges)


def test_a_long_extent_is_cut_into_full_ranges() -> None:
    """All ranges of one extent but the last are as large as they may be."""
    ranges = list(
        plan_ranges(
            [Extent(offset=0, length=1000)], disk_size=1000, chunk_size=CHUNK, range_size=RANGE
        )
    )
    assert [each.chunk_count for each in ranges] == [4] * 15 + [3]


def test_a_disk_without_data_has_no_ranges() -> None:
    """Nothing to copy is a plan too."""
    assert list(plan_ranges([], disk_size=1 << 40)) == []


@given(layouts(), st.integers(1, 3))
def test_a_range_bridges_small_gaps_only(layout: tuple[int, list[Extent]], most_gap: int) -> None:
    """Chunks without data are read only between chunks with data that are near each other."""
    size, extents = layout
    ranges = plan_ranges(
        extents, disk_size=size, chunk_size=CHUNK, range_size=RANGE, most_gap=most_gap
    )
    covered = [
        number
        for each in ranges
        for number in range(each.first_chunk, each.first_chunk + each.chunk_count)
    ]
    assert covered == sorted(set(covered))
    with_data = sorted(
        {byte // CHUNK for each in extents for byte in range(each.offset, min(each.end, size))}
    )
    assert set(with_data) <= set(covered)
    for number in set(covered) - set(with_data):
        before = max(each for each in with_data if each < number)
        after = min(each for each in with_data if each > number)
        assert after - before - 1 <= most_gap
