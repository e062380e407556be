"""The keeper: runs of long work on the whole store, one at a time, in a thread of one process.

    keeper = Keeper(database=database, works={RunKind.GC: collector.run, …})
    keeper.launch()                                     goes on with what an earlier process left
    run = keeper.desk.start(RunKind.GC, options={"dry_run": True}, created_by=subject.id)
    keeper.desk.stop_run(run.id); keeper.close(timeout_seconds=10)

A work is a function that takes a `Turn` and returns the run's report, a JSON object:

    def run(self, turn: Turn) -> dict[str, Any]:
        done = turn.progress.get("done", 0)             as it was saved last, also by a dead process
        for unit in units_after(done):
            turn.check()                                raises when the turn is over: let it through
            turn.write(change_rows, unit)               a transaction that no replaced turn commits
            done += 1
            turn.save({"done": done})                   what the next turn goes on from
        return {"done": done}

A turn ends early when the server drains, when somebody stops the run, and when a run of a kind that
goes first (RunKind's order) waits; the run then goes on in a later turn. So it does after a crash.
So work is cut into small units, each of which may be repeated. An error ends the run as FAILED.

Processes that share a database each have a desk, and workers a keeper: the one on duty works.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
import structlog

from clouddesktop.catalog import keeper_runs
from clouddesktop.catalog.backend import DatabaseUnavailableError
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.keeper_runs import KeeperRunReplacedError
from clouddesktop.catalog.patience import PatientDatabase
from clouddesktop.errors import (
    AbortedError,
    CloudDesktopError,
    FailedPreconditionError,
    Failure,
    UnimplementedError,
)
from clouddesktop.ids import Prefix, new_id
from clouddesktop.model.keeping import KeeperRun, RunKind, RunState
from clouddesktop.trouble import Trouble

P = ParamSpec("P")
R = TypeVar("R")

MOST_ATTEMPTS = 10
"""Begins without saved progress after which a run is given up: it may be what ends the server."""

_RETRY_SECONDS = 5
"""How long to wait after the database failed under the keeper itself."""

_LOOK_SECONDS = 1.0
"""How often a turn, and a keeper that shares its database, looks for what other processes want."""

_ORDER = list(RunKind)

_log = structlog.get_logger(__name__)


class RunInterruptedError(AbortedError):
    """The turn is over before its work: the run was stopped, makes way, or the server drains."""

    reason = "RUN_INTERRUPTED"


class RunGivenUpError(FailedPreconditionError):
    """The run was begun again and again and never got on."""

    reason = "RUN_GIVEN_UP"


class _Interruption(Enum):
    STOP = "stop"
    MAKE_WAY = "make way"
    CLOSE = "close"


class Turn:
    """One begin of a run, for the work to hold on to; see the module's docstring. Thread-safe.

    `epoch` differs for each turn of a run, so names made of `run_id` and `epoch` are unique.
    """

    def __init__(self, run: KeeperRun, *, database: Database) -> None:
        self.run_id = run.id
        self.kind = run.kind
        self.epoch = run.epoch
        self.options = dict(run.options)
        self.progress = dict(run.progress)
        self._database = database
        self._patient = PatientDatabase(database, check=self._check_open)
        self._interruption: _Interruption | None = None
        self._next_look = 0.0

    @property
    def interruption(self) -> _Interruption | None:
        return self._interruption

    def interrupt(self, interruption: _Interruption) -> None:
        """Have `check` raise from now on; a stop and a close are not taken back."""
        if self._interruption in {None, _Interruption.MAKE_WAY}:
            self._interruption = interruption

    def check(self) -> None:
        """Raise RunInterruptedError if the turn is over; call it between units of work."""
        if time.monotonic() >= self._next_look:
            self._look()
        if self._interruption is not None:
            raise self._interrupted(self._interruption)

    def _check_open(self) -> None:
        """Raise when the process cannot even wait for a write any more."""
        if self._interruption is _Interruption.CLOSE:
            raise self._interrupted(self._interruption)

    def _interrupted(self, why: _Interruption) -> RunInterruptedError:
        return RunInterruptedError(f"The turn of run {self.run_id} is over: {why.value}.")

    def look_soon(self) -> None:
        """Have the next `check` see what there is to be seen."""
        self._next_look = 0.0

    def _look(self) -> None:
        """See whether somebody wants the turn to end, by any process."""
        self._next_look = time.monotonic() + _LOOK_SECONDS
        for run in self._database.read(keeper_runs.list_active_runs):
            if run.id == self.run_id and run.stop_asked:
                self.interrupt(_Interruption.STOP)
            elif _ORDER.index(run.kind) < _ORDER.index(self.kind):
                self.interrupt(_Interruption.MAKE_WAY)

    def write(
        self, query: Callable[Concatenate[sa.Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a query in a transaction that commits only if this turn still counts.

        Raises:
            KeeperRunReplacedError: another turn has taken over; nothing was changed.
        """

        def fenced(connection: sa.Connection) -> R:
            keeper_runs.check_current(connection, self.run_id, self.epoch)
            return query(connection, *args, **kwargs)

        return self._patient.write(fenced)

    def save(self, progress: Mapping[str, Any]) -> None:
        """Keep `progress` (JSON-ready, small): people see it, and the next turn goes on from it."""
        self.progress = dict(progress)
        self._patient.write(keeper_runs.save_progress, self.run_id, self.epoch, self.progress)


Work = Callable[[Turn], Mapping[str, Any]]


