"""Writes that wait at the same time commit together, and each still stands for itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from clouddesktop.catalog.backend import DatabaseFullError
from clouddesktop.catalog.engine import Database
from clouddesktop.errors import NotFoundError
from parts.waiting import wait_for

WAIT_SECONDS = 30
WRITES = 20


class Group:
    """A database whose writer is held up by one write, so that others wait behind it."""

    def __init__(self, path: Path) -> None:
        self.database = Database(f"sqlite:///{path}")
        self.commits = 0
        sa.event.listen(self.database._engine, "commit", self._count)
        self.database.write(lambda each: each.exec_driver_sql("CREATE TABLE notes (text TEXT)"))
        self.threads = ThreadPoolExecutor(WRITES + 1)
        self._go = threading.Event()
        self._held = self.submit_hold()

    def _count(self, _connection: sa.Connection) -> None:
        self.commits += 1

    def submit_hold(self) -> Future[None]:
        running = threading.Event()

        def hold(_connection: sa.Connection) -> None:
            running.set()
            assert self._go.wait(WAIT_SECONDS)

        held = self.threads.submit(self.database.write, hold)
        assert running.wait(WAIT_SECONDS)
        self.commits = 0
        return held

    def add(self, text: str, *, size: int = 0, error: Exception | None = None) -> Future[None]:
        """Have a note of `size` more characters added behind the held write, then raise `error`."""
        return self.submit(lambda each: _add(each, text + "." * size, error))

    def submit(self, query: Callable[[sa.Connection], None]) -> Future[None]:
        waiting = self.database._writer._waiting.qsize()
        future = self.threads.submit(self.database.write, query)
        wait_for(lambda: self.database._writer._waiting.qsize() > waiting, "the write waits")
        return future

    def release(self) -> None:
        self._go.set()
        wait_for(self._held.done, "the held write is done")

    def notes(self) -> set[str]:
        return set(
            self.database.read(
                lambda each: each.exec_driver_sql("SELECT text FROM notes").scalars().all()
            )
        )


def _add(connection: sa.Connection, text: str, error: Exception | None) -> None:
    connection.exec_driver_sql("INSERT INTO notes VALUES (?)", (text,))
    if error is not None:
        raise error


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    made = Group(tmp_path / "notes.db")
    yield made
    made._go.set()
    made.threads.shutdown()
    made.database.close()


def test_writes_that_wait_share_a_commit(group: Group) -> None:
    """All are there when they return, after one commit for all of them."""
    futures = [group.add(str(number)) for number in range(WRITES)]
    group.release()
    for each in futures:
        each.result(WAIT_SECONDS)
    assert group.commits == 1
    assert group.notes() == {str(number) for number in range(WRITES)}


def test_an_error_undoes_its_own_write_alone(group: Group) -> None:
    """Its caller gets it; those before and after it commit."""
    error = NotFoundError("There is no such thing.")
    before, failed, after = (
        group.add("before"),
        group.add("failed", error=error),
        group.add("after"),
    )
    group.release()
    before.result(WAIT_SECONDS)
    after.result(WAIT_SECONDS)
    with pytest.raises(NotFoundError) as caught:
        failed.result(WAIT_SECONDS)
    assert caught.value is error
    assert group.notes() == {"before", "after"}


def test_what_a_full_database_took_back_was_never_acknowledged(group: Group) -> None:
    """SQLite may undo the whole transaction: whoever returns has its note, and nobody else."""

    def limit(connection: sa.Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 8}")

    group.submit(limit)
    futures = {"small": group.add("small"), "large": group.add("large", size=1 << 20)}
    futures |= {"next": group.add("next")}
    group.release()
    acknowledged = set()
    for name, each in futures.items():
        try:
            each.result(WAIT_SECONDS)
        except DatabaseFullError:
            continue
        acknowledged.add(name)
    assert "large" not in acknowledged
    assert group.notes() == acknowledged


def test_a_write_cancelled_before_its_turn_is_not_run(group: Group) -> None:
    """Its caller has gone, and nobody would hear of it."""
    cancelled = group.database._writer.submit(lambda each: _add(each, "cancelled", None))
    kept = group.add("kept")
    assert cancelled.cancel()
    group.release()
    kept.result(WAIT_SECONDS)
    assert group.notes() == {"kept"}


def test_closing_waits_for_writes_that_wait(group: Group) -> None:
    """None is lost, and a write after that begins anew."""
    futures = [group.add(str(number)) for number in range(3)]
    closing = group.threads.submit(group.database.close)
    group.release()
    closing.result(WAIT_SECONDS)
    assert all(each.done() for each in futures)
    group.database.write(_add, "later", None)
    assert group.notes() == {"0", "1", "2", "later"}


def test_a_write_inside_a_write_is_refused(group: Group) -> None:
    """It would wait for itself for ever."""
    group.release()
    with pytest.raises(RuntimeError, match="inside"):
        group.database.write(lambda _: group.database.write(_add, "inner", None))


def test_commits_reach_the_disk(group: Group) -> None:
    """What is acknowledged survives a power cut: SQLite syncs at each commit (2: FULL)."""
    group.release()
    synchronous = group.database.write(
        lambda each: each.exec_driver_sql("PRAGMA synchronous").scalar_one()
    )
    assert synchronous == 2
