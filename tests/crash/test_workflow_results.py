"""Steps that run side by side, across crashes of their process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from parts.workflow_child import ITEMS

CHILD = Path(__file__).parents[1] / "parts" / "workflow_child.py"


def run_child(folder: Path, *, ends_before_kill: int) -> int:
    """Run the child process to its end, or to its kill."""
    return subprocess.run(
        [
            sys.executable,
            str(CHILD),
            str(folder / "workflows.db"),
            str(folder / "notes"),
            str(ends_before_kill),
        ],
        check=False,
        timeout=120,
    ).returncode


@pytest.mark.crash
@pytest.mark.parametrize("ends_before_kill", [6, 11, 19])
def test_each_step_gets_its_own_result_back_after_a_crash(
    tmp_path: Path, ends_before_kill: int
) -> None:
    """Killed again and again, the workflow ends with every result beside its own item."""
    kills = 0
    while (status := run_child(tmp_path, ends_before_kill=ends_before_kill)) != 0:
        assert status == -9
        kills += 1
        assert kills < ITEMS
    assert kills >= 1
    notes = (tmp_path / "notes").read_text().splitlines()
    results = [json.loads(line.partition(" ")[2]) for line in notes if line.startswith("result")]
    assert results == [[[item, item * item] for item in range(ITEMS)]]
    begun = Counter(line for line in notes if line.startswith("begin"))
    assert len(begun) == ITEMS
    # At most the five at work, and the one whose end was not kept, are run again after each kill.
    assert sum(begun.values()) <= ITEMS + 6 * kills
