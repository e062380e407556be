"""Hostile qcow2 files are refused or read exactly, and nothing but the file is touched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hostile.qcow2_samples import iter_samples
from hostile.verdicts import CANARY, MOST_KIB, Sample, Verdicts, by_name, judge_all

pytestmark = pytest.mark.qemu

NAMES = tuple(sample.name for sample in iter_samples(Path(f"/{CANARY}/{CANARY}")))


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(CANARY) / f"{CANARY}.raw"
    path.write_bytes(b"secret" * 20_000)
    return path


@pytest.fixture(scope="module")
def samples(canary: Path) -> Mapping[str, Sample]:
    return by_name(iter_samples(canary))


@pytest.fixture(scope="module")
def verdicts(samples: Mapping[str, Sample], tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    return judge_all(list(samples.values()), tmp_path_factory.mktemp("qcow2"))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_refused_or_read_exactly(
    name: str, samples: Mapping[str, Sample], verdicts: Verdicts
) -> None:
    """In time, with an error of ours or its own bytes; no other file is as much as looked for."""
    verdicts.check(samples[name])


def test_they_cost_little(verdicts: Verdicts) -> None:
    """Neither our process nor QEMU takes much memory over any of them."""
    assert verdicts.status == 0, verdicts.stderr
    assert verdicts.usage["own_kib"] < MOST_KIB
    assert verdicts.usage["child_kib"] < MOST_KIB
