"""A set of names in eight bytes each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.keeping.name_set import NameSet


@given(inside=st.sets(st.text()), asked=st.sets(st.text()))
def test_it_has_what_was_put_in(inside: set[str], asked: set[str]) -> None:
    """And, but for one chance in 2^64, nothing else."""
    names = NameSet(inside)
    assert len(names) == len(inside)
    assert {each for each in inside | asked if each in names} == inside
