"""The command, run in the test's own process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from clouddesktop.cli.main import main


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command in this process, in a folder of its own, as a terminal-less caller."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLOUDDESKTOP_PROFILE", raising=False)

    def run_command(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr("sys.argv", ["clouddesktop", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        status = caught.value.code
        assert status is None or isinstance(status, int)
        return Outcome(status=status or 0, out=captured.out, err=captured.err)

    return run_command