class RunDesk:
    """Takes orders for runs, and takes them back, from any process of a database. Thread-safe."""

    def __init__(self, *, database: Database, kinds: Collection[RunKind] = _ORDER) -> None:
        """Take orders for runs of `kinds`."""
        self._database = database
        self._kinds = frozenset(kinds)
        self._watchers: list[Callable[[], None]] = []

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have `watcher` called after each order that comes by this desk."""
        self._watchers.append(watcher)

    def start(self, kind: RunKind, *, options: Mapping[str, Any], created_by: str) -> KeeperRun:
        """Accept a run; it begins when its turn comes.

        Raises:
            RunActiveError: one of this kind has not ended.
            UnimplementedError: this server has no such work.
        """
        if kind not in self._kinds:
            raise UnimplementedError(f"Runs of the kind {kind} are not served yet.")
        run = KeeperRun(
            id=new_id(Prefix.KEEPER_RUN),
            kind=kind,
            state=RunState.WAITING,
            options=options,
            progress={},
            created_by=created_by,
            created_at=datetime.now(tz=UTC),
        )
        self._database.write(keeper_runs.add_run, run)
        self._notify()
        return run

    def stop_run(self, run_id: str) -> KeeperRun:
        """Have a run end before its work is done; what it has done stays.

        A run at work ends a little later: look at its state.

        Raises:
            NotFoundError: there is no such run.
            RunEndedError: it has ended already.
        """
        run = self._database.write(keeper_runs.ask_stop, run_id)
        self._notify()
        return run

    def _notify(self) -> None:
        for each in self._watchers:
            each()


class Keeper:
    """Runs what is ordered at its desk, or at any other; one thread works, on one run at a time."""

    def __init__(
        self,
        *,
        database: Database,
        works: Mapping[RunKind, Work],
        is_on_duty: Callable[[], bool] = lambda: True,
    ) -> None:
        """`is_on_duty` tells whether this keeper, of all of a database, works."""
        self._database = database
        self._works = dict(works)
        self._is_on_duty = is_on_duty
        self._patient = PatientDatabase(database, check=self._check_open)
        self.desk = RunDesk(database=database, kinds=self._works)
        self.desk.watch(self._take_note)
        self._changed = threading.Condition()
        self._is_wanted = True
        self._is_closing = False
        self._turn: Turn | None = None
        self._trouble = Trouble("the keeper")
        self._thread = threading.Thread(target=self._work, name="keeper", daemon=True)

    def launch(self) -> None:
        """Begin to run what waits, and what an earlier process has not finished."""
        self._thread.start()

    def close(self, *, timeout_seconds: float) -> bool:
        """End the turn at work and the thread; runs go on at the next launch.

        Returns:
            False when the work has not let go in time; the process may end all the same.
        """
        with self._changed:
            self._is_closing = True
            if self._turn is not None:
                self._turn.interrupt(_Interruption.CLOSE)
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _check_open(self) -> None:
        if self._is_closing:
            raise RunInterruptedError("The keeper closes.")

    def _take_note(self) -> None:
        with self._changed:
            self._is_wanted = True
            if self._turn is not None:
                self._turn.look_soon()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._is_wanted or self._is_closing,
                    _LOOK_SECONDS if self._database.is_shared else None,
                )
                if self._is_closing:
                    return
                self._is_wanted = False
            if not self._trouble.attempt(self._take_turns):
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closing, _RETRY_SECONDS)
                    self._is_wanted = True

    def _take_turns(self) -> None:
        while self._take_turn():
            pass

    def _take_turn(self) -> bool:
        """Give the first of the waiting runs its turn; False when there is none."""
        if self._is_closing or not self._is_on_duty():
            return False
        active = self._database.read(keeper_runs.list_active_runs)
        mine = [each for each in active if each.kind in self._works]
        if not mine:
            return False
        first = min(mine, key=lambda each: _ORDER.index(each.kind))
        run = self._database.write(keeper_runs.begin_run, first.id)
        if run is None:
            return True
        turn = Turn(run, database=self._database)
        self._note_turn(turn)
        try:
            self._run(turn, attempts=run.attempts)
        finally:
            self._note_turn(None)
        return True

    def _note_turn(self, turn: Turn | None) -> None:
        with self._changed:  # not while the database is asked: `close` must not wait for that
            self._turn = turn
            if turn is not None and self._is_closing:
                turn.interrupt(_Interruption.CLOSE)

    def _run(self, turn: Turn, *, attempts: int) -> None:
        log = _log.bind(run_id=turn.run_id, kind=str(turn.kind), turn=turn.epoch)
        log.info("run begins" if turn.epoch == 1 else "run goes on")
        try:
            _check_attempts(turn, attempts)
            report = self._works[turn.kind](turn)
        except RunInterruptedError:
            if turn.interruption is _Interruption.STOP:
                self._end(turn, state=RunState.STOPPED, report=turn.progress)
            elif turn.interruption is _Interruption.MAKE_WAY:
                self._patient.write(keeper_runs.make_way, turn.run_id, turn.epoch)
            log.info("run interrupted", why=str(turn.interruption))
        except KeeperRunReplacedError:
            log.warning("run replaced")
        except DatabaseUnavailableError:
            raise  # as after a crash, the run goes on later
        except Exception as error:
            if not isinstance(error, CloudDesktopError):
                log.exception("run failed")
            failure = Failure.of(error)
            log.warning("run fails", reason=failure.reason, message=failure.message)
            self._end(turn, state=RunState.FAILED, report=turn.progress, failure=failure)
        else:
            self._end(turn, state=RunState.DONE, report=report)
            log.info("run ends")

    def _end(self, turn: Turn, **values: Any) -> None:
        self._patient.write(keeper_runs.end_run, turn.run_id, turn.epoch, **values)


def _check_attempts(turn: Turn, attempts: int) -> None:
    if attempts > MOST_ATTEMPTS:
        raise RunGivenUpError(
            f"The run {turn.run_id} was begun {attempts} times without getting on.",
            remedy="Look into the server's log for what ended it, then start another.",
        )
