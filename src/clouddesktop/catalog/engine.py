"""The catalogue's database: connections, transactions, and the errors of SQLAlchemy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from clouddesktop.catalog.group_commit import GroupWriter
from clouddesktop.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
    UnimplementedError,
)

P = ParamSpec("P")
R = TypeVar("R")

Query = Callable[Concatenate[sa.Connection, P], R]
"""A function that takes the transaction's connection first."""

_BUSY_TIMEOUT_MS = 30_000
"""How long a writer waits for another, as DBOS waits on the same file."""

_MIGRATIONS = Path(__file__).parent / "migrations"


class DatabaseFullError(ResourceExhaustedError):
    """The file system under the database has no room left; the transaction was rolled back."""

    reason = "DATABASE_FULL"


class DatabaseUnusableError(FailedPreconditionError):
    """The file is no database, is damaged, or may not be written."""

    reason = "DATABASE_UNUSABLE"


class DatabaseTooNewError(FailedPreconditionError):
    """A later version of clouddesktop has written this database."""

    reason = "DATABASE_TOO_NEW"


class Database:
    """Runs queries (functions that take a connection first), each in a transaction of its own.

    `read` and `write` wait, so call them from threads; `aread` and `awrite` do that for a
    coroutine, and `read_nowait` reads a few rows without a thread. A query that raises leaves no
    trace. Writers run one after the other, with the database's one write lock, so that what they
    read is still true when they commit; group_commit.py tells how.
    """

    def __init__(self, url: str) -> None:
        """Open the database at `sqlite:///PATH`; the file is made when it is missing."""
        self.url = _checked(url)
        self._engine = sa.create_engine(self.url, pool_size=8, max_overflow=32)
        sa.event.listen(self._engine, "connect", _prepare_connection)
        # Connections for reading: the pool's way out and in takes as long as a short query.
        self._idle: list[sa.Connection] = []
        self._writer = GroupWriter(self._engine)

    def read(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one query on a snapshot."""
        with _translated():
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._engine.connect()
            connection.exec_driver_sql("BEGIN")
            try:
                return query(connection, *args, **kwargs)
            finally:
                connection.rollback()
                self._idle.append(connection)

    def write(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one query and commit, with others that wait; durable when this returns."""
        with _translated():
            result: R = self._writer.submit(lambda each: query(each, *args, **kwargs)).result()
            return result

    def read_nowait(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do as `read`, for queries that find a few rows by their keys: also from an event loop.

        Readers wait for no writer, and the way to a thread and back takes as long as five of them.
        """
        return self.read(query, *args, **kwargs)

    async def aread(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do as `read`, in a worker thread."""
        return await asyncio.to_thread(lambda: self.read(query, *args, **kwargs))

    async def awrite(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do as `write`; a cancelled caller may find the write done."""
        with _translated():
            future = self._writer.submit(lambda each: query(each, *args, **kwargs))
            result: R = await asyncio.wrap_future(future)
            return result

    def migrate(self) -> None:
        """Bring the tables to this version's form; does nothing when they have it.

        Raises:
            DatabaseTooNewError: the tables are of a later version; nothing was changed.
        """
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        with _translated(), self._engine.connect() as connection:
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise DatabaseTooNewError(
                    f"The database {self.url} was written by a later version: {error}.",
                    remedy="Run that version, or restore a backup made by this one.",
                ) from error
            connection.commit()

    def close(self) -> None:
        """Finish the writes that wait, and let go of every connection; may be called twice."""
        self._writer.close()
        while self._idle:
            self._idle.pop().close()
        self._engine.dispose()


def _checked(url: str) -> str:
    if url.startswith(("postgresql:", "postgresql+")):
        raise UnimplementedError(
            "PostgreSQL is not served yet.",
            remedy="Use --database sqlite:///PATH, or leave it out.",
        )
    if not url.startswith("sqlite:///") or not url.removeprefix("sqlite:///"):
        raise InvalidArgumentError(
            "The database setting is neither sqlite:///PATH nor postgresql://….",
            remedy="Use --database sqlite:///PATH, or leave it out.",
        )
    return url


def _prepare_connection(connection: Any, _record: Any) -> None:
    # sqlite3 begins transactions only at the first write, too late for our reads: we begin them.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={_BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",  # what an API call reports as done survives a power cut
        "foreign_keys=ON",
        "cache_size=-32768",
    ):
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sa.exc.OperationalError as error:
        text = str(error.orig)
        if "locked" in text or "busy" in text:
            raise UnavailableError(
                "The database is busy.", remedy="Try again.", retry_after_seconds=1
            ) from error
        if "unable to open" in text or "readonly" in text or "read-only" in text:
            raise DatabaseUnusableError(
                f"The database cannot be used: {text}.",
                remedy="Let the server's user read and write the file and its folder.",
            ) from error
        if "full" in text:
            raise DatabaseFullError(
                "The database's disk is full.", remedy="Free some space and try again."
            ) from error
        raise
    except sa.exc.DatabaseError as error:
        text = str(error.orig)
        if "not a database" in text or "malformed" in text:
            raise DatabaseUnusableError(
                f"The database cannot be used: {text}.",
                remedy="Put the right file in its place, or restore a backup of it.",
            ) from error
        raise
