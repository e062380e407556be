"""The Range header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.api.byte_ranges import ByteRange, RangeNotSatisfiableError, find_range


@given(size=st.integers(1, 100), first=st.integers(0, 99), length=st.integers(1, 200))
def test_a_range_is_cut_at_the_end(size: int, first: int, length: int) -> None:
    """What is asked for past the end is left out; to begin there is an error."""
    header = f"bytes={first}-{first + length - 1}"
    if first >= size:
        with pytest.raises(RangeNotSatisfiableError):
            find_range(header, size=size)
        return
    found = find_range(header, size=size)
    assert found == ByteRange(start=first, end=min(first + length, size))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=10-", (10, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("Bytes = 0 - 0 ", (0, 1)),
        ("bytes=0-99999999999999999", (0, 100)),
    ],
)
def test_the_other_forms_of_one_range(header: str, expected: tuple[int, int]) -> None:
    """Open at the end, counted from the end, with blanks."""
    assert find_range(header, size=100) == ByteRange(start=expected[0], end=expected[1])


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes=",
        "bytes=-",
        "bytes=5-4",
        "bytes=0-1,3-4",
        "lines=0-1",
        "bytes=a-b",
        "bytes=\u0661-\u0662",
    ],
)
def test_what_is_not_understood_is_no_range(header: str | None) -> None:
    """All of it is sent then, as the RFC wants."""
    assert find_range(header, size=100) is None


@pytest.mark.parametrize(("header", "size"), [("bytes=-0", 100), ("bytes=0-", 0), ("bytes=-1", 0)])
def test_a_range_of_nothing_cannot_be_had(header: str, size: int) -> None:
    """As one past the end."""
    with pytest.raises(RangeNotSatisfiableError) as caught:
        find_range(header, size=size)
    assert caught.value.facts == {"size": str(size)}
