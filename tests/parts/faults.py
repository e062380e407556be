"""A real server that pauses at a failpoint until it is told to go on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from parts.server import ServerProcess
from parts.waiting import wait_for

FAULTY_COMMAND = (sys.executable, str(Path(__file__).with_name("faulty_server.py")))


class PausedServer:
    """A started server that will pause at `failpoint`, the first time and each time after."""

    def __init__(
        self,
        make_server: Callable[..., ServerProcess],
        folder: Path,
        *,
        failpoint: str,
        options: tuple[str, ...] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._failpoint = failpoint
        self._log = folder / "faults.log"
        self._gate = folder / "gate"
        self._gate.touch()
        self.server = make_server(
            command=FAULTY_COMMAND,
            options=options,
            variables={
                **(variables or {}),
                "FAULT_LOG": str(self._log),
                "FAULT_PAUSE": failpoint,
                "FAULT_GATE": str(self._gate),
            },
        )
        self.server.start()

    def noted(self) -> list[str]:
        """Give the failpoints that were passed so far, in order."""
        return self._log.read_text().split() if self._log.exists() else []

    def wait_paused(self) -> None:
        wait_for(lambda: self._failpoint in self.noted(), f"{self._failpoint} is reached")

    def go_on(self) -> None:
        self._gate.unlink()
