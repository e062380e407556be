"""Settings from options, variables and a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from clouddesktop.config import load_settings
from clouddesktop.errors import InvalidArgumentError


def test_an_option_beats_a_variable_beats_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearer to the command line, the stronger."""
    file = tmp_path / "settings.toml"
    file.write_text('grpc = "file:1"\nhttp = "file:2"\nworkers = 3\n[source]\na = "file:///a"\n')
    monkeypatch.setenv("CLOUDDESKTOP_GRPC", "variable:1")
    monkeypatch.setenv("CLOUDDESKTOP_HTTP", "variable:2")
    settings = load_settings(config=file, grpc="option:1")
    assert settings.grpc == "option:1"
    assert settings.http == "variable:2"
    assert settings.workers == 3
    assert settings.source == {"a": "file:///a"}


def test_sources_come_as_name_and_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option may be repeated; the variable holds several texts."""
    expected = {"a": "file:///a", "b": "file:///b=c"}
    assert load_settings(source=["a=file:///a", "b=file:///b=c"]).source == expected
    monkeypatch.setenv("CLOUDDESKTOP_SOURCE", "a=file:///a b=file:///b=c")
    assert load_settings().source == expected


@pytest.mark.parametrize(
    "source", [["nourl"], ["=file:///a"], ["a="], ["a=file:///a", "a=file:///b"]]
)
def test_a_source_of_another_form_is_refused(source: list[str]) -> None:
    """The error names the setting and gives an example."""
    with pytest.raises(InvalidArgumentError, match="source"):
        load_settings(source=source)


def test_everything_wrong_is_named_at_once(tmp_path: Path) -> None:
    """Unknown keys and values out of range come together."""
    file = tmp_path / "settings.toml"
    file.write_text('workers = 0\nstorre = "file:///a"\n')
    with pytest.raises(InvalidArgumentError) as caught:
        load_settings(config=file)
    assert {each.field for each in caught.value.violations} == {"workers", "storre"}


def test_a_missing_settings_file_is_named() -> None:
    """The path is in the message."""
    with pytest.raises(InvalidArgumentError, match=r"/missing\.toml"):
        load_settings(config=Path("/missing.toml"))
