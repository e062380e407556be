"""Workers in processes of their own: the API stays quick beside them, and either may die alone."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import wait
from types import TracebackType
from typing import Self

import structlog

from clouddesktop.app.bootstrap import DataFolder
from clouddesktop.app.foundation import Failpoint, founded, no_failpoint
from clouddesktop.app.supervisor import State, tell_supervisor
from clouddesktop.app.working import UPKEEP_SECONDS, working
from clouddesktop.config import Settings
from clouddesktop.errors import CloudDesktopError, InvalidArgumentError
from clouddesktop.telemetry import configure_logging
from clouddesktop.trouble import Trouble

_GRACE_SECONDS = 10
"""How long ranges at work may take to end once the worker is told to stop."""

_STOP_SECONDS = 30
_MOST_PAUSE_SECONDS = 30.0

_NICENESS = 10
"""Of a worker beside an API: calls come first, and on a machine that is idle it costs nothing."""

_log = structlog.get_logger(__name__)


def run_worker(settings: Settings, *, failpoint: Failpoint = no_failpoint) -> int:
    """Run copies until SIGTERM or SIGINT, then drain: the exit status is 0.

    It is 1 when others have taken this worker for dead, and its work over: start another one.
    Prints one line of JSON on standard output once it works; logs go to standard error.

    Raises:
        CloudDesktopError: the worker cannot start; names the setting or the file.
    """
    os.umask(0o077)
    configure_logging("info")
    folder = DataFolder(root=settings.data_dir.absolute())
    with folder.held():
        return _work(settings, folder, failpoint=failpoint, is_announced=True)


class WorkerProcess:
    """A worker as a child of a server: started again when it dies, ended with the server."""

    def __init__(self, settings: Settings, *, failpoint: Failpoint) -> None:
        self._arguments = (settings, failpoint)
        self._context = multiprocessing.get_context("spawn")
        self._ending = threading.Event()
        self._starting = threading.Lock()
        self._process = self._start()
        self._thread = threading.Thread(target=self._watch, name="worker process", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.set()
        with self._starting:  # one that has just been started must end, too
            self._process.terminate()
        self._process.join(_STOP_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
        self._thread.join()

    def _start(self) -> multiprocessing.context.SpawnProcess:
        process = self._context.Process(target=_run_child, args=self._arguments, name="worker")
        process.start()
        return process

    def _watch(self) -> None:
        pause = 0.0
        while True:
            begun = time.monotonic()
            self._process.join()
            if self._ending.is_set():
                return
            lived = time.monotonic() - begun
            pause = 0.0 if lived > _MOST_PAUSE_SECONDS else min(pause * 2 + 1, _MOST_PAUSE_SECONDS)
            _log.error("the worker has ended", status=self._process.exitcode, again_in=pause)
            if self._ending.wait(pause) or not self._start_again():
                return

    def _start_again(self) -> bool:
        """Give False when the server ends."""
        with self._starting:
            if self._ending.is_set():
                return False
            try:
                self._process = self._start()
            except OSError as error:  # no memory for it, or too many processes: later, perhaps
                _log.error("no worker can be started", why=str(error))
        return True


def _run_child(settings: Settings, failpoint: Failpoint) -> None:
    """Run in the child: the parent holds the data folder."""
    os.nice(_NICENESS)  # before there are threads and children, which inherit it
    os.umask(0o077)
    configure_logging("info")
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    folder = DataFolder(root=settings.data_dir.absolute())
    try:
        status = _work(settings, folder, failpoint=failpoint, is_announced=False)
    except CloudDesktopError as error:
        _log.error("the worker cannot start", why=error.message, remedy=error.remedy)
        status = 1
    sys.exit(status)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _work(
    settings: Settings, folder: DataFolder, *, failpoint: Failpoint, is_announced: bool
) -> int:
    with ExitStack() as stack:
        stop = stack.enter_context(_stopped_by_signals())
        foundation = stack.enter_context(
            founded(settings, folder, failpoint=failpoint, has_admin=False)
        )
        if not foundation.database.is_shared or not settings.workers:
            raise InvalidArgumentError(
                "A worker needs a database that it can share, and something to do.",
                remedy="Name it by --database postgresql://…, with --workers 1 or more.",
            )
        worker = stack.enter_context(working(foundation, on_lost=_end_at_once))
        if is_announced:
            sys.stdout.write(json.dumps({"event": "ready", "worker": worker.id}) + "\n")
            sys.stdout.flush()
        stop.has_begun = True
        # A child is not what systemd knows: its parent speaks.
        tell = tell_supervisor if is_announced else _tell_nobody
        tell(State.READY)
        _log.info("working", worker=worker.id)
        upkeep = Trouble("upkeep")
        while not stop.wait(UPKEEP_SECONDS):
            upkeep.attempt(worker.keep_up)
            tell(State.ALIVE)
        tell(State.STOPPING)
        worker.hold()
        drained = worker.drain(timeout_seconds=_GRACE_SECONDS)
        _log.info("stopped", drained=drained)
    leave_threads()
    return 0


def leave_threads() -> None:
    """End the process, with status 0, if threads are left: DBOS waits without end for a database.

    Nothing is lost with them: what they would write is done again by whoever goes on. Daemons
    count: at its end Python waits for those of a pool.
    """
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _tell_nobody(_state: State) -> None:
    pass


def _end_at_once() -> None:
    """End without a word to anyone: what this process had belongs to others."""
    os._exit(1)


class _Stop:
    """Whether a signal has asked the process to end. Before it `has_begun`, a signal ends it."""

    has_begun = False

    def __init__(self) -> None:
        self._asked = threading.Event()

    def wait(self, seconds: float) -> bool:
        """Wait to be asked; tell whether it was."""
        return self._asked.wait(seconds)

    def ask(self, *_: object) -> None:
        if not self.has_begun:  # what it waits for, such as a database, may never come
            _log.info("stopped before it worked")
            os._exit(0)
        self._asked.set()


@contextmanager
def _stopped_by_signals() -> Iterator[_Stop]:
    stop = _Stop()
    former = {number: signal.signal(number, stop.ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
