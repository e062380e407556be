"""Processes that are started again whenever they end, as a supervisor on a real machine does."""

from __future__ import annotations

import signal
import threading
import time

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
        self._is_up = False
        self.status: int | None = None
        """Of its last end."""

        self._events = events
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep_running, name=name, daemon=True)

    def begin(self) -> None:
        """Start it, and keep it running from now on."""
        self.process.start()
        self._is_up = True
        self._thread.start()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process that runs now, if one does."""
        running = self.process.process
        if running is not None:
            running.send_signal(number)

    @property
    def is_up(self) -> bool:
        """Whether it runs and is ready; a machine that is busy takes its time to start it."""
        return self._is_up

    def end(self, number: signal.Signals) -> None:
        """Start it no more, and end it by a signal; may be called twice."""
        self._ending.set()
        told: object = None
        deadline = time.monotonic() + _END_SECONDS
        while self._thread.is_alive():
            running = self.process.process
            if running is not None and running is not told:
                running.send_signal(number)
                told = running
            self._thread.join(_PAUSE_SECONDS)
            assert time.monotonic() < deadline, f"{self.name} does not end"

    def _keep_running(self) -> None:
        while True:
            running = self.process.process
            if running is not None:
                self.status = running.wait()
                self._is_up = False
                if running.stdout is not None:
                    running.stdout.close()
                self.process.process = None
                self._events.tell(f"{self.name} has ended with status {self.status}")
            if self._ending.wait(_PAUSE_SECONDS):
                return
            try:
                self.process.start()
            except AssertionError:
                self._events.tell(f"{self.name} could not start, and tries again")
            else:
                self._is_up = True
                self._events.tell(f"{self.name} runs again")
