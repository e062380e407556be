"""Prepared statements answer as SQLAlchemy does, whichever way they are run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from clouddesktop.catalog.backend import DatabaseUnusableError
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.prepared import Prepared
from clouddesktop.catalog.tables import UtcDateTime

THINGS = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("at", UtcDateTime),
    sa.Column("labels", sa.JSON(none_as_null=True)),
    sa.Column("is_done", sa.Boolean),
    sa.Column("data", sa.LargeBinary),
    sa.Column("count", sa.Integer, server_default="7"),
)
AT = datetime(2026, 11, 26, 12, 30, 0, 5, tzinfo=UTC)
WHOLE = {"id": "a", "at": AT, "labels": {"ü": ["1"]}, "is_done": True, "data": b"\0\xff"}
EMPTY = {"id": "b", "at": None, "labels": None, "is_done": False, "data": None}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'things.db'}")
    opened.write(THINGS.create)
    yield opened
    opened.close()


def add(database: Database, **values: Any) -> None:
    database.write(Prepared(sa.insert(THINGS)).run, **values)


@pytest.mark.parametrize("values", [WHOLE, EMPTY], ids=["whole", "empty"])
def test_rows_are_what_sqlalchemy_reads(database: Database, values: dict[str, Any]) -> None:
    """Instants, JSON, truth values, bytes and NULL, written by one way and read by both."""
    add(database, **values)
    query = sa.select(THINGS).where(THINGS.c.id == sa.bindparam("key"))
    row = database.read(Prepared(query).first, key=values["id"])
    plain = database.read(lambda connection: connection.execute(query, {"key": row.id}).one())
    assert row._asdict() == dict(plain._mapping) == {**values, "count": 7}


def test_an_instant_is_kept_as_utc(database: Database) -> None:
    """Whatever zone it comes in."""
    add(database, **{**WHOLE, "at": AT.astimezone(timezone(timedelta(hours=3)))})
    assert database.read(Prepared(sa.select(THINGS.c.at)).first).at == AT


def test_a_row_that_is_not_there(database: Database) -> None:
    """`first` gives None, `all` an empty list."""
    query = Prepared(sa.select(THINGS.c.id))
    assert database.read(query.first) is None
    assert database.read(query.all) == []


def test_constants_and_lists_of_values(database: Database) -> None:
    """What a statement has in itself counts, and so does a list, whose length differs by run."""
    add(database, **WHOLE)
    add(database, **EMPTY)
    done = Prepared(sa.select(THINGS.c.id).where(THINGS.c.is_done == sa.true(), THINGS.c.count > 6))
    assert [each.id for each in database.read(done.all)] == ["a"]
    named = Prepared(
        sa.select(THINGS.c.id)
        .where(THINGS.c.id.in_(sa.bindparam("ids", expanding=True)))
        .order_by(THINGS.c.id)
    )
    for ids in (["a"], ["a", "b"], ["b", "c", "d"]):
        found = [each.id for each in database.read(named.all, ids=ids)]
        assert found == [each for each in ids if each in "ab"]


def test_errors_are_sqlalchemys(database: Database) -> None:
    """So that those who know them find words for them."""
    add(database, **WHOLE)
    with pytest.raises(sa.exc.IntegrityError):
        add(database, **WHOLE)
    with pytest.raises(sa.exc.ProgrammingError, match="You did not supply a value"):
        database.read(Prepared(sa.select(THINGS).where(THINGS.c.id == sa.bindparam("key"))).all)
    assert len(database.read(Prepared(sa.select(THINGS.c.id)).all)) == 1


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """Is named as such, as by any other statement."""
    path = tmp_path / "text.db"
    path.write_bytes(b"this is no database, by far" * 200)
    database = Database(f"sqlite:///{path}")
    with pytest.raises(DatabaseUnusableError):
        database.read(Prepared(sa.select(THINGS.c.id)).all)
    database.close()
