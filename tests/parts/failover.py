"""A copy whose worker is killed: when it goes on elsewhere, and which ranges are copied again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from parts.cluster import WorkerProcess
from parts.disks import MIB, random_bytes
from parts.official import OfficialClient
from parts.waiting import wait_for

RANGES = 24
FEW_RANGES = 7
"""Fewer than a copy has that idle workers help with (docs/adr/0038)."""

_SPACING = 64 * MIB  # a hole that no range bridges
_DATA = 16 * MIB
_MUCH_DATA = 46 * MIB
_CALM_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover:
    """What a kill has cost."""

    seconds: float
    """From SIGKILL to the end of the next range, elsewhere."""

    finished_before: set[int]
    """The ranges that the dead worker had finished."""

    begun_twice: set[int]
    """Those that were begun by the dead worker, and again by another."""


def write_disk(path: Path, *, seed: int, ranges: int = RANGES) -> None:
    """Write a raw disk of RANGES ranges, or of FEW_RANGES, which nothing compresses."""
    size = _DATA if ranges == RANGES else _MUCH_DATA
    with path.open("wb") as file:
        for index in range(ranges):
            file.seek(index * _SPACING)
            file.write(random_bytes(size, seed=seed * ranges + index))
        file.truncate(ranges * _SPACING)


def fail_over(client: OfficialClient, workers: dict[Path, WorkerProcess], name: str) -> Failover:
    """Copy the disk of that name, kill its worker in the middle, and wait for the copy's end.

    `workers` run, and note the failpoints that they pass in the files by which they are given; the
    one that is killed is started again.
    """
    for notes in workers:
        notes.write_text("")
    operation = client.copy(name, name)
    wait_for(lambda: any(len(_noted("recorded", each)) > 1 for each in workers), "it is copied")
    notes = max(workers, key=lambda each: len(_noted("recorded", each)))
    killed_at = time.monotonic()
    workers[notes].kill()
    begun, finished = _noted("begin", notes), _noted("recorded", notes)
    others = [each for each in workers if each != notes]
    before = _noted("recorded", *others)
    wait_for(
        lambda: bool(_noted("recorded", *others) - before),
        "a range is finished elsewhere",
        timeout_seconds=_CALM_SECONDS,
    )
    seconds = time.monotonic() - killed_at
    done = client.wait(operation.id, timeout_seconds=_CALM_SECONDS)
    assert done.WhichOneof("result") == "response", done
    workers[notes].start()
    return Failover(
        seconds=seconds,
        finished_before=finished,
        begun_twice=begun & _noted("begin", *others),
    )


def _noted(what: str, *files: Path) -> set[int]:
    """Give the ranges that were begun, or recorded."""
    lines = [line for each in files for line in each.read_text().split()]
    return {int(each.partition(":")[2]) for each in lines if each.startswith(f"range-{what}:")}
