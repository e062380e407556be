"""Lists of images: what the database does for a page, asked of the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import add_cloud, add_folder
from clouddesktop.catalog.image_lists import list_images
from clouddesktop.catalog.images import add_image
from clouddesktop.model.folder import Cloud, Folder
from clouddesktop.model.image import Image, ImageStatus
from clouddesktop.model.listing import NameCondition, Position, SortField, SortKey

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ORDERS = [
    [],
    *[
        [SortKey(field=field, is_descending=is_descending)]
        for field in SortField
        for is_descending in (False, True)
    ],
]


def an_image(number: int) -> Image:
    return Image(
        id=f"e3v{number:05}",
        folder_id="f",
        name=f"image-{number:03}",
        status=ImageStatus.ACTIVE,
        created_at=NOW + timedelta(seconds=number),
    )


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path_factory.mktemp('lists') / 'catalogue.db'}")
    opened.migrate()

    def fill(connection: sa.Connection) -> None:
        add_cloud(connection, Cloud(id="c", name="cloud", created_at=NOW))
        add_folder(connection, Folder(id="f", cloud_id="c", name="default", created_at=NOW))
        for number in range(20):
            add_image(connection, an_image(number))
            add_image(connection, replace(an_image(number), id=f"fdv{number:05}", folder_id=""))

    opened.write(fill)
    yield opened
    opened.close()


def explain(database: Database, **options: Any) -> tuple[list[Image], list[str]]:
    """List images, and have SQLite explain the statements that did it."""

    def query(connection: sa.Connection) -> tuple[list[Image], list[str]]:
        sent: list[str] = []
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(sent.append)
        found = list_images(connection, folder_id="f", page_size=5, **options)
        driver.set_trace_callback(None)
        steps: list[str] = []
        for statement in sent:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")
            steps += [row.detail for row in plan]
        return found, steps

    return database.read(query)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_a_page_is_read_from_an_index(database: Database, order: Sequence[SortKey]) -> None:
    """Entered at the page's place and read in its order: nothing is sorted, nothing passed over."""
    after = Position.of_image(an_image(10), order)
    for options in ({}, {"after": after}):
        found, steps = explain(database, order=order, **options)
        assert len(found) == 5
        assert len(steps) == 2  # the folder's, and those of the system
        for step in steps:
            assert step.startswith("SEARCH images USING INDEX")
            column = order[0].field if order else "id"
            is_entered = any(f"{column}{sign}?" in step for sign in "<>")
            is_entered |= f"AND ({column},id)" in step
            assert is_entered == bool(options)


@pytest.mark.parametrize("count", [1, 2, 200])
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_names_are_looked_up(database: Database, order: Sequence[SortKey], count: int) -> None:
    """By their index, whatever the order; a folder's other images are not read."""
    names = [f"image-{number:03}" for number in range(19, 19 + count)]
    found, steps = explain(database, order=order, conditions=[NameCondition(names=names)])
    assert [each.name for each in found] == ["image-019"] * 2
    searches = [each for each in steps if each.startswith("SEARCH")]
    assert len(searches) == 2
    assert all(each.endswith("(folder_id=? AND name=?)") for each in searches)


def test_a_position_is_read_back() -> None:
    """Whatever is sorted by."""
    image = an_image(3)
    for order in (*ORDERS, [SortKey(field=each) for each in SortField]):
        position = Position.of_image(image, order)
        assert Position.from_bytes(position.to_bytes(), order) == position
