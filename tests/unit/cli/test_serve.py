"""`clouddesktop serve` and its like: their options and the settings are the same things."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from clouddesktop.cli.serve import serve
from clouddesktop.cli.server_options import ServerOptions
from clouddesktop.cli.verbs import with_settings
from clouddesktop.config import Settings


def test_every_setting_is_an_option() -> None:
    """And every option a setting: what one place can say, the others can."""
    assert set(inspect.signature(serve).parameters) == set(Settings.model_fields)
    assert set(ServerOptions.__annotations__) == set(Settings.model_fields)


def settings_of(*arguments: str, names: tuple[str, ...] = ()) -> Settings | None:
    """Run a verb that takes the settings `names`, or all; None: the usage was wrong."""
    taken: list[Settings] = []
    app = typer.Typer()
    app.command()(with_settings(*names)(taken.append))
    result = CliRunner().invoke(app, arguments)
    return taken[0] if result.exit_code == 0 else None


def test_options_win_over_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero is a value; options that are not given leave the variables be, lists and flags too."""
    monkeypatch.setenv("CLOUDDESKTOP_SPOOL_SIZE", "7")
    monkeypatch.setenv("CLOUDDESKTOP_RATE_BURST", "8")
    monkeypatch.setenv("CLOUDDESKTOP_PLAINTEXT", "true")
    monkeypatch.setenv("CLOUDDESKTOP_SOURCE", "a=file:///a")
    monkeypatch.setenv("CLOUDDESKTOP_NAMES", '["variable.example.org"]')
    settings = settings_of("--spool-size", "0", "--names", "b.example.org", "--names", "c")
    assert settings is not None
    assert (settings.spool_size, settings.rate_burst) == (0, 8)
    assert settings.names == ("b.example.org", "c")
    assert (settings.plaintext, settings.source) == (True, {"a": "file:///a"})


def test_a_verb_may_take_some_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are no options of it, and come from the variables."""
    monkeypatch.setenv("CLOUDDESKTOP_WORKERS", "3")
    names = ("data_dir", "database")
    settings = settings_of("--data-dir", "elsewhere", names=names)
    assert settings is not None
    assert (settings.data_dir, settings.workers) == (Path("elsewhere"), 3)
    assert settings_of("--workers", "3", names=names) is None
