"""What a cloud's images come to, as its quotas tell it, whoever changes images, and how."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import add_cloud, add_folder, delete_folder
from clouddesktop.catalog.images import add_image, delete_image
from clouddesktop.catalog.quotas import get_quota
from clouddesktop.catalog.tables import folder_usage, images
from clouddesktop.model.folder import Cloud, Folder
from clouddesktop.model.image import Image, ImageStatus
from clouddesktop.model.quota import QuotaId
from parts.postgres import Postgres

NOW = datetime(2026, 11, 24, tzinfo=UTC)
FOLDERS = {"b1gfolder": "b1ccloud", "b1gother": "b1ccloud", "b1gelse": "b1celse"}

Change = Callable[[sa.Connection], object]
numbers = itertools.count()
sizes = st.integers(0, 1 << 50)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def catalogue(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path_factory.mktemp('catalogue') / 'catalogue.db'}")
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        opened = Database(postgres.make_database())
    opened.migrate()
    for cloud_id in sorted(set(FOLDERS.values())):
        opened.write(add_cloud, Cloud(id=cloud_id, name=cloud_id, created_at=NOW))
    for folder_id, cloud_id in FOLDERS.items():
        opened.write(add_folder, a_folder(folder_id, cloud_id=cloud_id))
    yield opened
    opened.close()


def a_folder(folder_id: str, *, cloud_id: str) -> Folder:
    return Folder(id=folder_id, cloud_id=cloud_id, name=folder_id, created_at=NOW)


def an_image(folder_id: str, size: int) -> Image:
    number = next(numbers)
    return Image(
        id=f"e3v{number:05}",
        folder_id=folder_id,
        name=f"image-{number}",
        status=ImageStatus.ACTIVE,
        created_at=NOW,
        storage_size=size,
    )


def add(folder_id: str, size: int) -> Change:
    return lambda connection: add_image(connection, an_image(folder_id, size))


def add_together(sizes_by_folder: list[tuple[str, int]]) -> Change:
    """One statement adds several, as a restored dump does."""

    def change(connection: sa.Connection) -> None:
        rows = [
            sa.select(
                sa.literal(image.id),
                sa.literal(image.folder_id),
                sa.literal(image.name),
                sa.literal(""),
                sa.literal({}, sa.JSON),
                sa.literal(int(image.status), sa.SmallInteger),
                sa.literal(NOW, images.c.created_at.type),
                sa.literal(image.storage_size, sa.BigInteger),
                sa.literal(0, sa.BigInteger),
            )
            for image in itertools.starmap(an_image, sizes_by_folder)
        ]
        names = [each.name for each in images.columns if each.name != "manifest"]
        connection.execute(sa.insert(images).from_select(names, sa.union_all(*rows)))

    return change


def remove_one(nth: int) -> Change:
    def change(connection: sa.Connection) -> None:
        found = connection.scalars(sa.select(images.c.id).order_by(images.c.id)).all()
        if found:
            delete_image(connection, found[nth % len(found)])

    return change


def remove_smaller(size: int) -> Change:
    return lambda connection: connection.execute(
        sa.delete(images).where(images.c.storage_size < size)
    )


def grow(factor: int) -> Change:
    """One statement changes all sizes, as a rebuilt index does."""
    return lambda connection: connection.execute(
        sa.update(images).values(storage_size=images.c.storage_size // 2 * factor + factor)
    )


def rename(folder_id: str) -> Change:
    return lambda connection: connection.execute(
        sa.update(images).where(images.c.folder_id == folder_id).values(description="other")
    )


folders = st.sampled_from(sorted(FOLDERS))
changes = st.one_of(
    st.builds(add, folders, sizes),
    st.builds(add_together, st.lists(st.tuples(folders, sizes), min_size=1, max_size=4)),
    st.builds(remove_one, st.integers(0, 20)),
    st.builds(remove_smaller, sizes),
    st.builds(grow, st.integers(0, 3)),
    st.builds(rename, folders),
)


@given(made=st.lists(changes, max_size=12))
def test_usage_is_what_counting_the_images_gives(catalogue: Database, made: list[Change]) -> None:
    for change in made:
        catalogue.write(change)
        assert read_usage(catalogue) == count_usage(catalogue)


def read_usage(catalogue: Database) -> dict[str, tuple[int, int]]:
    return {
        cloud_id: (
            catalogue.read(get_quota, cloud_id, QuotaId.IMAGES_COUNT).usage,
            catalogue.read(get_quota, cloud_id, QuotaId.IMAGES_SIZE).usage,
        )
        for cloud_id in FOLDERS.values()
    }


def count_usage(catalogue: Database) -> dict[str, tuple[int, int]]:
    found = catalogue.read(
        lambda connection: connection.execute(sa.select(images.c.folder_id, images.c.storage_size))
    )
    usage = dict.fromkeys(FOLDERS.values(), (0, 0))
    for folder_id, size in found:
        count, total = usage[FOLDERS[folder_id]]
        usage[FOLDERS[folder_id]] = count + 1, total + size
    return usage


def test_a_folder_that_is_deleted_leaves_no_sum(catalogue: Database) -> None:
    catalogue.write(add_folder, a_folder("b1gshort", cloud_id="b1ccloud"))
    image = an_image("b1gshort", 7)
    catalogue.write(add_image, image)
    catalogue.write(delete_image, image.id)
    catalogue.write(delete_folder, "b1gshort")
    left = catalogue.read(
        lambda connection: connection.scalars(sa.select(folder_usage.c.folder_id)).all()
    )
    assert "b1gshort" not in left
