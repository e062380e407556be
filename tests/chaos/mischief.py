"""What goes wrong, and when: drawn from a seed before anything begins."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from chaos.events import Events
from chaos.supervising import Supervised
from parts.postgres import Postgres
from parts.seaweedfs import SeaweedFS

_PAUSE_SECONDS = (0.5, 5.0)
"""Between two events; they overlap when the first lasts longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something breaks, and is healed later."""

    at: float
    what: str
    target: str
    heals_at: float


def draw_events(
    *, seed: int, seconds: float, lease: float, servers: list[str], workers: list[str]
) -> list[Event]:
    """Draw events for so many seconds, at most one at a time for each target."""
    chance = random.Random(f"{seed} events")  # noqa: S311  (test data)
    busy_until: dict[str, float] = {}
    events: list[Event] = []
    at = chance.uniform(*_PAUSE_SECONDS)
    while at < seconds:
        what, target, lasts = chance.choice(
            [
                *(("kill", each, 4.0) for each in (*workers, *servers)),
                *(("pause", each, lease * chance.uniform(1.3, 2.5)) for each in workers),
                *(("pause", each, lease * chance.uniform(0.3, 2.0)) for each in servers),
                *([("restart", "PostgreSQL", chance.uniform(0.2, lease * 1.5))] * 2),
                *([("restart", "SeaweedFS", chance.uniform(0.2, lease * 1.5))] * 2),
            ]
        )
        if busy_until.get(target, 0) < at:
            events.append(Event(at=at, what=what, target=target, heals_at=at + lasts))
            busy_until[target] = at + lasts + 1
        at += chance.uniform(*_PAUSE_SECONDS)
    return events


class Mischief:
    """Carries events out; in the end, everything is healed."""

    def __init__(
        self,
        *,
        processes: Mapping[str, Supervised],
        postgres: Postgres,
        seaweedfs: SeaweedFS,
        told: Events,
    ) -> None:
        self._processes = processes
        self._postgres = postgres
        self._seaweedfs = seaweedfs
        self._told = told

    def names(self, kind: str) -> list[str]:
        """Name the processes of a kind."""
        return [each for each in self._processes if each.startswith(kind)]

    def carry_out(self, events: list[Event], *, seconds: float) -> None:
        """Break and heal, each at its time, and return when the time is over."""
        steps = sorted(
            [(each.at, each, self._break) for each in events]
            + [(each.heals_at, each, self._heal) for each in events],
            key=lambda step: step[0],
        )
        began = self._told.seconds
        waiting = threading.Event()
        broken: list[Event] = []
        try:
            for at, event, step in steps:
                waiting.wait(max(0.0, began + at - self._told.seconds))
                if step == self._break:
                    if self._is_fair(event):
                        broken.append(event)
                        self._break(event)
                elif event in broken:
                    broken.remove(event)
                    self._heal(event)
        finally:
            for event in broken:
                self._heal(event)
        waiting.wait(max(0.0, began + seconds - self._told.seconds))

    def _is_fair(self, event: Event) -> bool:
        """Tell whether what it hits is up: where nothing ever starts, nothing is shown."""
        if event.what == "restart":
            return any(self._processes[each].is_up for each in self.names("server"))
        return self._processes[event.target].is_up

    def _break(self, event: Event) -> None:
        lasts = event.heals_at - event.at
        match event.what, event.target:
            case "restart", "PostgreSQL":
                self._told.tell(f"PostgreSQL is away for {lasts:.1f} s")
                self._postgres.crash()
            case "restart", _:
                self._told.tell(f"SeaweedFS is away for {lasts:.1f} s")
                self._seaweedfs.pause()
            case "kill", target:
                self._told.tell(f"{target} is killed")
                self._processes[target].send(signal.SIGKILL)
            case _, target:
                self._told.tell(f"{target} is paused for {lasts:.1f} s")
                self._processes[target].send(signal.SIGSTOP)

    def _heal(self, event: Event) -> None:
        match event.what, event.target:
            case "restart", "PostgreSQL":
                self._postgres.resume()
                self._told.tell("PostgreSQL is back")
            case "restart", _:
                self._seaweedfs.start()
                self._told.tell("SeaweedFS is back")
            case "pause", target:
                self._processes[target].send(signal.SIGCONT)
                self._told.tell(f"{target} goes on")
