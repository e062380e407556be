"""The catalogue's database when it is PostgreSQL: shared, restarted, cut off."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest
import sqlalchemy as sa

from clouddesktop.catalog import engine, scrubbing, tables
from clouddesktop.catalog import postgres as postgres_backend
from clouddesktop.catalog.backend import DatabaseUnavailableError, DatabaseUnusableError
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.installation import set_fact, settle_fact
from clouddesktop.catalog.migrating import DatabaseTooNewError
from clouddesktop.catalog.scrubbing import count_packs
from clouddesktop.catalog.tables import installation, packs
from clouddesktop.catalog.watched import WatchedConnection
from clouddesktop.errors import InvalidArgumentError
from clouddesktop.workflow.engine import migrate_workflows
from parts.postgres import Postgres
from parts.waiting import wait_for

WAIT_SECONDS = 60
SERVERS = 4
WRITES = 25
READERS = 40
A_PACK = {"id": "a/1", "operation_id": "a", "size": 1 << 40}


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.make_database()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    opened.migrate()
    yield opened
    opened.close()


def add_one(connection: sa.Connection) -> None:
    set_fact(connection, "count", str(int(settle_fact(connection, "count", "0")) + 1))


def count(connection: sa.Connection) -> int:
    query = sa.select(installation.c.value).where(installation.c.name == "count")
    return int(connection.scalar(query) or 0)


def test_servers_that_start_together_make_the_tables_once(url: str) -> None:
    """All of them come up, on the same tables, those of the workflows, too."""
    opened = [Database(url) for _ in range(SERVERS)]
    together = threading.Barrier(SERVERS)

    def migrate(database: Database) -> None:
        together.wait(WAIT_SECONDS)
        database.migrate(further=lambda: migrate_workflows(url))
        database.write(add_one)

    with ThreadPoolExecutor(SERVERS) as threads:
        list(threads.map(migrate, opened))
    assert opened[0].read(count) == SERVERS
    for each in opened:
        each.close()


def test_a_later_versions_tables_are_refused(database: Database) -> None:
    """The sentence says which program to run; nothing is changed."""
    database.write(
        lambda each: each.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    )
    with pytest.raises(DatabaseTooNewError, match="later version"):
        database.migrate()


def test_texts_and_instants_are_kept_as_sqlite_keeps_them(database: Database) -> None:
    """Neither the database's language nor a session's time zone counts anywhere."""
    columns = database.read(
        lambda each: each.exec_driver_sql(
            "SELECT table_name, column_name, data_type, collation_name"
            " FROM information_schema.columns WHERE table_schema = 'public'"
            " AND table_name <> 'alembic_version'"
        ).all()
    )
    texts = [each for each in columns if each.data_type in ("text", "character varying")]
    assert len(texts) > 50
    assert [each for each in texts if each.collation_name != "C"] == []
    assert [each for each in columns if "with time zone" in each.data_type] == []


def test_writers_of_all_processes_take_turns(url: str) -> None:
    """What a write reads is still true when it commits: no sum is lost."""
    opened = [Database(url) for _ in range(SERVERS)]
    opened[0].migrate()
    with ThreadPoolExecutor(SERVERS * 4) as threads:
        for each in [threads.submit(every.write, add_one) for every in opened * WRITES]:
            each.result(WAIT_SECONDS)
    assert opened[0].read(count) == SERVERS * WRITES
    for every in opened:
        every.close()


def test_a_restart_of_the_server_costs_an_idle_program_nothing(
    postgres: Postgres, database: Database
) -> None:
    """Connections that are dead are made anew for the next read and the next write."""
    database.write(add_one)
    assert database.read(count) == 1
    postgres.crash()
    postgres.resume()
    assert database.read(count) == 1
    postgres.crash()
    postgres.resume()
    database.write(add_one)
    assert database.read(count) == 2


def test_without_a_server_it_is_unavailable_for_now(postgres: Postgres, database: Database) -> None:
    """The error says that the call may be repeated, and it can be once the server is back."""
    database.write(add_one)
    postgres.crash()
    try:
        for call in (database.read, database.write):
            with pytest.raises(DatabaseUnavailableError) as caught:
                call(count)
            assert caught.value.retry_after_seconds
    finally:
        postgres.resume()
    assert database.read(count) == 1


def test_a_write_that_loses_its_connection_leaves_no_trace(
    postgres: Postgres, database: Database
) -> None:
    """Its caller hears that it may not have been done."""

    def cut(connection: sa.Connection) -> None:
        add_one(connection)
        _end_sessions(postgres, database)
        add_one(connection)

    with pytest.raises(DatabaseUnavailableError):
        database.write(cut)
    assert database.read(count) == 0


def pause_between_statements(connection: sa.Connection, pause: Callable[[], None]) -> None:
    add_one(connection)
    pause()
    add_one(connection)


def pause_among_statements(connection: sa.Connection, pause: Callable[[], None]) -> None:
    """Pause when some of many rows are sent: the server takes the session to be at work."""
    driver: Any = connection.connection.driver_connection
    with driver.pipeline(), driver.cursor() as cursor:
        for name in ("some", "others"):
            cursor.execute("INSERT INTO installation VALUES (%s, %s)", (name, "1"))
            cursor.connection.pgconn.send_flush_request()
            cursor.connection.pgconn.flush()
        pause()


@pytest.mark.parametrize("write", [pause_between_statements, pause_among_statements])
def test_a_writer_that_pauses_loses_its_turn(
    database: Database, url: str, write: Callable[..., None]
) -> None:
    """The others wait for seconds, not for as long as it pauses; it cannot commit any more."""
    goes_on, is_inside = threading.Event(), threading.Event()
    other = Database(url)

    def pause() -> None:
        is_inside.set()
        assert goes_on.wait(WAIT_SECONDS)

    with ThreadPoolExecutor(1) as threads:
        paused = threads.submit(database.write, write, pause)
        assert is_inside.wait(WAIT_SECONDS)
        try:
            other.write(add_one)
        finally:
            goes_on.set()
        with pytest.raises((DatabaseUnavailableError, psycopg.OperationalError)):
            paused.result(WAIT_SECONDS)
    assert other.read(count) == 1
    other.close()


@pytest.mark.parametrize("wrong", ["//somebody@/postgres", "//nobody@/missing"])
def test_what_is_not_there_is_named(postgres: Postgres, wrong: str) -> None:
    """It does not pass by itself, so it is not called unavailable."""
    with pytest.raises(DatabaseUnusableError, match="does not exist"):
        Database(f"postgresql:{wrong}?host={postgres.folder}").migrate()


def test_a_text_that_the_database_cannot_keep_is_refused(database: Database) -> None:
    """It is the caller's to mend, and other writes go on."""
    with pytest.raises(InvalidArgumentError, match=r"U\+0000"):
        database.write(set_fact, "name", "a\0b")
    database.write(add_one)


