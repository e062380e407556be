"""The page of conformance says what the tests' marks say."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatch

from conformance.page import PAGE, make_conformance
from conformance.rules import RULES


def test_the_page_is_up_to_date() -> None:
    """`make conformance` writes it anew."""
    assert PAGE.read_text() == make_conformance().render(), "Run `make conformance`."


def test_marks_name_rules_and_methods_that_are_there() -> None:
    """A proof of something that nobody promises is a slip of the pen."""
    conformance = make_conformance()
    rules = {rule.id: rule for rule in RULES}
    assert set(conformance.proofs) - set(rules) == set()
    for rule_id, proofs in list(conformance.proofs.items()):
        methods = conformance.methods_of(rules[rule_id])
        for pattern in {each for proof in proofs for each in proof.methods}:
            matching = [each for each in methods if fnmatch(each, pattern)]
            assert matching, f"{rule_id} is not about {pattern}"


def test_rules_have_ids_of_their_own() -> None:
    """Each once, and about something that is served."""
    assert [
        rule_id for rule_id, count in Counter(rule.id for rule in RULES).items() if count > 1
    ] == []
    conformance = make_conformance()
    unserved = [rule.id for rule in RULES if rule.methods and not conformance.methods_of(rule)]
    assert unserved == []
