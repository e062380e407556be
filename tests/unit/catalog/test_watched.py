"""A database that takes what it is sent, and says nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from clouddesktop.catalog import postgres as postgres_backend
from clouddesktop.catalog import watched
from clouddesktop.catalog.backend import DatabaseUnavailableError
from clouddesktop.catalog.engine import Database
from clouddesktop.workflow.engine import migrate_workflows
from clouddesktop.workflow.queue import WorkflowQueue
from parts.postgres import Postgres
from parts.waiting import wait_for

WAIT_SECONDS = 60
SILENT_SECONDS = 0.5


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the usual patience."""
    monkeypatch.setattr(watched, "_SILENT_SECONDS", SILENT_SECONDS)
    monkeypatch.setattr(watched, "_ANSWER_SECONDS", SILENT_SECONDS)
    monkeypatch.setattr(postgres_backend, "_CONNECT_SECONDS", 2)


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    opened = Database(postgres.make_database())
    opened.migrate(further=lambda: migrate_workflows(opened.url))
    yield opened
    opened.close()


def answers(call: Callable[[Callable[[sa.Connection], int]], int]) -> bool:
    try:
        return call(ask) == 1
    except DatabaseUnavailableError:
        return False


def ask(connection: sa.Connection) -> int:
    return int(connection.exec_driver_sql("SELECT 1").scalar_one())


@pytest.mark.parametrize("way", ["read", "write", "write_apart"])
def test_a_hung_server_is_unavailable(postgres: Postgres, database: Database, way: str) -> None:
    """Its connections are given up, and made anew once it is back."""
    call = getattr(database, way)
    assert call(ask) == 1
    with ThreadPoolExecutor(1) as threads, postgres.hung():
        asked = threads.submit(call, ask)
        with pytest.raises(DatabaseUnavailableError):
            asked.result(WAIT_SECONDS)
    wait_for(lambda: answers(call), "it is tried again")


def test_so_it_is_for_the_workflows(postgres: Postgres, database: Database) -> None:
    """Who holds the write lock while DBOS is asked does not hold it for ever."""
    queue = WorkflowQueue(database_url=database.url)
    queue.open()
    assert queue.list_running() == []
    with ThreadPoolExecutor(1) as threads, postgres.hung():
        asked = threads.submit(queue.list_running)
        with pytest.raises(sa.exc.OperationalError):
            asked.result(WAIT_SECONDS)
    assert queue.list_running() == []
    queue.close()


def test_a_long_statement_is_waited_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is a lock that others hold for long."""
    monkeypatch.setattr(watched, "_ANSWER_SECONDS", WAIT_SECONDS)  # this machine may be busy
    monkeypatch.setattr(postgres_backend, "_CONNECT_SECONDS", WAIT_SECONDS)
    seconds = SILENT_SECONDS * 3

    def sleep(connection: sa.Connection) -> None:
        connection.exec_driver_sql("SELECT pg_sleep(%s)", (seconds,))

    database.read(sleep)
    held, waiting = threading.Event(), threading.Event()

    def hold(connection: sa.Connection) -> None:
        held.set()
        assert waiting.wait(WAIT_SECONDS)
        sleep(connection)

    other = Database(database.url)
    with ThreadPoolExecutor(2) as threads:
        holds = threads.submit(database.write, hold)
        assert held.wait(WAIT_SECONDS)
        waits = threads.submit(other.write, ask)
        wait_for(lambda: database.read(count_waiting) > 0, "it waits for the lock")
        waiting.set()
        holds.result(WAIT_SECONDS)
        assert waits.result(WAIT_SECONDS) == 1
    other.close()


def test_a_session_that_the_server_does_not_know_is_given_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as that of a former server behind a proxy, which another one has followed."""
    monkeypatch.setattr(watched, "_AT_WORK", "SELECT 1 FROM pg_stat_activity WHERE pid = -%s")
    with pytest.raises(DatabaseUnavailableError):
        database.read(lambda each: each.exec_driver_sql("SELECT pg_sleep(60)"))


def count_waiting(connection: sa.Connection) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return int(connection.exec_driver_sql(query).scalar_one())
