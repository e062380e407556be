"""Long work and a database that cannot be used for a while."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from clouddesktop.catalog import patience
from clouddesktop.catalog.backend import DatabaseUnavailableError, DatabaseUnusableError
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.patience import PatientDatabase
from parts.postgres import Postgres
from parts.waiting import wait_for

WAIT_SECONDS = 60


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    with postgres.connect(autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS worker")
        connection.execute("CREATE ROLE worker LOGIN")
    opened = Database(postgres.make_database().replace("nobody@", "worker@"))
    yield opened
    opened.close()


def ask(connection: sa.Connection) -> int:
    return int(connection.exec_driver_sql("SELECT 1").scalar_one())


def test_it_waits_while_the_database_refuses(
    postgres: Postgres, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on once that is mended; whoever waits is asked whether it still should."""
    monkeypatch.setattr(patience, "_PAUSE_SECONDS", 0.01)
    asked: list[bool] = []
    patient = PatientDatabase(database, check=lambda: asked.append(True))
    with postgres.connect(autocommit=True) as connection:
        connection.execute("ALTER ROLE worker RENAME TO other")
        with pytest.raises(DatabaseUnusableError):
            database.read(ask)
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(patient.read, ask)
            wait_for(lambda: len(asked) > 2 or answer.done(), "it waits")
            connection.execute("ALTER ROLE other RENAME TO worker")
            assert answer.result(WAIT_SECONDS) == 1


def test_a_wait_ends_when_it_is_not_wanted_any_more(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the caller raises comes out."""

    def refuse(*_: object) -> None:
        raise DatabaseUnavailableError("It is away.")

    def check() -> None:
        raise InterruptedError

    monkeypatch.setattr(database, "read", refuse)
    with pytest.raises(InterruptedError):
        PatientDatabase(database, check=check).read(ask)
