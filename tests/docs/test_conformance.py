"""The page of conformance says what the tests' marks say, and the marks are on tests that run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from conformance import collecting
from conformance.page import PAGE, Conformance, make_conformance
from conformance.proofs import TESTS, Proof
from conformance.rules import EXEMPTIONS, RULES


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """A test as pytest collects it; `methods` are those that it is run for, one by one."""

    proofs: frozenset[tuple[str, tuple[str, ...]]]
    may_skip: bool
    methods: frozenset[str]


@pytest.fixture(scope="module")
def conformance() -> Conformance:
    return make_conformance()


@pytest.fixture(scope="module")
def collected(
    conformance: Conformance, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Collected]:
    """Every test with a mark, by file and name, as pytest finds it."""
    files = sorted({each.path for proofs in conformance.proofs.values() for each in proofs})
    output = Path(tmp_path_factory.mktemp("collected")) / "tests.json"
    paths = [str(TESTS / each) for each in files]
    command = [sys.executable, "-P", collecting.__file__, str(output), *paths]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=TESTS.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    grouped: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for each in json.loads(output.read_text()):
        grouped[each["path"], each["test"]].append(each)
    return {
        key: Collected(
            proofs=frozenset(
                (rule_id, tuple(mark["of"]))
                for mark in tests[0]["marks"]
                for rule_id in mark["rules"]
            ),
            may_skip=any(each["may_skip"] for each in tests),
            methods=frozenset(each["method"] for each in tests) - {""},
        )
        for key, tests in grouped.items()
    }


def all_proofs(conformance: Conformance) -> list[Proof]:
    return [each for proofs in conformance.proofs.values() for each in proofs]


def test_the_page_is_up_to_date(conformance: Conformance) -> None:
    """`make conformance` writes it anew."""
    assert PAGE.read_text() == conformance.render(), "Run `make conformance`."


def test_every_promise_is_proven_or_exempted(conformance: Conformance) -> None:
    """For each served method; whoever serves one writes its proofs, or why it needs none."""
    assert conformance.unproven() == []


def test_exemptions_are_about_something(conformance: Conformance) -> None:
    """A rule and methods that are there, each once."""
    rules = {rule.id: rule for rule in RULES}
    seen = []
    for each in EXEMPTIONS:
        named = conformance.methods_named_by(rules[each.rule_id])
        for pattern in each.methods:
            matching = [name for name in named if fnmatch(name, pattern)]
            assert matching, f"{each.rule_id} is not about {pattern}"
            seen += [(each.rule_id, name) for name in matching]
        assert each.reason.endswith(".")
    assert [each for each, count in Counter(seen).items() if count > 1] == []


def test_marks_name_rules_and_methods_that_are_there(conformance: Conformance) -> None:
    """A proof of something that nobody promises is a slip of the pen."""
    rules = {rule.id: rule for rule in RULES}
    assert set(conformance.proofs) - set(rules) == set()
    for rule_id, proofs in list(conformance.proofs.items()):
        methods = conformance.methods_of(rules[rule_id])
        for pattern in {each for proof in proofs for each in proof.methods}:
            matching = [each for each in methods if fnmatch(each, pattern)]
            assert matching, f"{rule_id} is not about {pattern}"


def test_marks_are_on_tests_that_run(
    conformance: Conformance, collected: dict[tuple[str, str], Collected]
) -> None:
    """Pytest finds each of them with its marks, and none may be left out by itself."""
    written = defaultdict(set)
    for proof in all_proofs(conformance):
        written[proof.path, proof.test].add((proof.rule_id, proof.methods))
    assert written == {key: set(each.proofs) for key, each in collected.items()}
    assert [key for key, each in collected.items() if each.may_skip] == []


def test_what_is_proven_method_by_method_is_run_for_each(
    conformance: Conformance, collected: dict[tuple[str, str], Collected]
) -> None:
    """A test that takes a method's path proves its rules for the methods that it is run for."""
    wrong = []
    for rule in RULES:
        methods = set(conformance.methods_of(rule))
        for proof in conformance.proofs[rule.id]:
            run_for = collected[proof.path, proof.test].methods
            if not run_for:
                continue
            claimed = {each for each in methods if proof in conformance.tests_of(rule, each)}
            wrong += [f"{proof.test}: not run for {each}" for each in claimed - run_for]
            exempted = set(conformance.methods_named_by(rule)) - methods
            wrong += [f"{rule.id}: exempted, and run for {each}" for each in exempted & run_for]
    assert wrong == []


def test_rules_have_ids_of_their_own(conformance: Conformance) -> None:
    """Each once, and about something that is served."""
    assert [
        rule_id for rule_id, count in Counter(rule.id for rule in RULES).items() if count > 1
    ] == []
    unserved = [rule.id for rule in RULES if rule.methods and not conformance.methods_of(rule)]
    assert unserved == []
