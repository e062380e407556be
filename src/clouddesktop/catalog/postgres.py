"""The catalogue in PostgreSQL, shared by any number of processes.

Writers of all processes take turns by one advisory lock, held to the end of their transaction: a
group of writes is short, and each sees what every one before it has done. A process that stops in
the middle loses its transaction and the lock within seconds: PostgreSQL sees to it, or who waits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa
import structlog
from psycopg.pq import TransactionStatus

from clouddesktop.catalog.backend import (
    DatabaseFullError,
    DatabaseUnavailableError,
    DatabaseUnusableError,
)
from clouddesktop.catalog.watched import WatchedConnection
from clouddesktop.errors import InvalidArgumentError

_log = structlog.get_logger(__name__)

_WRITE_LOCK = 0x636C6F7564  # "cloud" and "deskt", as numbers that nobody else is likely to lock
_MIGRATION_LOCK = 0x6465736B74

_CONNECT_SECONDS = 5
_SILENT_MS = 10_000
"""How long a connection may leave what we send unacknowledged before it counts as cut."""

_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 5, "keepalives_count": 3}
"""In seconds: firewalls forget connections that say nothing, and then drop what they say."""

_PAUSED_MS = 5_000
"""How long a process may pause inside a transaction: others wait for its lock."""

_LOCK_MS = 7_000
"""How long to wait for a lock, longer than who holds it may pause."""

_TURN_SECONDS = 30
"""How long a writer waits for its turn among those that are at work."""

_END_PAUSED = sa.text(
    """
    SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND (classid::bigint << 32 | objid::bigint) = :lock
        AND database = datid AND datname = current_database() AND usename = current_user
        AND wait_event_type = 'Client'
        AND state_change < clock_timestamp() - make_interval(secs => :seconds)
    """
).bindparams(lock=_WRITE_LOCK, seconds=_PAUSED_MS / 1000)
"""End the session that has its turn and waits for its client. A process that stops when it has sent
a part of many rows, or read a part of many, is at work for PostgreSQL, whose own timeout for
sessions that are idle in a transaction leaves it alone then."""

_POOL_SIZE = 8
_MOST_OVERFLOW = 32

_MIGRATION_SECONDS = 600
"""How long to wait for another process that changes the tables."""
_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 0.2

_UNUSABLE = {
    "28P01": "the password is wrong",
    "28000": "the server refuses this user",
    "3D000": "the server has no such database",
    "42501": "the user may not do this",
}
"""SQLSTATEs that do not pass by themselves (PostgreSQL's manual, appendix A)."""

_PASSING = ("08", "57P", "53", "55P03", "25P03", "40", "25006")
"""Connections lost, shutdown, resources, lock and pause timeouts, rollbacks, a standby."""

_FULL_UP = "it takes no more connections (max_connections)"
_GOING = "it starts or stops"
_STANDBY = "it is a standby, which cannot be written to"

_PASSING_WHY = {
    "25P03": "this process paused for too long",
    "25006": _STANDBY,
    "53300": _FULL_UP,
    "55P03": "others hold its lock for too long",
    "57P01": _GOING,
    "57P03": _GOING,
}
_SAID = {
    "too many clients": _FULL_UP,
    "remaining connection slots": _FULL_UP,
    "too many connections": _FULL_UP,
    "is starting up": _GOING,
    "is shutting down": _GOING,
    "session is read-only": _STANDBY,
    "server is in hot standby": _STANDBY,
    "has not answered for some time": "it does not answer",
    "timeout expired": "it does not answer",
    "Connection refused": "nothing listens at its address",
}
"""Words of errors that come without a SQLSTATE, since there was no session yet."""

_READ_ONLY = "25006"
_LOCK_TIMEOUT = "55P03"
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
            parsed.get_dialect()().create_connect_args(parsed)  # several hosts, and their ports
        except (sa.exc.ArgumentError, ValueError):
            parsed = None
        if parsed is None or not parsed.database:
            raise InvalidArgumentError(
                "The database setting is no postgresql://USER@HOST:PORT/NAME.",
                remedy="Name the database; a password may come from ~/.pgpass or PGPASSWORD.",
            )
        self.shown_url = parsed.set(drivername="postgresql").render_as_string(hide_password=True)
        writable = {"target_session_attrs": "read-write", **parsed.query}  # of several hosts, one
        self.url = parsed.set(query=writable).render_as_string(hide_password=False)

    def make_engine(self) -> sa.Engine:
        return self._make_engine(
            f" -c lock_timeout={_LOCK_MS}", pool_size=_POOL_SIZE, max_overflow=_MOST_OVERFLOW
        )

    def make_workflow_engine(self, *, pool_size: int) -> sa.Engine:
        return self._make_engine("", pool_size=pool_size, max_overflow=0)

    def _make_engine(self, options: str, **pool: int) -> sa.Engine:
        engine = sa.create_engine(
            self.url,
            pool_pre_ping=True,  # after the server was away, every connection is dead
            connect_args={
                "connect_timeout": _CONNECT_SECONDS,
                "tcp_user_timeout": _SILENT_MS,
                **_KEEPALIVE,
                "application_name": "clouddesktop",
                "options": f"-c idle_in_transaction_session_timeout={_PAUSED_MS}{options}",
            },
            **pool,
        )
        sa.event.listen(engine, "do_connect", _connect)
        sa.event.listen(engine, "handle_error", _note_standby)
        return engine

    def prepare_reading(self, connection: sa.Connection) -> None:
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def begin_read(self, connection: sa.Connection) -> None:
        pass  # the driver begins with the first query

    def end_read(self, connection: sa.Connection) -> None:
        connection.rollback()

    def begin_write(self, connection: sa.Connection) -> None:
        gives_up_at = time.monotonic() + _TURN_SECONDS - _LOCK_MS / 1000
        while True:
            try:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITE_LOCK)))
            except sa.exc.OperationalError as error:
                if getattr(error.orig, "sqlstate", None) != _LOCK_TIMEOUT:
                    raise
                if time.monotonic() > gives_up_at:
                    raise
            else:
                return
            connection.rollback()
            if connection.execute(_END_PAUSED).all():
                _log.warning("a writer that paused has lost its turn")
            connection.commit()

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
        except sa.exc.TimeoutError as error:
            raise _unavailable("all connections of this process are in use") from error
        except sa.exc.DBAPIError as error:
            _raise_translated(error)
            raise


