"""The language of limits."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.api.bounds import Bounds

COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
}


@given(sign=st.sampled_from(sorted(COMPARISONS)), limit=st.integers(), number=st.integers())
def test_a_comparison_means_what_it_says(sign: str, limit: int, number: int) -> None:
    """For every sign and every number, negative ones too."""
    assert Bounds(f"{sign}{limit}").admit(number) == COMPARISONS[sign](number, limit)


@given(low=st.integers(), high=st.integers(), number=st.integers())
def test_a_range_holds_its_ends(low: int, high: int, number: int) -> None:
    """Both ends are inside, whatever their signs."""
    bounds = Bounds(f"{low}-{high}")
    assert bounds.admit(number) == (low <= number <= high)
    assert bounds.admit(low) == (low <= high)


@pytest.mark.parametrize(
    ("rule", "good", "bad", "demand"),
    [
        ("<=50", 50, 51, "must be less than or equal to 50"),
        (
            "19700101T000000-19700101T000100.5",
            60.5,
            61,
            "must be in the range of 19700101T000000 to 19700101T000100.5",
        ),
        ("<2048", 2047, 2048, "must be less than 2048"),
        (">0", 1, 0, "must be greater than 0"),
        (">=16", 16, 15, "must be greater than or equal to 16"),
        ("1-63", 63, 64, "must be in the range of 1 to 63"),
        ("-1-100", -1, -2, "must be in the range of -1 to 100"),
        ("20", 20, 19, "must be equal to 20"),
        ("0,3", 3, 2, "must be equal to 0 or equal to 3"),
        ("0.0-1.0", 0.5, 1.1, "must be in the range of 0.0 to 1.0"),
        ("5m-8760h", 300, 299.9, "must be in the range of 5m to 8760h"),
        ("100ms-1d", 86400, 86401, "must be in the range of 100ms to 1d"),
    ],
)
def test_every_form_has_its_words(rule: str, good: float, bad: float, demand: str) -> None:
    """As the public API words them."""
    bounds = Bounds(rule)
    assert bounds.admit(good)
    assert not bounds.admit(bad)
    assert bounds.demand == demand


@pytest.mark.parametrize("rule", ["", "x", "<=", "1-", "<=1-2", "1--", "1,,2", "1 to 2"])
def test_an_unknown_form_is_an_error(rule: str) -> None:
    """A rule that is not understood must not be taken for no rule."""
    with pytest.raises(ValueError, match="not understood"):
        Bounds(rule)