def test_a_password_is_not_shown() -> None:
    """Errors and logs have the URL without it."""
    database = Database("postgresql://user:secret@localhost:1/name")
    assert database.shown_url == "postgresql://user:***@localhost:1/name"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgresql://host:port/name",
        "postgresql:///name?host=a&host=b&port=1&port=2",
        "mysql://h/n",
    ],
)
def test_what_is_no_url_of_a_database_is_refused(url: str) -> None:
    """At once, with how it should look."""
    with pytest.raises(InvalidArgumentError, match="database"):
        Database(url)


def _end_sessions(postgres: Postgres, database: Database) -> None:
    name = sa.make_url(database.url).database
    with postgres.connect(autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        wait_for(lambda: _count_sessions(connection, name) == 0, "the sessions have ended")


def _count_sessions(connection: psycopg.Connection[tuple[int]], name: str | None) -> int:
    found = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s", (name,)
    ).fetchone()
    assert found is not None
    return found[0]


def test_a_standby_is_not_written_to(postgres: Postgres, database: Database) -> None:
    """A server that takes no writes is unavailable, for connections that were made before, too."""
    name = sa.make_url(database.url).database
    database.write(lambda each: each.exec_driver_sql("SET default_transaction_read_only = on"))
    with pytest.raises(DatabaseUnavailableError):
        database.write(add_one)
    database.write(add_one)  # by a connection made anew
    with postgres.connect(autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    other = Database(database.url)
    with pytest.raises(DatabaseUnavailableError, match="standby"):
        other.read(count)
    with postgres.connect(autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    assert other.read(count) == 1
    other.close()


def test_of_several_hosts_the_one_that_answers_is_used(tmp_path: Path, url: str) -> None:
    """By the catalogue and by the workflows."""
    database = Database(url.replace("host=", f"host={tmp_path}&host="))
    database.migrate(further=lambda: migrate_workflows(database.url))
    database.write(add_one)
    assert database.read(count) == 1
    database.close()


def test_many_readers_at_a_time_leave_a_connection_for_the_writer(database: Database) -> None:
    """What they read by goes back to the pool."""
    together = threading.Barrier(READERS)

    def read(connection: sa.Connection) -> int:
        together.wait(WAIT_SECONDS)
        return count(connection)

    with ThreadPoolExecutor(READERS) as threads:
        list(threads.map(lambda _: database.read(read), range(READERS)))
    assert len(database._idle) < READERS
    database.write(add_one)


def test_without_a_free_connection_it_is_unavailable_for_now(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is busy, and nothing is broken."""
    monkeypatch.setattr(postgres_backend, "_POOL_SIZE", 1)
    monkeypatch.setattr(postgres_backend, "_MOST_OVERFLOW", 0)
    database = Database(url)
    database._engine.pool._timeout = 0.1  # type: ignore[attr-defined]  # of a QueuePool
    assert database.read(ask) == 1  # its connection is kept
    with pytest.raises(DatabaseUnavailableError):
        database.write(ask)
    database.close()


def test_writes_that_wait_are_told_together_that_the_database_is_away(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of a hundred does not wait a hundred times as long as the first."""
    database = Database(url)
    tries, is_trying, goes_on = 0, threading.Event(), threading.Event()

    def refuse(**_: object) -> NoReturn:
        nonlocal tries
        tries += 1
        is_trying.set()
        assert goes_on.wait(WAIT_SECONDS)
        raise psycopg.OperationalError("no way to it")

    monkeypatch.setattr(WatchedConnection, "open", refuse)
    waiting = [database._writer.submit(ask)]
    assert is_trying.wait(WAIT_SECONDS)
    waiting += [database._writer.submit(ask) for _ in range(99)]
    goes_on.set()
    for each in waiting:
        with pytest.raises(sa.exc.OperationalError):
            each.result(WAIT_SECONDS)
    assert tries == 1
    database.close()


def test_readers_do_not_wait_in_turn_for_a_database_that_is_away(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After one has waited in vain, the next ones are told at once, and later ones try again."""
    monkeypatch.setattr(engine, "_LONG_SECONDS", 0)
    database = Database(url)
    tries = 0

    def refuse(**_: object) -> NoReturn:
        nonlocal tries
        tries += 1
        raise psycopg.OperationalError("no way to it")

    monkeypatch.setattr(WatchedConnection, "open", refuse)
    for _ in range(5):
        with pytest.raises(DatabaseUnavailableError):
            database.read(ask)
    assert tries == 1
    monkeypatch.undo()
    wait_for(lambda: not is_away(database), "it is tried again")
    database.close()


def test_a_server_that_takes_no_more_connections_is_named(
    postgres: Postgres, database: Database
) -> None:
    """It looks like any other outage, and something else has to be done about it."""
    name = sa.make_url(database.url).database
    with postgres.connect(autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0')
        connection.execute("CREATE ROLE limited LOGIN")
    other = Database(database.url.replace("nobody@", "limited@"))
    with pytest.raises(DatabaseUnavailableError, match="max_connections"):
        other.read(ask)
    other.close()


def ask(connection: sa.Connection) -> int:
    return int(connection.exec_driver_sql("SELECT 1").scalar_one())


def is_away(database: Database) -> bool:
    try:
        database.read(ask)
    except DatabaseUnavailableError:
        return True
    return False


def test_who_waits_for_a_migration_does_not_hold_it_up(url: str) -> None:
    """An index that is made beside other work waits for every statement that runs."""
    first, second = Database(url), Database(url)
    # Of the first, its COMMIT is seen; of the second, how it takes the lock, or its own COMMIT.
    sessions = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND (query LIKE '%advisory%' OR query = 'COMMIT')"
    )
    third = sa.create_engine(first.url, isolation_level="AUTOCOMMIT")

    def make_index(connection: sa.Connection) -> None:
        waiting.append(threads.submit(second.migrate))
        wait_for(lambda: (connection.scalar(sessions) or 0) >= 2, "the second waits")
        connection.exec_driver_sql("SET lock_timeout = '10s'")
        connection.exec_driver_sql("CREATE INDEX CONCURRENTLY quick ON images (name)")

    def further() -> None:
        with third.connect() as connection:
            make_index(connection)

    waiting: list[Future[bool]] = []
    with ThreadPoolExecutor(1) as threads:
        first.migrate(further=further)
        waiting[0].result(WAIT_SECONDS)
    third.dispose()
    first.close()
    second.close()


def test_what_a_scrub_has_to_do_can_be_kept_as_its_progress(database: Database) -> None:
    """PostgreSQL's sums of sizes are no whole numbers, which JSON would not take."""
    database.write(lambda each: each.execute(sa.insert(packs).values(A_PACK)))
    first, count, size = database.read(count_packs)
    assert json.loads(json.dumps([first, count, size])) == [1, 1, 1 << 40]


def test_what_a_scrub_asks_of_the_packs(database: Database) -> None:
    """Its figures go into JSON; the highest number there may be is none that is refused."""
    add = sa.insert(tables.packs)
    rows = [{"id": f"e3o/{each}-1", "operation_id": "e3o", "size": 1 << 40} for each in range(3)]
    database.write(lambda each: each.execute(add, rows))
    figures = database.read(scrubbing.count_packs)
    assert json.loads(json.dumps(figures)) == [3, 3, 3 << 40]
    until = scrubbing.LAST_NUMBER
    assert len(database.read(scrubbing.list_packs, after=0, until=until, limit=10)) == 3
