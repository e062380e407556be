"""Which programs may work on which tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from clouddesktop.catalog import migrating
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.migrating import DatabaseTooNewError, Form
from clouddesktop.catalog.tables import images
from parts import next_version
from parts.next_version import find_head

_RULE_SINCE = "0017"
"""The first revision that was written under the rule."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'catalogue.db'}")
    yield opened
    opened.close()


def migrate_as_next(database: Database, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next version migrate."""
    folder = Path(next_version.__file__).parent / kind
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "VERSION_FOLDERS", [*migrating.VERSION_FOLDERS, folder])
        assert database.migrate()
        assert database.read_form() is Form.SAME


def test_a_database_goes_from_absent_to_the_same_form(database: Database) -> None:
    """To look changes nothing, and to migrate twice is as once."""
    assert database.read_form() is Form.ABSENT
    assert database.read_form() is Form.ABSENT
    assert database.migrate()
    assert database.read_form() is Form.SAME
    assert database.migrate()


def test_tables_that_have_more_serve_earlier_programs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They leave them as they are, and make nothing of their own."""
    database.migrate()
    migrate_as_next(database, "adding", monkeypatch)
    assert database.read_form() is Form.LATER
    assert not database.migrate(further=lambda: pytest.fail("the later version has done it"))
    columns = database.read(lambda each: sa.inspect(each).get_columns(images.name))
    assert "note" in {each["name"] for each in columns}


def test_tables_that_lack_something_refuse_earlier_programs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names both revisions."""
    database.migrate()
    migrate_as_next(database, "breaking", monkeypatch)
    with pytest.raises(DatabaseTooNewError, match=f"revision 9000.* knows {find_head()}"):
        database.migrate()
    with pytest.raises(DatabaseTooNewError):
        database.read_form()


def test_what_was_said_of_another_revision_does_not_count(database: Database) -> None:
    """Such as by a program that has changed the tables without keeping the rule."""
    database.migrate()
    database.write(
        lambda each: each.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    )
    with pytest.raises(DatabaseTooNewError, match="revision 9999"):
        database.migrate()


def test_every_new_revision_says_whom_it_serves() -> None:
    """By `serves_since`; one that serves no earlier program names itself."""
    for folder in migrating.VERSION_FOLDERS:
        for path in folder.glob("[0-9]*.py"):
            revision = path.name[:4]
            if revision >= _RULE_SINCE:
                assert "serves_since = " in path.read_text(), path.name
