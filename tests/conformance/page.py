"""Writes docs/conformance.md: what is served, what that promises, and which tests prove it.

Run as a program, it writes the file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import cast

from google.protobuf.descriptor import MethodDescriptor

from clouddesktop.api.served import Api
from clouddesktop.api.services import NOT_SERVED
from clouddesktop.catalog.engine import Database
from conformance.proofs import TESTS, Proof, iter_proofs
from conformance.rules import RULES, Rule
from unit.api.serving import FakeCopies, make_api, make_tokens

PAGE = TESTS.parent / "docs/conformance.md"
_HEAD = """\
# Conformance

Which promises of the public API are proven for which of the methods that are served, and by which
tests. This page is generated: `make conformance` writes it from `tests/conformance/rules.py` and
from the marks of the tests, and a test fails when it is out of date. What has no proof is said.
"""


class Conformance:
    """The served methods, the rules about them, and their proofs."""

    def __init__(self, api: Api, proofs: Iterable[Proof]) -> None:
        self._served: dict[str, MethodDescriptor] = {}
        self._open: set[str] = set()
        self._missing: list[str] = []
        for service in api.services:
            for method in service.descriptor.methods:
                name = f"{service.descriptor.name}/{method.name}"
                if method.name not in service.answers:
                    self._missing.append(name)
                    continue
                self._served[name] = method
                if service.is_open:
                    self._open.add(name)
        for descriptor in NOT_SERVED:
            self._missing += [f"{descriptor.name}/{each.name}" for each in descriptor.methods]
        self.proofs: dict[str, list[Proof]] = defaultdict(list)
        for proof in proofs:
            self.proofs[proof.rule_id].append(proof)

    def methods_of(self, rule: Rule) -> list[str]:
        """Say for which of the served methods a rule holds."""
        return [
            name for name in self._served if any(self._is_in(name, each) for each in rule.methods)
        ]

    def tests_of(self, rule: Rule, method: str) -> list[Proof]:
        """Find what proves a rule for a method."""
        return [
            each
            for each in self.proofs[rule.id]
            if not each.methods or any(fnmatch(method, pattern) for pattern in each.methods)
        ]

    def render(self) -> str:
        """Write the page."""
        return "\n".join([_HEAD, *self._rules(), "", *self._methods(), "", *self._not_served(), ""])

    def _is_in(self, name: str, pattern: str) -> bool:
        method = self._served[name]
        match pattern:
            case "@authenticated":
                return name not in self._open
            case "@changes":
                is_operation = method.output_type.full_name == "yandex.cloud.operation.Operation"
                return is_operation and not name.startswith("OperationService/")
            case "@pages":
                fields = method.input_type.fields_by_name
                return "page_token" in fields and name not in self._open
            case _:
                return fnmatch(name, pattern)

    def _rules(self) -> list[str]:
        lines = ["## Rules", "", "| rule | promise | proven for | by |", "|---|---|---|---|"]
        for rule in RULES:
            methods = self.methods_of(rule)
            proven = [each for each in methods if self.tests_of(rule, each)]
            tests = [f"[{each.test}](../tests/{each.path})" for each in self.proofs[rule.id]] or [
                "nothing yet"
            ]
            count = f"{len(proven)} of {len(methods)} methods" if rule.methods else "the server"
            lines.append(f"| `{rule.id}` | {rule.promise} | {count} | {'<br>'.join(tests)} |")
        return lines

    def _methods(self) -> list[str]:
        lines = ["## Methods", "", "| method | proven | not proven |", "|---|---|---|"]
        for name in self._served:
            rules = [rule for rule in RULES if name in self.methods_of(rule)]
            proven = [f"`{rule.id}`" for rule in rules if self.tests_of(rule, name)]
            open_ones = [f"`{rule.id}`" for rule in rules if not self.tests_of(rule, name)]
            lines.append(f"| {name} | {' '.join(proven)} | {' '.join(open_ones)} |")
        return lines

    def _not_served(self) -> list[str]:
        return ["## Not served", "", "These answer UNIMPLEMENTED:", ""] + [
            f"- {each}" for each in self._missing
        ]


def make_conformance(folder: Path = TESTS) -> Conformance:
    """Read everything; no part of the API is called, so it needs no database."""
    api = make_api(database=cast("Database", None), copies=FakeCopies(), tokens=make_tokens())
    return Conformance(api, iter_proofs(folder))


if __name__ == "__main__":
    PAGE.write_text(make_conformance().render())
