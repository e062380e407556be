"""The form of the catalogue's tables: bringing it about, and telling who may work on it.

Each revision's file may say `serves_since`: the earliest revision whose programs still work on the
tables as they are after it. The latest of those of all revisions is kept in the database, beside
the revision that it holds for, so that a program can tell whether it suits tables of a version that
it does not know.
A revision that says nothing serves only the programs that know it. docs/adr/0039 has the rule.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from clouddesktop.catalog.installation import set_fact
from clouddesktop.catalog.tables import installation
from clouddesktop.errors import FailedPreconditionError

_MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_FOLDERS: list[Path] = [_MIGRATIONS / "versions"]

_SERVES_SINCE = "serves_since"
"""The fact `REVISION SINCE`: at this revision, programs that know the other one may go on."""


class DatabaseTooNewError(FailedPreconditionError):
    """A later version of clouddesktop has written this database, in a form that this one lacks."""

    reason = "DATABASE_TOO_NEW"


class Form(Enum):
    """How the tables stand to those that this program would make."""

    ABSENT = "absent"
    EARLIER = "earlier"
    SAME = "same"
    LATER = "later"
    """Made by a later version, which lets programs like this one go on."""


def read_form(connection: sa.Connection, *, shown_url: str) -> Form:
    """Tell which form the tables have.

    Raises:
        DatabaseTooNewError: they are of a later version that this program does not suit.
    """
    current = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(_configure(connection))
    head = scripts.get_current_head() or ""
    if current is None:
        return Form.ABSENT
    if current == head:
        return Form.SAME
    if current in {each.revision for each in scripts.walk_revisions()}:
        return Form.EARLIER
    fact: str | None = connection.scalar(
        sa.select(installation.c.value).where(installation.c.name == _SERVES_SINCE)
    )
    holds_for, _, serves_since = (fact or "").partition(" ")
    if holds_for != current:
        serves_since = ""
    if serves_since and serves_since <= head:
        return Form.LATER
    needed = f", for programs that know revision {serves_since}" if serves_since else ""
    raise DatabaseTooNewError(
        f"The database {shown_url} was written by a later version: it has revision {current}"
        f"{needed}, and this program knows {head}.",
        remedy="Run that version, or restore a backup made by this one.",
        facts={"revision": current, "known": head, "serves_since": serves_since},
    )


def bring_up(connection: sa.Connection, *, shown_url: str) -> bool:
    """Bring the tables to this program's form; False when a later version has done more already.

    Raises:
        DatabaseTooNewError: they are of a later version that this program does not suit.
    """
    if read_form(connection, shown_url=shown_url) is Form.LATER:
        return False
    config = _configure(connection)
    command.upgrade(config, "head")
    scripts = ScriptDirectory.from_config(config)
    fact = f"{scripts.get_current_head()} {_find_serves_since(scripts)}"
    set_fact(connection, _SERVES_SINCE, fact)
    return True


def _find_serves_since(scripts: ScriptDirectory) -> str:
    return max(
        str(getattr(each.module, _SERVES_SINCE, each.revision)) for each in scripts.walk_revisions()
    )


def _configure(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(map(str, VERSION_FOLDERS)))
    config.attributes["connection"] = connection
    return config
