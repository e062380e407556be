"""What tests take for processes that are left."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from parts.children import own_children


def test_a_process_that_ends_while_it_is_looked_at_is_not_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was listed, and is gone when its parents are asked for."""
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert [each.pid for each in own_children()] == [process.pid]
        ask_parents = psutil.Process.parents

        def end_first(each: psutil.Process) -> list[psutil.Process]:
            process.kill()
            process.wait()
            return ask_parents(each)

        monkeypatch.setattr(psutil.Process, "parents", end_first)
        assert own_children() == []
