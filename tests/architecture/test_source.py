"""Rules of the code that import-linter cannot see."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "clouddesktop"
MODULES = sorted(SOURCE.rglob("*.py"))
MOST_LINES = 400
MOST_FUNCTION_LINES = 60


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_can_be_held_in_the_head(path: Path) -> None:
    """400 lines to a module and 60 to a function's body, at most; migrations are mere lists."""
    if "migrations" in path.parts:
        return
    assert len(path.read_text().splitlines()) <= MOST_LINES
    for node in nodes(path):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            assert node.end_lineno - node.body[0].lineno < MOST_FUNCTION_LINES, node.name


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is(path: Path) -> None:
    """Every module but the empty ones begins with a docstring."""
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_settings_read_the_environment(path: Path) -> None:
    """Below the top, values arrive as arguments. The command line sets one for gRPC's C core."""
    if name_of(path) in {"config.py", "cli/main.py"}:
        return
    for node in nodes(path):
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"environ", "getenv"}, ast.unparse(node)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_command_line_prints(path: Path) -> None:
    """Standard output belongs to results and to the ready line."""
    if name_of(path).startswith("cli/"):
        return
    for node in nodes(path):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print"


def test_workflows_and_steps_carry_names_of_their_own() -> None:
    """Names are kept in databases: moved code must not strand what is in flight."""
    for path in MODULES:
        for node in nodes(path):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            called = ast.unparse(node.func)
            if called == "DBOS.workflow":
                assert "name" in {keyword.arg for keyword in node.keywords}, name_of(path)
            if called in {"steps.run", "steps.run_each"}:
                assert isinstance(node.args[0], ast.Constant), name_of(path)
