"""The catalogue's database: connections, transactions, and the errors of SQLAlchemy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from clouddesktop.catalog.backend import Backend, DatabaseUnavailableError
from clouddesktop.catalog.group_commit import GroupWriter
from clouddesktop.catalog.migrating import Form, bring_up, read_form
from clouddesktop.catalog.postgres import Postgres
from clouddesktop.catalog.sqlite import Sqlite
from clouddesktop.errors import InvalidArgumentError

P = ParamSpec("P")
R = TypeVar("R")

Query = Callable[Concatenate[sa.Connection, P], R]
"""A function that takes the transaction's connection first."""

_MOST_IDLE = 16
"""Connections kept for reading: more at a time go back to the pool, whose writer needs one, too."""

_LONG_SECONDS = 1.0
_REST_SECONDS = 1.0
"""A try to connect that fails after a long time is not repeated for a while: all threads of a
server that wait in turn, seconds each, would answer the last of its callers after minutes."""


class Database:
    """Runs queries (functions that take a connection first), each in a transaction of its own.

    `read` and `write` wait, so call them from threads; `aread` and `awrite` do that for a
    coroutine, and `aread_few` where a few rows are read. A query that raises leaves no
    trace. Writers run one after the other, with the database's one write lock, so that what they
    read is still true when they commit; group_commit.py tells how.
    """

    def __init__(self, url: str) -> None:
        """Open the database at `sqlite:///PATH`, made when it is missing, or `postgresql://…`.

        Raises:
            InvalidArgumentError: the URL is neither.
        """
        self._backend = _backend_of(url)
        self.url = self._backend.url
        self.shown_url = self._backend.shown_url
        self._engine = self._backend.make_engine()
        # Connections for reading: the pool's way out and in takes as long as a short query.
        self._idle: list[sa.Connection] = []
        self._writer = GroupWriter(self._engine, self._backend)
        self._rests_until = 0.0

    @property
    def is_shared(self) -> bool:
        """Whether other processes may use it at the same time."""
        return self._backend.is_shared

    def read(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one query on a snapshot."""
        with self._backend.translated():
            try:
                return self._read(query, *args, **kwargs)
            except sa.exc.DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            # The database was away since the connection was made; now it may be back.
            self._close_idle()
            return self._read(query, *args, **kwargs)

    def _read(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
            self._backend.prepare_reading(connection)
        try:
            self._backend.begin_read(connection)
            result = query(connection, *args, **kwargs)
            self._backend.end_read(connection)
        except BaseException:
            connection.close()
            raise
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.close()
        return result

    def _connect(self) -> sa.Connection:
        begun_at = time.monotonic()
        if begun_at < self._rests_until:
            raise DatabaseUnavailableError(
                "The database is out of reach.",
                remedy="Try again.",
                retry_after_seconds=_REST_SECONDS,
            )
        try:
            return self._engine.connect()
        except sa.exc.SQLAlchemyError:
            if time.monotonic() > begun_at + _LONG_SECONDS:
                self._rests_until = time.monotonic() + _REST_SECONDS
            raise

    def write(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one query and commit, with others that wait; durable when this returns."""
        with self._backend.translated():
            result: R = self._writer.submit(lambda each: query(each, *args, **kwargs)).result()
            return result

    def write_apart(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one query and commit, without waiting for other writers where they can be many.

        For rows that no other write decides by.
        """
        if not self._backend.is_shared:
            return self.write(query, *args, **kwargs)
        with self._backend.translated(), self._engine.begin() as connection:
            return query(connection, *args, **kwargs)

    async def aread(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do as `read`, in a worker thread."""
        return await asyncio.to_thread(lambda: self.read(query, *args, **kwargs))

    async def aread_few(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do as `aread`, for queries that find a few rows by their keys.

        In a file of one's own that takes a fifth of the way to a thread and back, so it is done
        here and now: readers wait for no writer.
        """
        if self._backend.is_shared:
            return await self.aread(query, *args, **kwargs)
        return self.read(query, *args, **kwargs)

    async def awrite(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do as `write`; a cancelled caller may find the write done."""
        with self._backend.translated():
            future = self._writer.submit(lambda each: query(each, *args, **kwargs))
            result: R = await asyncio.wrap_future(future)
            return result

    def migrate(self, *, further: Callable[[], None] = lambda: None) -> bool:
        """Bring the tables to this version's form; does nothing when they have it.

        `further` is called then, while no other process migrates. Tables of a later version that
        lets this one go on stay as they are, and `further` is not called.

        Returns:
            False in that last case.

        Raises:
            DatabaseTooNewError: the tables are of a later version; nothing was changed.
        """
        with (
            self._backend.translated(),
            self._engine.connect() as connection,
            self._backend.migrating(connection),
        ):
            is_ours = bring_up(connection, shown_url=self.shown_url)
            if is_ours:
                connection.commit()
                further()
            return is_ours

    def read_form(self) -> Form:
        """Tell how the tables stand to those of this version; changes nothing.

        Raises:
            DatabaseTooNewError: they are of a later version that this one does not suit.
        """
        with self._backend.translated(), self._engine.connect() as connection:
            return read_form(connection, shown_url=self.shown_url)

    def close(self) -> None:
        """Finish the writes that wait, and let go of every connection; may be called twice."""
        self._writer.close()
        self._close_idle()
        self._engine.dispose()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()


def make_workflow_engine(url: str, *, pool_size: int) -> sa.Engine | None:
    """Make what DBOS reaches a shared database by, with our care for lost ones; else None."""
    return _backend_of(url).make_workflow_engine(pool_size=pool_size)


def _backend_of(url: str) -> Backend:
    if url.startswith(("postgresql:", "postgresql+psycopg:")):
        return Postgres(url)
    if url.startswith("sqlite:///") and url != "sqlite:///":
        return Sqlite(url)
    raise InvalidArgumentError(
        "The database setting is neither sqlite:///PATH nor postgresql://….",
        remedy="Use --database sqlite:///PATH, or leave it out.",
    )
