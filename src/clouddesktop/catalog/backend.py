"""What differs between the databases that the catalogue can lie in."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import sqlalchemy as sa

from clouddesktop.errors import FailedPreconditionError, ResourceExhaustedError, UnavailableError


class DatabaseUnavailableError(UnavailableError):
    """The database is busy or out of reach for now; a write may have been done or not."""

    reason = "DATABASE_UNAVAILABLE"


class DatabaseFullError(ResourceExhaustedError):
    """The file system under the database has no room left; the transaction was rolled back."""

    reason = "DATABASE_FULL"


class DatabaseUnusableError(FailedPreconditionError):
    """The database is not there, is damaged, or may not be used."""

    reason = "DATABASE_UNUSABLE"


class Backend(Protocol):
    """One kind of database. Connections for reading and for writing are not mixed."""

    url: str
    """For SQLAlchemy and DBOS; may hold a password."""

    shown_url: str
    """For people: without a password."""

    is_shared: bool
    """Whether other processes write, too, and the way to the database may be slow or cut."""

    def make_engine(self) -> sa.Engine:
        """Make the engine; connects to nothing yet."""
        ...

    def make_workflow_engine(self, *, pool_size: int) -> sa.Engine | None:
        """Make an engine for DBOS, which makes its own where this is None."""
        ...

    def prepare_reading(self, connection: sa.Connection) -> None:
        """Make each transaction of a new connection a snapshot that writes nothing."""
        ...

    def begin_read(self, connection: sa.Connection) -> None:
        """Begin a transaction that reads."""
        ...

    def end_read(self, connection: sa.Connection) -> None:
        """End it."""
        ...

    def begin_write(self, connection: sa.Connection) -> None:
        """Begin a transaction that holds the database's one write lock until its end.

        So what it reads is still true when it commits, whoever else would write.
        """
        ...

    def is_in_transaction(self, connection: sa.Connection) -> bool:
        """Tell whether the transaction can go on from a savepoint after an error."""
        ...

    def migrating(self, connection: sa.Connection) -> AbstractContextManager[None]:
        """Let one process at a time change the tables' form."""
        ...

    def translated(self) -> AbstractContextManager[None]:
        """Raise errors of ours for the database's."""
        ...
