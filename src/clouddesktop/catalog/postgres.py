"""The catalogue in PostgreSQL, shared by any number of processes.

Writers of all processes take turns by one advisory lock, held to the end of their transaction: a
group of writes is short, and each sees what every one before it has done. A process that stops in
the middle loses its transaction and the lock within seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.pq import TransactionStatus

from clouddesktop.catalog.backend import (
    DatabaseFullError,
    DatabaseUnavailableError,
    DatabaseUnusableError,
)
from clouddesktop.errors import InvalidArgumentError

_WRITE_LOCK = 0x636C6F7564  # "cloud" and "deskt", as numbers that nobody else is likely to lock
_MIGRATION_LOCK = 0x6465736B74

_CONNECT_SECONDS = 5
_LINE = {
    "tcp_user_timeout": "10000",  # ms that what we send may be left unacknowledged
    "keepalives_idle": "5",  # s without a byte, then a probe every 2 s: who waits for an answer
    "keepalives_interval": "2",  # has sent all it has, and would wait for hours
    "keepalives_count": "3",
}
"""When a connection counts as cut: of every connection of ours, DBOS's too, so in the URL."""

_PAUSED_MS = 5_000
"""How long a process may pause inside a transaction: others wait for its lock."""

_LOCK_MS = 30_000

_MIGRATION_SECONDS = 600
"""How long to wait for another process that changes the tables."""

_LOOK_SECONDS = 0.1
_RETRY_SECONDS = 1.0

_UNUSABLE = {
    "28P01": "the password is wrong",
    "28000": "the server refuses this user",
    "3D000": "the server has no such database",
    "42501": "the user may not do this",
}
"""SQLSTATEs that do not pass by themselves (PostgreSQL's manual, appendix A)."""

_PASSING = ("08", "57P", "53", "55P03", "25P03", "40", "25006")
"""Connections lost, shutdown, resources, lock and pause timeouts, rollbacks, a standby."""

_FULL = "53100"
_NUL = ("22021", "NUL (0x00)")  # the server's SQLSTATE, and the driver's words: it looks first


class Postgres:
    """A database of a server."""

    is_shared = True

    def __init__(self, url: str) -> None:
        """Use the database of `postgresql://USER[:PASSWORD]@HOST[:PORT]/NAME[?sslmode=…]`.

        Raises:
            InvalidArgumentError: it is no such URL.
        """
        try:
            parsed = sa.make_url(url).set(drivername="postgresql+psycopg")
        except (sa.exc.ArgumentError, ValueError):
            parsed = None
        if parsed is None or not parsed.database:
            raise InvalidArgumentError(
                "The database setting is no postgresql://USER@HOST:PORT/NAME.",
                remedy="Name the database; a password may come from ~/.pgpass or PGPASSWORD.",
            )
        line = {name: each for name, each in _LINE.items() if name not in parsed.query}
        self.url = parsed.update_query_dict(line).render_as_string(hide_password=False)
        self.shown_url = parsed.set(drivername="postgresql").render_as_string(hide_password=True)

    def make_engine(self) -> sa.Engine:
        return sa.create_engine(
            self.url,
            pool_size=8,
            max_overflow=32,
            pool_pre_ping=True,  # after the server was away, every connection is dead
            connect_args={
                "connect_timeout": _CONNECT_SECONDS,
                "application_name": "clouddesktop",
                "options": f"-c idle_in_transaction_session_timeout={_PAUSED_MS}"
                f" -c lock_timeout={_LOCK_MS}",
            },
        )

    def prepare_reading(self, connection: sa.Connection) -> None:
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def begin_read(self, connection: sa.Connection) -> None:
        pass  # the driver begins with the first query

    def end_read(self, connection: sa.Connection) -> None:
        connection.rollback()

    def begin_write(self, connection: sa.Connection) -> None:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITE_LOCK)))

    def is_in_transaction(self, connection: sa.Connection) -> bool:
        """An error leaves a transaction to roll back to a savepoint; a lost line does not."""
        if connection.invalidated:
            return False
        driver: Any = connection.connection.driver_connection
        is_open: bool = driver.info.transaction_status in (
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
        )
        return is_open

    @contextmanager
    def migrating(self, connection: sa.Connection) -> Iterator[None]:
        _wait_for_migration(connection)
        try:
            yield
        finally:
            connection.rollback()
            connection.execute(sa.select(sa.func.pg_advisory_unlock(_MIGRATION_LOCK)))
            connection.commit()

    @contextmanager
    def translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            _raise_translated(error)
            raise


def _wait_for_migration(connection: sa.Connection) -> None:
    """Take the lock of the session. Never wait in a statement for it.

    An index that is made beside other work (CREATE INDEX CONCURRENTLY, as the workflows' tables
    have) waits for every statement that runs: it would wait for us, and we for it.
    """
    deadline = time.monotonic() + _MIGRATION_SECONDS
    while not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_MIGRATION_LOCK))):
        connection.commit()
        if time.monotonic() > deadline:
            raise DatabaseUnavailableError(
                "Another process has been changing the database's tables for too long.",
                remedy="Wait for it, or end it if it hangs, and start again.",
                retry_after_seconds=_RETRY_SECONDS,
            )
        time.sleep(_LOOK_SECONDS)
    connection.commit()


def _raise_translated(error: sa.exc.DBAPIError) -> None:
    """Raise ours, if there is one."""
    state = getattr(error.orig, "sqlstate", None) or ""
    if state in _UNUSABLE or _is_refused(error):
        raise DatabaseUnusableError(
            f"The database cannot be used: {_UNUSABLE.get(state) or _first_line(error)}.",
            remedy="Correct the setting database, or the server's users and rights.",
        ) from error
    if state == _FULL:
        raise DatabaseFullError(
            "The database's disk is full.", remedy="Free some space and try again."
        ) from error
    if state == _NUL[0] or _NUL[1] in str(error.orig):
        raise InvalidArgumentError(
            "A text has the character U+0000, which the database does not keep.",
            remedy="Leave it out.",
        ) from error
    is_lost = error.connection_invalidated or isinstance(error.orig, psycopg.OperationalError)
    if is_lost or state.startswith(_PASSING):
        raise DatabaseUnavailableError(
            "The database is out of reach or busy.",
            remedy="Try again.",
            retry_after_seconds=_RETRY_SECONDS,
        ) from error


def _is_refused(error: sa.exc.DBAPIError) -> bool:
    """Tell whether a connection was refused for good: such errors come without a SQLSTATE."""
    text = str(error.orig)
    return "FATAL:" in text and any(
        each in text for each in ("password authentication", "does not exist", "pg_hba.conf")
    )


def _first_line(error: sa.exc.DBAPIError) -> str:
    return str(error.orig).splitlines()[0].rpartition("FATAL:")[2].strip()
