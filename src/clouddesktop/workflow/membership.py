"""A worker's place among those that share a database: signs of life, and taking over from the dead.

    silent since        0 .. lease / 5      the usual, between two signs
                        lease               others remove it and take its workflows over
    wakes up later      its next sign finds no row: `on_lost` ends the process
    hangs in a sign     the same, once that has taken a lease and HUNG_SECONDS

What a worker does that others take for dead is harmless, since each of its writes names the run it
belongs to, and that run is over. It ends all the same: it cannot get new work under its old name.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa
import structlog

from clouddesktop.catalog import workers
from clouddesktop.catalog.engine import Database
from clouddesktop.errors import CloudDesktopError
from clouddesktop.workflow.queue import WorkflowQueue

_SIGNS_PER_LEASE = 5
_MOST_MISSED = 2
"""Signs that may be late before the database counts as having been away: others were cut off, too,
and have been silent for one sign longer at most, which is still less than a lease."""

HUNG_SECONDS = 10
"""How much longer than a lease a sign may take. What is down is told sooner than that; where
nothing comes back at all, this process's other queries hang like it, and may do so for ever."""

_log = structlog.get_logger(__name__)


class Membership:
    """Joins, gives signs of life from a thread of its own, and leaves; one for each process."""

    def __init__(
        self,
        *,
        database: Database,
        queue: WorkflowQueue,
        worker_id: str,
        host: str,
        lease_seconds: float,
        on_lost: Callable[[], None],
    ) -> None:
        """`on_lost` is called, from the thread, once others have taken the work over."""
        self._database = database
        self._queue = queue
        self._worker_id = worker_id
        self._host = host
        self._lease_seconds = lease_seconds
        self._pause_seconds = lease_seconds / _SIGNS_PER_LEASE
        self._on_lost = on_lost
        self._ended = threading.Event()
        self._steady_since = self._last_sign = time.monotonic()
        self._sign_began: float | None = None
        self._thread = threading.Thread(target=self._give_signs, name="membership", daemon=True)
        self._watch = threading.Thread(target=self._watch_signs, name="hung signs", daemon=True)

    def join(self) -> None:
        """Count as alive from now on."""
        self._database.write(workers.join, self._worker_id, host=self._host)
        self._last_sign = time.monotonic()
        self._thread.start()
        self._watch.start()

    def leave(self) -> None:
        """Let others take over at once; call it when nothing runs here any more."""
        self._ended.set()
        self._thread.join()
        try:
            self._database.write(workers.leave, self._worker_id)
        except CloudDesktopError as error:
            _log.warning("could not leave: others wait for a while", why=error.message)

    def look_after_others(self) -> bool:
        """Take over what dead workers have left; to be called every second or two.

        Returns:
            Whether this worker is the one that keeps the store.
        """
        return self._database.write(self._look_after_others)

    def _look_after_others(self, connection: sa.Connection) -> bool:
        # Under the catalogue's write lock, so that no two workers take over the same workflow, one
        # from the other. After the database was away, all have been silent: they get time to speak.
        if self._is_steady():
            silent_for = timedelta(seconds=self._lease_seconds)
            for each in workers.remove_silent(connection, silent_for=silent_for):
                _log.warning("a worker is taken for dead", worker=each)
        living = workers.list_living(connection)
        for workflow in self._queue.list_running():
            if workflow.worker not in living:
                _log.warning("a workflow goes on here or elsewhere", workflow=workflow.id)
                self._queue.resume(workflow.id)
        return workers.take_duty(connection, self._worker_id)

    def _is_steady(self) -> bool:
        """Tell whether the database could be reached for a whole lease, and still can."""
        now = time.monotonic()
        is_late = now - self._last_sign > _MOST_MISSED * self._pause_seconds
        return not is_late and now - self._steady_since > self._lease_seconds

    def _give_signs(self) -> None:
        while not self._ended.wait(self._pause_seconds):
            self._sign_began = time.monotonic()
            try:
                is_member = self._database.write_apart(workers.renew, self._worker_id)
            except CloudDesktopError as error:
                _log.warning("no sign of life could be given", why=error.message)
                continue
            finally:
                self._sign_began = None
            now = time.monotonic()
            if now - self._last_sign > _MOST_MISSED * self._pause_seconds:
                self._steady_since = now
            self._last_sign = now
            if not is_member:
                _log.error("others have taken this worker for dead: it ends")
                self._on_lost()
                return

    def _watch_signs(self) -> None:
        while not self._ended.wait(self._pause_seconds):
            began = self._sign_began
            if began is None or time.monotonic() - began < self._lease_seconds + HUNG_SECONDS:
                continue
            _log.error("the database has not answered for too long: this worker ends")
            self._on_lost()
            return
