"""The catalogue in one file: SQLite, for one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import sqlalchemy as sa

from clouddesktop.catalog.backend import (
    DatabaseFullError,
    DatabaseUnavailableError,
    DatabaseUnusableError,
)

_BUSY_TIMEOUT_MS = 30_000
"""How long a writer waits for another, as DBOS waits on the same file."""


class Sqlite:
    """A database file, made when it is missing."""

    is_shared = False

    def __init__(self, url: str) -> None:
        """Use the file of `sqlite:///PATH`."""
        self.url = self.shown_url = url

    def make_engine(self) -> sa.Engine:
        engine = sa.create_engine(self.url, pool_size=8, max_overflow=32)
        sa.event.listen(engine, "connect", _prepare_connection)
        return engine

    def make_workflow_engine(self, *, pool_size: int) -> sa.Engine | None:  # noqa: ARG002  (a file needs no care)
        return None

    def prepare_reading(self, connection: sa.Connection) -> None:
        pass

    def begin_read(self, connection: sa.Connection) -> None:
        # By the driver: SQLAlchemy takes longer over it than SQLite over most queries.
        _driver_of(connection).execute("BEGIN")

    def end_read(self, connection: sa.Connection) -> None:
        connection.rollback()  # of what SQLAlchemy has run, if it was asked to
        _driver_of(connection).rollback()

    def begin_write(self, connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def is_in_transaction(self, connection: sa.Connection) -> bool:
        """SQLite undoes the whole transaction by itself when the disk is full."""
        in_transaction: bool = _driver_of(connection).in_transaction
        return in_transaction

    def migrating(self, connection: sa.Connection) -> AbstractContextManager[None]:  # noqa: ARG002  (the data folder's lock keeps others out)
        return nullcontext()

    @contextmanager
    def translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.OperationalError as error:
            text = str(error.orig)
            if "locked" in text or "busy" in text:
                raise DatabaseUnavailableError(
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


def _driver_of(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection


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
