"""The catalogue's side of a copy: epochs, shared packs, rollback, known content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from clouddesktop.catalog import copies, rolling_back, tables
from clouddesktop.catalog.chunks import find_known, find_places
from clouddesktop.catalog.contents import find_known_content
from clouddesktop.catalog.copies import (
    ChunkGoneError,
    RunReplacedError,
)
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.images import get_image
from clouddesktop.catalog.operations import get_operation
from clouddesktop.errors import AlreadyExistsError, Code, Failure, NotFoundError
from clouddesktop.model.image import Image, ImageStatus
from parts.copies import (
    MANIFEST,
    SOURCE,
    add_default_folder,
    begin,
    count,
    digest,
    pack,
    plan,
    publish,
    range_of,
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'catalogue.db'}")
    add_default_folder(opened)
    yield opened
    opened.close()


def test_the_tables_are_what_the_migrations_make(database: Database) -> None:
    """A column that is added to one and not to the other shows here."""

    def compare(connection: sa.Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), tables.metadata))

    assert database.read(compare) == []
    database.migrate()


def test_a_copy_goes_from_plan_to_published_image(database: Database) -> None:
    """Figures add up, the image is ACTIVE, and the run leaves no rows of its own."""
    run = begin(database, "one")
    plan(database, run)
    database.write(copies.record_range, run, range_of(0, 1, 2), pack=pack("one/0", 1, 2))
    database.write(copies.record_range, run, range_of(1, 2), pack=None)
    chunks = database.read(lambda connection: list(copies.iter_recorded_chunks(connection, run)))
    assert chunks == [(0, digest(1)), (1, digest(2)), (10, digest(2))]
    publish(database, run)
    operation = database.read(get_operation, "one")
    assert operation.done
    assert operation.failure is None
    assert operation.result is not None
    image = Image.from_record(operation.result)
    assert image == database.read(get_image, "image-one")
    assert image.status is ImageStatus.ACTIVE
    assert image.storage_size == 200
    assert image.min_disk_size == 8 << 20
    assert operation.progress.bytes_done == 2 * 1011
    assert operation.progress.bytes_new == 1000
    assert operation.progress.bytes_deduplicated == 10 + 1010
    for table in (tables.copy_ranges, tables.operation_packs):
        assert count(database, table) == 0
    places = database.read(find_places, [digest(1), digest(2), digest(3)])
    assert {key: place.entry.offset for key, place in places.items()} == {
        digest(1): 0,
        digest(2): 100,
    }


def test_a_replaced_run_changes_nothing(database: Database) -> None:
    """Each of its writes is refused, whatever it is."""
    old = begin(database, "one")
    plan(database, old)
    new = database.write(copies.begin_run, "one")
    assert new is not None
    assert new.epoch == old.epoch + 1
    for write in (
        lambda: plan(database, old),
        lambda: database.write(copies.record_range, old, range_of(0, 1), pack=pack("one/0", 1)),
        lambda: publish(database, old),
        lambda: database.write(rolling_back.roll_back, old),
        lambda: database.write(rolling_back.finish_rollback, old),
        lambda: database.write(
            rolling_back.record_failure, old, Failure(code=Code.ABORTED, reason="R", message="m.")
        ),
    ):
        with pytest.raises(RunReplacedError):
            write()
    assert count(database, tables.packs) == count(database, tables.chunks) == 0
    assert not database.read(get_operation, "one").done


def test_a_range_that_shares_a_vanished_chunk_is_not_recorded(database: Database) -> None:
    """Its pack is not indexed either: the range is read again."""
    run = begin(database, "one")
    plan(database, run)
    with pytest.raises(ChunkGoneError):
        database.write(copies.record_range, run, range_of(0, 1, 2), pack=pack("one/0", 1))
    assert count(database, tables.packs) == count(database, tables.copy_ranges) == 0
    assert not database.read(copies.is_range_recorded, run, 0)


def test_a_rollback_leaves_what_others_rely_on(database: Database) -> None:
    """Packs that only the failed copy uses go; one shared with a running copy stays."""
    failed, other = begin(database, "failed"), begin(database, "other")
    for run in (failed, other):
        plan(database, run)
    database.write(copies.record_range, failed, range_of(0, 1), pack=pack("failed/0", 1))
    database.write(copies.record_range, failed, range_of(1, 2), pack=pack("failed/1", 2))
    database.write(copies.record_range, other, range_of(0, 2, 3), pack=pack("other/0", 3))
    failure = Failure(code=Code.ABORTED, reason="SOURCE_CHANGED", message="It changed.")
    database.write(rolling_back.record_failure, failed, failure)
    database.write(rolling_back.record_failure, failed, replace(failure, message="Later."))
    seen = database.read(get_operation, "failed")
    assert not seen.done
    assert seen.failure == failure
    assert database.write(rolling_back.roll_back, failed) == ["failed/0"]
    assert set(database.read(find_known, [digest(1), digest(2), digest(3)])) == {
        digest(2),
        digest(3),
    }
    with pytest.raises(NotFoundError):
        database.read(get_image, "image-failed")
    database.write(rolling_back.finish_rollback, failed)
    done = database.read(get_operation, "failed")
    assert done.done
    assert done.failure == failure
    assert done.result is None
    assert database.write(copies.begin_run, "failed") is None


def test_a_rollback_after_publishing_elsewhere_keeps_the_content(database: Database) -> None:
    """A sealed content relies on its packs, whoever wrote them."""
    writer, sharer = begin(database, "writer"), begin(database, "sharer")
    for run in (writer, sharer):
        plan(database, run)
    database.write(copies.record_range, writer, range_of(0, 1), pack=pack("writer/0", 1))
    database.write(copies.record_range, sharer, range_of(0, 1), pack=None)
    publish(database, sharer)
    assert database.write(rolling_back.roll_back, writer) == []
    assert set(database.read(find_known, [digest(1)])) == {digest(1)}


@pytest.mark.parametrize("settled", [True, False])
def test_only_a_settled_source_is_known_later(database: Database, *, settled: bool) -> None:
    """And only by the fingerprint that it had."""
    run = begin(database, "one")
    plan(database, run, settled=settled)
    publish(database, run)
    known = database.read(find_known_content, compute_image=SOURCE, fingerprint="print")
    assert (known is not None) is settled
    if known is not None:
        assert (known.manifest, known.disk_size, known.storage_size) == (
            MANIFEST,
            5_000_000,
            200,
        )
    assert database.read(find_known_content, compute_image=SOURCE, fingerprint="other") is None


def test_a_chunk_stored_twice_keeps_its_first_place(database: Database) -> None:
    """Two copies at once may store one chunk; the second relies on the first's pack."""
    first, second = begin(database, "first"), begin(database, "second")
    for run in (first, second):
        plan(database, run)
    database.write(copies.record_range, first, range_of(0, 1), pack=pack("first/0", 1))
    database.write(copies.record_range, second, range_of(0, 1, 2), pack=pack("second/0", 2, 1))
    places = database.read(find_places, [digest(1)])
    assert places[digest(1)].pack_id == "first/0"
    assert database.write(rolling_back.roll_back, first) == []


def test_a_name_is_taken_once(database: Database) -> None:
    """The error tells which image has it."""
    begin(database, "one")
    with pytest.raises(AlreadyExistsError) as caught:
        begin(database, "one")
    assert caught.value.facts["resource_id"] == "image-one"


def test_a_pack_whose_chunks_are_all_elsewhere_is_not_indexed(database: Database) -> None:
    """Copies of equal contents at once leave no pack that nothing refers to."""
    first, second = begin(database, "first"), begin(database, "second")
    for run in (first, second):
        plan(database, run)
    assert database.write(copies.record_range, first, range_of(0, 1), pack=pack("first/0", 1))
    assert not database.write(copies.record_range, second, range_of(0, 1), pack=pack("second/0", 1))
    assert database.read(rolling_back.indexed_packs, "second") == set()
    assert database.read(get_operation, "second").progress.bytes_new == 0
    assert database.write(rolling_back.roll_back, first) == []
    assert set(database.read(find_known, [digest(1)])) == {digest(1)}
