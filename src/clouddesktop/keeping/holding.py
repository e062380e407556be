"""A hold: while it is at work, no collection and no scrub is, so no pack or manifest goes.

It is a run of the keeper that does nothing. Since the keeper works on one run at a time, and any
other makes way for it, whatever the catalogue knows when a hold has begun is in the store until it
ends. It goes on after a crash, and also in a catalogue that is restored from a backup made
meanwhile: there it holds until somebody has looked, or its time is up.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from clouddesktop.keeping.runs import Turn

MOST_SECONDS = 7 * 86400
_DEFAULT_SECONDS = 86400
_LOOK_SECONDS = 0.2


def hold(turn: Turn) -> Mapping[str, Any]:
    """Wait until the time of the run is up; the report says when that was.

    Options of the run: `seconds`, from its first begin, a day if not given, a week at most.
    """
    until = _read_end(turn)
    turn.save({"until": until.isoformat()})
    while datetime.now(tz=UTC) < until:
        turn.check()
        time.sleep(_LOOK_SECONDS)
    return turn.progress


def _read_end(turn: Turn) -> datetime:
    if "until" in turn.progress:
        return datetime.fromisoformat(turn.progress["until"])
    seconds = turn.options.get("seconds", _DEFAULT_SECONDS)
    return datetime.now(tz=UTC) + timedelta(seconds=max(0, min(seconds, MOST_SECONDS)))
