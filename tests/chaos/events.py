"""What happened when: printed, so that a failure can be followed."""

from __future__ import annotations

import threading
import time


class Events:
    """Told from many threads."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def tell(self, what: str) -> None:
        with self._lock:
            print(f"{self.seconds:7.1f} s  {what}", flush=True)  # noqa: T201  (what they are for)