def _connect(_dialect: Any, _record: Any, args: Any, parameters: Any) -> WatchedConnection:
    return WatchedConnection.open(*args, **parameters)


def _note_standby(context: sa.engine.ExceptionContext) -> None:
    """Have connections to a server that has become a standby made anew: another one writes now."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True


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
        raise _unavailable(_why_passing(error, state)) from error


def _why_passing(error: sa.exc.DBAPIError, state: str) -> str:
    """Say what to look at; what the driver says names hosts, and callers read this."""
    text = str(error.orig)
    for sign, why in _SAID.items():
        if sign in text:
            return why
    return _PASSING_WHY.get(state, "")


def _unavailable(why: str) -> DatabaseUnavailableError:
    return DatabaseUnavailableError(
        f"The database is out of reach or busy{f': {why}' if why else ''}.",
        remedy="Try again.",
        retry_after_seconds=_RETRY_SECONDS,
    )


def _is_refused(error: sa.exc.DBAPIError) -> bool:
    """Tell whether a connection was refused for good: such errors come without a SQLSTATE."""
    text = str(error.orig)
    return "FATAL:" in text and any(
        each in text for each in ("password authentication", "does not exist", "pg_hba.conf")
    )


def _first_line(error: sa.exc.DBAPIError) -> str:
    return str(error.orig).splitlines()[0].rpartition("FATAL:")[2].strip()
