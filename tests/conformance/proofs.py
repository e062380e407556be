"""Finds the tests that prove rules: `@pytest.mark.proves("rule.id", of=["Service/Method"])`.

Read from the sources, so that a part of the tests knows what all of them prove. Without `of`, a
test proves its rules for every method that they are about.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A test, the rule that it proves, and for which methods; none named means all."""

    rule_id: str
    methods: tuple[str, ...]
    test: str
    path: str


def iter_proofs(folder: Path = TESTS) -> Iterator[Proof]:
    """Read every test file, in the order of their names."""
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _proofs_of(node, path.relative_to(folder).as_posix())


def _proofs_of(function: ast.FunctionDef | ast.AsyncFunctionDef, path: str) -> Iterator[Proof]:
    for mark in function.decorator_list:
        if not isinstance(mark, ast.Call) or ast.unparse(mark.func) != "pytest.mark.proves":
            continue
        named = {each.arg: ast.literal_eval(each.value) for each in mark.keywords}
        for rule_id in map(ast.literal_eval, mark.args):
            yield Proof(
                rule_id=rule_id,
                methods=tuple(named.get("of", ())),
                test=function.name,
                path=path,
            )
