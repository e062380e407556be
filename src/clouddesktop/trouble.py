"""Work that is repeated whatever happens, such as every second, and what the log says of it.

A trouble that lasts is told when it begins and when it is over, not each time in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from clouddesktop.errors import CloudDesktopError

_log = structlog.get_logger(__name__)


class Trouble:
    """The trouble of one thing that one thread does again and again."""

    def __init__(self, what: str) -> None:
        """Name what is done, for the log."""
        self._what = what
        self._told: set[str] = set()
        self._since = 0.0

    @property
    def lasts(self) -> bool:
        """Whether it failed when it was done last."""
        return bool(self._told)

    def attempt(self, work: Callable[[], object]) -> bool:
        """Do it once; False when it fails, which is told if it is new, and goes no further."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  (whatever it is: the next time may be better)
            self._begin(error)
            return False
        self._end()
        return True

    def _begin(self, error: Exception) -> None:
        is_ours = isinstance(error, CloudDesktopError)
        kind = error.reason if isinstance(error, CloudDesktopError) else type(error).__name__
        if not self._told:
            self._since = time.monotonic()
        if kind not in self._told:
            self._told.add(kind)
            _log.warning(
                f"{self._what} fails, and is tried again and again",
                why=str(error).partition("\n")[0],
                exc_info=not is_ours,
            )

    def _end(self) -> None:
        if self._told:
            lasted = round(time.monotonic() - self._since, 1)
            _log.info(f"{self._what} works again", after_seconds=lasted)
            self._told.clear()
