"""Hostile files of all other kinds are refused or read exactly, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hostile.other_samples import FORMATS, iter_samples
from hostile.verdicts import CANARY, MOST_KIB, Sample, Verdicts, by_name, judge_all
from parts.disks import MIB, convert, random_bytes, write_raw

pytestmark = pytest.mark.qemu

NAMES = tuple(sample.name for sample in iter_samples(Path(f"/{CANARY}/{CANARY}"), {}))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sample]:
    canary = tmp_path_factory.mktemp(CANARY) / f"{CANARY}.raw"
    canary.write_bytes(b"secret" * 20_000)
    folder = tmp_path_factory.mktemp("bases")
    raw = folder / "disk.raw"
    write_raw(raw, size=8 * MIB, data={0: random_bytes(100_000, seed=9), 5 * MIB: b"more"})
    bases = {}
    for disk_format in FORMATS:
        convert(raw, folder / disk_format, "-O", disk_format, source_format="raw")
        bases[disk_format] = (folder / disk_format).read_bytes()
    return by_name(iter_samples(canary, bases))


@pytest.fixture(scope="module")
def verdicts(samples: Mapping[str, Sample], tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    return judge_all(list(samples.values()), tmp_path_factory.mktemp("others"))


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
