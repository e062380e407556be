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
from conformance.rules import EXEMPTIONS, RULES, Rule
from unit.api.serving import FakeCopies, make_api, make_tokens

PAGE = TESTS.parent / "docs/conformance.md"
_HEAD = """\
# Conformance

Which promises of the public API are proven for which of the methods that are served, and by which
tests. This page is generated: `make conformance` writes it from `tests/conformance/rules.py` and
from the marks of the tests. A test fails when it is out of date, when a promise has no proof and is
not among the exemptions, and when a mark is on a test that pytest does not run for the method.
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
        """Say for which of the served methods a rule holds; exempted ones are left out."""
        return [each for each in self.methods_named_by(rule) if not self.reason_of(rule, each)]

    def methods_named_by(self, rule: Rule) -> list[str]:
        """Say which of the served methods a rule names."""
        return [
            name for name in self._served if any(self._is_in(name, each) for each in rule.methods)
        ]

    def reason_of(self, rule: Rule, method: str) -> str:
        """Say why nothing has to prove a rule for a method; empty if something has to."""
        for each in EXEMPTIONS:
            if each.rule_id == rule.id and any(fnmatch(method, one) for one in each.methods):
                return each.reason
        return ""

    def unproven(self) -> list[str]:
        """Find what is promised, and neither proven nor exempted."""
        found = [
            f"{rule.id} for {method}"
            for rule in RULES
            for method in self.methods_of(rule)
            if not self.tests_of(rule, method)
        ]
        return found + [each.id for each in RULES if not self.proofs[each.id]]

    def tests_of(self, rule: Rule, method: str) -> list[Proof]:
        """Find what proves a rule for a method."""
        return [
            each
            for each in self.proofs[rule.id]
            if not each.methods or any(fnmatch(method, pattern) for pattern in each.methods)
        ]

    def render(self) -> str:
        """Write the page."""
        parts = (
            self._rules(),
            self._methods(),
            self._exemptions(),
            self._not_served(),
            self._files(),
        )
        return "\n".join([_HEAD, *("\n".join([*lines, ""]) for lines in parts)])

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
        lines = ["## Rules", "", "| rule | promise | about |", "|---|---|---|"]
        for rule in RULES:
            methods = len(self.methods_of(rule))
            about = f"{methods} method{'s' if methods > 1 else ''}"
            if not rule.methods:
                about = f"the server: {_links(self.proofs[rule.id])}"
            lines.append(f"| `{rule.id}` | {rule.promise} | {about} |")
        return lines

    def _methods(self) -> list[str]:
        lines = ["## Methods"]
        for name in self._served:
            lines += ["", f"### {name}", "", "| rule | proven by |", "|---|---|"]
            lines += [
                f"| `{rule.id}` | {_links(self.tests_of(rule, name)) or 'nothing'} |"
                for rule in RULES
                if name in self.methods_of(rule)
            ]
        return lines

    def _exemptions(self) -> list[str]:
        lines = ["## Exemptions", "", "| rule | methods | why |", "|---|---|---|"]
        for each in EXEMPTIONS:
            (rule,) = (rule for rule in RULES if rule.id == each.rule_id)
            methods = [
                name
                for name in self.methods_named_by(rule)
                if any(fnmatch(name, one) for one in each.methods)
            ]
            lines.append(f"| `{each.rule_id}` | {', '.join(methods)} | {each.reason} |")
        return lines

    def _files(self) -> list[str]:
        """Write what the links to tests lead to."""
        paths = sorted({each.path for proofs in self.proofs.values() for each in proofs})
        return [f"[{path}]: ../tests/{path}" for path in paths]

    def _not_served(self) -> list[str]:
        return ["## Not served", "", "These answer UNIMPLEMENTED:", ""] + [
            f"- {each}" for each in self._missing
        ]


def _links(proofs: Iterable[Proof]) -> str:
    return ", ".join(f"[{each.test}][{each.path}]" for each in proofs)


def make_conformance(folder: Path = TESTS) -> Conformance:
    """Read everything; no part of the API is called, so it needs no database."""
    api = make_api(database=cast("Database", None), copies=FakeCopies(), tokens=make_tokens())
    return Conformance(api, iter_proofs(folder))


if __name__ == "__main__":
    PAGE.write_text(make_conformance().render())
