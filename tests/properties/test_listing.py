"""Lists, page by page, while images come, go and change: none twice, none skipped.

The same on SQLite and on PostgreSQL, whose database sorts as English does if it is not told better.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cmp_to_key

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.catalog import tables
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import add_cloud, add_folder
from clouddesktop.catalog.image_lists import list_images
from clouddesktop.catalog.images import add_image, delete_image, update_image
from clouddesktop.errors import AlreadyExistsError
from clouddesktop.model.folder import SYSTEM_FOLDER_ID, Cloud, Folder
from clouddesktop.model.image import Image, ImageChanges, ImageStatus
from clouddesktop.model.listing import NameCondition, Position, SortField, SortKey
from parts.postgres import Postgres

NOW = datetime(2026, 11, 24, tzinfo=UTC)
FOLDER, OTHER_FOLDER = "b1gfolder", "b1gother"

# Sorted in another way by English, by the units of UTF-16, and without regard to case or accents.
LETTERS = "aAbBzZ09 -_.'\"%éÉe\u0301ßд\ue000\uffee\U00010000"
names = st.text(LETTERS, min_size=0, max_size=3)
statuses = st.sampled_from(ImageStatus)
moments = st.integers(0, 3).map(lambda each: NOW + timedelta(microseconds=each))
folders = st.sampled_from([FOLDER, FOLDER, FOLDER, SYSTEM_FOLDER_ID, OTHER_FOLDER])
keys = st.builds(SortKey, field=st.sampled_from(SortField), is_descending=st.booleans())
orders = st.lists(keys, max_size=3, unique_by=lambda each: each.field)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def catalogue(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path_factory.mktemp('catalogue') / 'catalogue.db'}")
    else:
        opened = Database(request.getfixturevalue("postgres").make_database())
    opened.migrate()
    opened.write(add_cloud, Cloud(id="b1ccloud", name="cloud", created_at=NOW))
    for each in (FOLDER, OTHER_FOLDER):
        opened.write(add_folder, Folder(id=each, cloud_id="b1ccloud", name=each, created_at=NOW))
    yield opened
    opened.close()


@dataclass(kw_only=True)
class Reading:
    """A list that is read page by page while images come and go.

    `steady` are the images that were there at the start, and have not moved in the order since.
    """

    catalogue: Database
    order: Sequence[SortKey]
    conditions: Sequence[NameCondition]
    images: dict[str, Image] = field(default_factory=dict)
    steady: dict[str, Image] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)
    seen: list[Image] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def make(self, image: Image) -> None:
        try:
            self.catalogue.write(add_image, image)
        except AlreadyExistsError:
            return
        self.images[image.id] = image

    def delete(self, image_id: str) -> None:
        self.catalogue.write(delete_image, image_id)
        del self.images[image_id]
        self.steady.pop(image_id, None)

    def rename(self, image_id: str, name: str) -> None:
        """Rename an image; where names count, it moves."""
        try:
            image = self.catalogue.write(update_image, image_id, ImageChanges(name=name))
        except AlreadyExistsError:
            return
        self.images[image_id] = image
        if self.conditions or any(key.field is SortField.NAME for key in self.order):
            self._note_move(image_id)

    def change_status(self, image_id: str, status: ImageStatus) -> None:
        """Do as a copy that ends does; where the status counts, the image moves."""
        self.catalogue.write(set_status, image_id, status)
        self.images[image_id] = replace(self.images[image_id], status=status)
        if any(key.field is SortField.STATUS for key in self.order):
            self._note_move(image_id)
        elif image_id in self.steady:
            self.steady[image_id] = self.images[image_id]

    def _note_move(self, image_id: str) -> None:
        self.moved.add(image_id)
        self.steady.pop(image_id, None)

    def read_page(self, after: Position | None, *, page_size: int) -> Position | None:
        """Read a page as the API does, and give the position for the next one."""
        found: list[Image] = self.catalogue.write(
            list_images,
            folder_id=FOLDER,
            page_size=page_size + 1,
            after=after,
            conditions=self.conditions,
            order=self.order,
        )
        self.seen += found[:page_size]
        if len(found) <= page_size:
            return None
        kept = Position.of_image(found[page_size - 1], self.order).to_bytes()
        return Position.from_bytes(kept, self.order)

    def is_listed(self, image: Image) -> bool:
        return image.folder_id in {FOLDER, SYSTEM_FOLDER_ID} and all(
            each.is_met(image.name) for each in self.conditions
        )


def check_none_twice(reading: Reading) -> None:
    """But for those that have moved."""
    seen = [each.id for each in reading.seen if each.id not in reading.moved]
    assert len(seen) == len(set(seen))


def check_none_skipped(reading: Reading) -> None:
    """Of those that were there all the time."""
    listed = {each.id for each in reading.steady.values() if reading.is_listed(each)}
    assert listed <= {each.id for each in reading.seen}


def check_in_order(reading: Reading) -> None:
    """All that was seen, each as it was when it was seen."""
    assert reading.seen == in_order(reading.seen, reading.order)


def check_none_of_others(reading: Reading) -> None:
    """Neither another folder's nor what the filter leaves out."""
    assert all(reading.is_listed(each) for each in reading.seen)


