"""Ids of federated subjects."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.ids import Prefix, new_id
from clouddesktop.model.federation import (
    MOST_ID_CHARACTERS,
    federated_id,
    is_issuer_name,
    issuer_name_of,
)

NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,18}[a-z0-9])?", fullmatch=True)
CLAIMS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
    st.text("ab:~", min_size=1, max_size=120),
)


def test_an_id_is_what_the_issuer_calls_its_subject() -> None:
    """As it stands where it can, so that bindings can be written and read by people."""
    assert federated_id("corp", "alice@example.org") == "corp:alice@example.org"
    assert federated_id("corp", "a" * 95) == f"corp:{'a' * 95}"
    assert issuer_name_of("corp:a:b") == "corp"


@pytest.mark.parametrize("claim", ["a" * 96, "Jürgen", "two words", "~tilde", "tab\t", "a\0b"])
def test_what_is_no_plain_id_becomes_a_digest(claim: str) -> None:
    """Of 160 bits, after the issuer's name."""
    assert re.fullmatch(r"corp:~[a-z2-7]{32}", federated_id("corp", claim))


def test_the_digest_is_the_documented_one() -> None:
    """Administrators compute it by other programs: it never changes."""
    assert federated_id("corp", "Jürgen") == "corp:~ywh3m4wjp65hfi5d67ybwvsnkybpoin5"


@given(first=st.tuples(NAMES, CLAIMS), second=st.tuples(NAMES, CLAIMS))
def test_nobody_has_another_ones_id(first: tuple[str, str], second: tuple[str, str]) -> None:
    """Neither of the same issuer nor of another; and all ids fit the API."""
    ids = [federated_id(*first), federated_id(*second)]
    assert (ids[0] == ids[1]) == (first == second)
    for each, (name, _) in zip(ids, (first, second), strict=True):
        assert len(each) <= MOST_ID_CHARACTERS
        assert issuer_name_of(each) == name


def test_a_claim_that_looks_like_a_digest_is_not_that_one() -> None:
    """Nobody gets another one's id by being called like it."""
    digest = federated_id("corp", "Jürgen")
    assert federated_id("corp", digest.partition(":")[2]) != digest


def test_service_accounts_are_of_no_issuer() -> None:
    """Their ids have no colon."""
    assert issuer_name_of(new_id(Prefix.SERVICE_ACCOUNT)) == ""


@pytest.mark.parametrize("name", ["", "A", "1a", "a:b", "a_b", "a-", "-a", "a" * 21, "ü", "a\n"])
def test_names_that_ids_cannot_begin_with(name: str) -> None:
    """Short, lower case, and without a colon."""
    assert not is_issuer_name(name)
    assert is_issuer_name("corp-2")
