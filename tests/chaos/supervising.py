"""Processes that are started again whenever they end, as a supervisor on a real machine does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from chaos.events import Events
from parts.cluster import WorkerProcess
from parts.server import ServerProcess

_PAUSE_SECONDS = 0.2
_END_SECONDS = 60


class Supervised:
    """One server or worker, from `begin` to `end`."""

    def __init__(self, name: str, process: ServerProcess | WorkerProcess, events: Events) -> None:
        self.name = name
        self.process = process
        self.starts = 0
        self.status: int | None = None
        """Of its last end."""

        self._events = events
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep_running, name=name, daemon=True)

    def begin(self) -> None:
        """Start it, and keep it running from now on."""
        self.process.start()
        self.starts += 1
        self._thread.start()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process that runs now, if one does."""
        running = self.process.process
        if running is not None:
            running.send_signal(number)

    def end(self, how: Callable[[], object]) -> None:
        """Start it no more, and end it in some way; may be called twice."""
        self._ending.set()
        if self.process.process is not None:
            how()
        if self._thread.ident is not None:
            self._thread.join(_END_SECONDS)
        assert not self._thread.is_alive(), f"{self.name} does not end"

    def _keep_running(self) -> None:
        while True:
            running = self.process.process
            if running is not None:
                self.status = running.wait()
                if self._ending.is_set():
                    return
                if running.stdout is not None:
                    running.stdout.close()
                self._events.tell(f"{self.name} has ended with status {self.status}")
            if self._ending.wait(_PAUSE_SECONDS):
                return
            try:
                self.process.start()
            except AssertionError:
                self._events.tell(f"{self.name} could not start, and tries again")
            else:
                self.starts += 1
                self._events.tell(f"{self.name} runs again")
