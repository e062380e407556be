"""Runs of the keeper: work on the whole store that takes time, such as collecting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from clouddesktop.errors import Failure


class RunKind(StrEnum):
    """What a run does. Earlier ones go first: a run makes way for one of an earlier kind."""

    HOLD = "hold"
    GC = "gc"
    SCRUB = "scrub"


RUN_OPTIONS: Mapping[RunKind, Mapping[str, type]] = {
    RunKind.HOLD: {"seconds": int},
    RunKind.GC: {"dry_run": bool, "keep_unknown": bool},
    RunKind.SCRUB: {"max_age_seconds": int, "bytes_per_second": int, "repair": bool, "rekey": bool},
}
"""The options that a run of each kind takes, and the types of their JSON values."""


class RunState(StrEnum):
    """Where a run stands; the first two go on, also after a restart of the server."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_active(self) -> bool:
        return self in {RunState.WAITING, RunState.RUNNING}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperRun:
    """A run at one moment; `options`, `progress` and `report` are JSON-ready and its kind's own.

    `epoch` counts how often it was begun. `report` is there once it has ended, `failure` if it
    failed. `created_by` is empty for a run that the server started by itself. With `stop_asked`
    it is to end before its work is done.
    """

    id: str
    kind: RunKind
    state: RunState
    options: Mapping[str, Any]
    epoch: int = 0
    attempts: int = 0
    progress: Mapping[str, Any]
    report: Mapping[str, Any] | None = None
    failure: Failure | None = None
    created_by: str
    stop_asked: bool = False
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
