"""A small budget of fuzzing in every run; `make fuzz` has more."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[2] / "fuzz"
DISKS = ("probe", "qcow2", "vdi", "vhd", "vhdx", "vmdk", "gpt")
WRAPPERS = ("ova", "gz", "xz", "bz", "zst")
TARGETS = (*DISKS, *WRAPPERS, "pack", "manifest", "chunk", "nbd")
SECONDS = 1


@pytest.mark.skipif(platform.machine() != "x86_64", reason="Atheris is made for x86-64 only")
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found(target: str, tmp_path: Path) -> None:
    """Whatever the bytes: an answer that holds, or an error of ours; old findings come first."""
    options = [f"-max_total_time={SECONDS}", f"-artifact_prefix={tmp_path}/"]
    ended = subprocess.run(
        # By a program in between: the most memory that a process ever had counts from the one that
        # it was forked off, and this one may have had more than the fuzzer allows itself.
        ["timeout", "110", sys.executable, str(FUZZ / "run.py"), target, *options, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, f"{ended.stdout[-1500:]}\n{ended.stderr[-3000:]}"
    assert "Done " in ended.stderr


def test_every_target_has_seeds() -> None:
    """Without an honest example a fuzzer does not get past the first check."""
    folders = {each.name for each in (FUZZ / "corpus").iterdir() if any(each.iterdir())}
    assert folders == set(TARGETS)