def in_order(images: Iterable[Image], order: Sequence[SortKey]) -> list[Image]:
    """Sort by comparing two at a time, names by their characters' numbers."""
    is_descending = bool(order) and order[-1].is_descending

    def compare(one: Image, other: Image) -> int:
        for key in order:
            mine, yours = (getattr(each, key.field) for each in (one, other))
            if key.field is SortField.NAME:
                mine, yours = ([ord(letter) for letter in each] for each in (mine, yours))
            if mine != yours:
                return 1 if (mine > yours) != key.is_descending else -1
        if one.id == other.id:
            return 0
        return 1 if (one.id > other.id) != is_descending else -1

    return sorted(images, key=cmp_to_key(compare))


def a_new_image(data: st.DataObject, numbers: Iterator[int]) -> Image:
    """Draw an image; ids are in no order of their making."""
    number = next(numbers)
    return Image(
        id=f"e3v{data.draw(st.sampled_from('0az'))}{number:03}",
        folder_id=data.draw(folders),
        name=data.draw(names),
        status=data.draw(statuses),
        created_at=data.draw(moments),
    )


def change_something(reading: Reading, data: st.DataObject) -> None:
    what = data.draw(st.sampled_from(["make", "delete", "rename", "change status"]))
    if what == "make" or not reading.images:
        reading.make(a_new_image(data, reading.numbers))
        return
    image_id = data.draw(st.sampled_from(sorted(reading.images)))
    match what:
        case "delete":
            reading.delete(image_id)
        case "rename":
            reading.rename(image_id, data.draw(names))
        case _:
            reading.change_status(image_id, data.draw(statuses))


def set_status(connection: sa.Connection, image_id: str, status: ImageStatus) -> None:
    connection.execute(
        sa.update(tables.images).where(tables.images.c.id == image_id).values(status=int(status))
    )


def forget_all(connection: sa.Connection) -> None:
    connection.execute(sa.delete(tables.images))


@pytest.mark.proves("list.whole", of=["DesktopImageService/List"])
@given(
    data=st.data(),
    order=orders,
    conditions=st.lists(
        st.builds(
            NameCondition, names=st.lists(names, min_size=1, max_size=9), is_negated=st.booleans()
        ),
        max_size=1,
    ),
)
def test_pages_are_whole_while_images_come_and_go(
    catalogue: Database,
    data: st.DataObject,
    order: list[SortKey],
    conditions: list[NameCondition],
) -> None:
    """Whatever the order, the filter and the sizes of pages; system images are among them."""
    catalogue.write(forget_all)
    reading = Reading(catalogue=catalogue, order=order, conditions=conditions)
    for _ in range(data.draw(st.integers(0, 12))):
        reading.make(a_new_image(data, reading.numbers))
    reading.steady = dict(reading.images)
    changes_left = 12
    after = reading.read_page(None, page_size=data.draw(st.integers(1, 4)))
    while after is not None:
        for _ in range(data.draw(st.integers(0, min(3, changes_left)))):
            changes_left -= 1
            change_something(reading, data)
        after = reading.read_page(after, page_size=data.draw(st.integers(1, 4)))
    check_none_twice(reading)
    check_none_skipped(reading)
    check_none_of_others(reading)
    if not reading.moved:
        check_in_order(reading)


@pytest.mark.parametrize(
    "order",
    [
        [SortKey(field=key, is_descending=is_descending), *more]
        for key in SortField
        for is_descending in (False, True)
        for more in ([], [SortKey(field=SortField.NAME)])
        if not more or key is not SortField.NAME
    ],
    ids=str,
)
def test_every_letter_has_its_place(catalogue: Database, order: list[SortKey]) -> None:
    """The same on both databases: that of its number, in a page or over many."""
    catalogue.write(forget_all)
    numbers = itertools.count()
    made = [
        replace(
            Image(
                id=f"e3v{(7 * number) % 1000:03}",
                folder_id=FOLDER if number % 5 else SYSTEM_FOLDER_ID,
                name=name,
                status=ImageStatus(1 + number % 3),
                created_at=NOW + timedelta(seconds=number % 4),
            )
        )
        for number, name in zip(
            numbers, [*LETTERS, *(f"a{each}" for each in LETTERS)], strict=False
        )
    ]
    for image in made:
        catalogue.write(add_image, image)
    for page_size in (1, 7, 1000):
        reading = Reading(catalogue=catalogue, order=order, conditions=[])
        after = reading.read_page(None, page_size=page_size)
        while after is not None:
            after = reading.read_page(after, page_size=page_size)
        assert [each.id for each in reading.seen] == [each.id for each in in_order(made, order)]


def test_postgresql_would_sort_otherwise(postgres: Postgres) -> None:
    """Without a word about it, its database sorts as English does."""
    engine = sa.create_engine(Database(postgres.url).url)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT 'a' < 'Z'"))
        assert connection.scalar(sa.text("SELECT 'Z' < 'a' COLLATE \"C\""))
    engine.dispose()
