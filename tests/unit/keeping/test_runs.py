"""The keeper: one run at a time, resumed after a crash, stopped, making way."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from clouddesktop.catalog import keeper_runs
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.keeper_runs import KeeperRunReplacedError, RunActiveError, RunEndedError
from clouddesktop.errors import CloudDesktopError, DataLossError, NotFoundError, UnimplementedError
from clouddesktop.keeping.runs import MOST_ATTEMPTS, Keeper, Turn, Work
from clouddesktop.model.keeping import KeeperRun, RunKind, RunState
from parts.waiting import wait_for

WAIT_SECONDS = 30


class Counting:
    """A work of some units; it waits at each until it may go on."""

    def __init__(self, *, units: int = 3, is_held: bool = False) -> None:
        self._units = units
        self.may_go_on = threading.Event()
        if not is_held:
            self.may_go_on.set()
        self.began: list[tuple[int, int]] = []

    def run(self, turn: Turn) -> Mapping[str, Any]:
        done = turn.progress.get("done", 0)
        self.began.append((turn.epoch, done))
        while done < self._units:
            turn.check()
            done += 1
            turn.save({"done": done})
            while not self.may_go_on.wait(0.01):
                turn.check()
        return {"done": done, "options": turn.options}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'catalogue.db'}")
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def keepers(database: Database) -> Iterator[list[Keeper]]:  # noqa: ARG001  (closed after them)
    """The keepers of a test; each is closed at its end."""
    made: list[Keeper] = []
    yield made
    for each in made:
        assert each.close(timeout_seconds=20)


def launch(keepers: list[Keeper], database: Database, **works: Work) -> Keeper:
    keeper = Keeper(database=database, works={RunKind(kind): work for kind, work in works.items()})
    keepers.append(keeper)
    keeper.launch()
    return keeper


def start(keeper: Keeper, kind: RunKind = RunKind.GC, **options: Any) -> str:
    return keeper.desk.start(kind, options=options, created_by="ajeadmin").id


def look(database: Database, run_id: str) -> KeeperRun:
    return database.read(keeper_runs.get_run, run_id)


def wait_state(database: Database, run_id: str, state: RunState) -> KeeperRun:
    wait_for(lambda: look(database, run_id).state is state, f"the run is {state}")
    return look(database, run_id)


def wait_progress(database: Database, run_id: str, done: int) -> None:
    wait_for(lambda: look(database, run_id).progress.get("done") == done, f"{done} is done")


def test_a_run_comes_to_its_report(database: Database, keepers: list[Keeper]) -> None:
    """Waiting, running, done, with options in and a report out."""
    keeper = launch(keepers, database, gc=Counting().run)
    run = wait_state(database, start(keeper, dry_run=True), RunState.DONE)
    assert run.report == {"done": 3, "options": {"dry_run": True}}
    assert run.progress == {"done": 3}
    assert run.created_by == "ajeadmin"
    assert run.started_at is not None
    assert run.ended_at is not None
    assert run.created_at <= run.started_at <= run.ended_at
    assert database.read(keeper_runs.list_runs, limit=5) == [run]
    assert database.read(keeper_runs.find_last_run, RunKind.GC) is None


def test_a_second_run_of_a_kind_is_refused(database: Database, keepers: list[Keeper]) -> None:
    """The refusal names the one at work; afterwards there may be another."""
    work = Counting(is_held=True)
    keeper = launch(keepers, database, gc=work.run)
    first = start(keeper)
    with pytest.raises(RunActiveError) as caught:
        start(keeper)
    assert first in caught.value.message
    work.may_go_on.set()
    wait_state(database, first, RunState.DONE)
    wait_state(database, start(keeper), RunState.DONE)
    with pytest.raises(UnimplementedError):
        start(keeper, RunKind.SCRUB)


def test_a_run_goes_on_where_a_dead_process_left_it(
    database: Database, keepers: list[Keeper]
) -> None:
    """The next keeper takes it over; the old turn, should it live, changes nothing more."""
    held = Counting(is_held=True)
    old = launch(keepers, database, gc=held.run)
    run_id = start(old)
    wait_progress(database, run_id, 1)
    work = Counting()
    launch(keepers, database, gc=work.run)
    run = wait_state(database, run_id, RunState.DONE)
    assert work.began == [(2, 1)]
    assert run.report is not None
    held.may_go_on.set()
    wait_for(lambda: old.close(timeout_seconds=20), "the old keeper has let go")
    assert look(database, run_id) == run


def test_a_replaced_turn_writes_nothing(database: Database, keepers: list[Keeper]) -> None:
    """Neither progress nor changes of its own."""
    work = Counting(is_held=True)
    keeper = launch(keepers, database, gc=work.run)
    run_id = start(keeper)
    wait_progress(database, run_id, 1)
    turn = Turn(look(database, run_id), database=database)
    assert turn.write(lambda _connection: 7) == 7
    assert database.write(keeper_runs.begin_run, run_id) is not None
    for write in (lambda: turn.write(lambda _connection: 7), lambda: turn.save({"done": 9})):
        with pytest.raises(KeeperRunReplacedError):
            write()
    assert look(database, run_id).progress == {"done": 1}
    work.may_go_on.set()


def test_a_scrub_makes_way_for_a_collection(database: Database, keepers: list[Keeper]) -> None:
    """It waits while the collection runs, then goes on from where it was."""
    scrub, collection = Counting(is_held=True), Counting(is_held=True)
    keeper = launch(keepers, database, gc=collection.run, scrub=scrub.run)
    long = start(keeper, RunKind.SCRUB)
    wait_progress(database, long, 1)
    short = start(keeper)
    wait_progress(database, short, 1)
    assert look(database, long).state is RunState.WAITING
    scrub.may_go_on.set()
    collection.may_go_on.set()
    wait_state(database, short, RunState.DONE)
    wait_state(database, long, RunState.DONE)
    assert scrub.began == [(1, 0), (2, 1)]


def test_runs_are_stopped(database: Database, keepers: list[Keeper]) -> None:
    """At work or waiting; what was done stays, and what has ended cannot be stopped."""
    keeper = launch(keepers, database, gc=Counting(is_held=True).run, scrub=Counting().run)
    run_id = start(keeper)
    wait_progress(database, run_id, 1)
    waiting = start(keeper, RunKind.SCRUB)
    assert keeper.desk.stop_run(waiting).state is RunState.STOPPED
    keeper.desk.stop_run(run_id)
    run = wait_state(database, run_id, RunState.STOPPED)
    assert run.report == {"done": 1}
    with pytest.raises(RunEndedError):
        keeper.desk.stop_run(run_id)
    with pytest.raises(NotFoundError):
        keeper.desk.stop_run("e3knone")


@pytest.mark.parametrize("error", [DataLossError("It is gone."), RuntimeError("secret")], ids=str)
def test_an_error_ends_the_run(database: Database, keepers: list[Keeper], error: Exception) -> None:
    """Ours keeps its words, a foreign one loses its text; the keeper lives on."""

    def fail(_turn: Turn) -> Mapping[str, Any]:
        raise error

    keeper = launch(keepers, database, gc=fail)
    run = wait_state(database, start(keeper), RunState.FAILED)
    assert run.failure is not None
    expected = error.reason if isinstance(error, CloudDesktopError) else "INTERNAL"
    assert run.failure.reason == expected
    assert "secret" not in run.failure.message
    wait_state(database, start(keeper), RunState.FAILED)


def test_a_poisonous_run_is_given_up(database: Database, keepers: list[Keeper]) -> None:
    """Begun again and again by servers that it ended, it fails in the end."""
    idle = Keeper(database=database, works={RunKind.GC: Counting().run})
    run_id = start(idle)
    for _ in range(MOST_ATTEMPTS):
        assert database.write(keeper_runs.begin_run, run_id) is not None
    launch(keepers, database, gc=Counting().run)
    run = wait_state(database, run_id, RunState.FAILED)
    assert run.failure is not None
    assert run.failure.reason == "RUN_GIVEN_UP"


def test_a_keeper_closes_while_its_database_hangs(
    database: Database, keepers: list[Keeper], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that ends does not wait for an answer that may never come."""
    asked, answers = threading.Event(), threading.Event()
    list_active_runs = keeper_runs.list_active_runs

    def hang(connection: sa.Connection) -> list[KeeperRun]:
        asked.set()
        assert answers.wait(WAIT_SECONDS)
        return list_active_runs(connection)

    monkeypatch.setattr(keeper_runs, "list_active_runs", hang)
    keeper = launch(keepers, database, gc=Counting().run)
    assert asked.wait(WAIT_SECONDS)
    with ThreadPoolExecutor(1) as threads:
        try:
            assert not threads.submit(keeper.close, timeout_seconds=0).result(WAIT_SECONDS / 3)
        finally:
            answers.set()
