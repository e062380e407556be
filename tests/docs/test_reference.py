"""The reference pages say everything that the code offers, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import clouddesktop.client
from clouddesktop.cli.main import app
from clouddesktop.config import Settings

_REFERENCE = Path(__file__).parents[2] / "docs/reference"
_SHARED = {"--profile", "--format", "--folder-id", "--endpoint"}
_EVERYWHERE = {"--help"}


def iter_verbs(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Walk over the verbs: their words, and the command that knows their options."""
    command = command or get_command(app)
    if not hasattr(command, "commands"):
        yield " ".join(words), command
        return
    for name, inner in command.commands.items():
        yield from iter_verbs(inner, (*words, name))


def sections() -> dict[str, str]:
    """Take the page apart: what stands under each verb's heading."""
    parts = re.split(r"^## (.*)$", (_REFERENCE / "cli.md").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def options_in(text: str) -> set[str]:
    """Find the options that a table explains: those at the start of its rows."""
    return set(re.findall(r"^\| `(--[a-z-]+)", text, flags=re.MULTILINE))


def test_every_verb_has_its_section() -> None:
    """A verb without words is not there for a user, and words without a verb are a lie."""
    verbs = {f"clouddesktop {words}" for words, _ in iter_verbs()}
    assert {each for each in sections() if each.startswith("clouddesktop ")} == verbs


@pytest.mark.parametrize(("words", "command"), list(iter_verbs()), ids=str)
def test_every_option_is_explained(words: str, command: Any) -> None:
    """Each verb's table has its own options; the shared ones have a section of their own."""
    offered = {
        option
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }
    explained = options_in(sections()[f"clouddesktop {words}"])
    assert explained == offered - _SHARED - _EVERYWHERE
    assert options_in(sections()["Options of every verb that talks to a server"]) == _SHARED


def test_every_setting_has_its_row() -> None:
    """Option, variable, key and default of each setting stand where a user looks for them."""
    page = (_REFERENCE / "settings.md").read_text()
    rows = [
        [cell.strip() for cell in line.split(" | ")]
        for line in page.splitlines()
        if line.startswith("| `--")
    ]
    explained = {row[0].strip("| `"): row for row in rows}
    assert set(explained) == {f"--{name.replace('_', '-')}" for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        _, variable, key, default, _ = explained[f"--{name.replace('_', '-')}"]
        assert variable == f"`CLOUDDESKTOP_{name.upper()}`"
        assert key == ("-" if name == "config" else f"`{name}`")
        value = field.get_default(call_default_factory=True)
        if value in (None, (), {}):
            assert default in {"none", "in the data folder"}
        else:
            assert default == f"`{str(value).lower()}`"


def test_every_public_name_is_explained() -> None:
    """The Python API's page is complete."""
    page = (_REFERENCE / "python.md").read_text()
    rows = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `")]
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert explained == set(clouddesktop.client.__all__)


def test_links_lead_somewhere() -> None:
    """A link to a file of the project that is not there helps nobody."""
    root = _REFERENCE.parents[1]
    pages = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("benchmarks/*.md")]
    broken = [
        f"{page.relative_to(root)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []
