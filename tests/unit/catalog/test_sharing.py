"""Ranges that several workers share: claims, and what becomes of those who made them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clouddesktop.catalog import copies, rolling_back, sharing, tables, workers
from clouddesktop.catalog.copies import CopyRun, RunReplacedError
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.sharing import Claim, SharedCopy
from clouddesktop.errors import Code, Failure, OperationCancelledError
from clouddesktop.model.manifest import CopyRange
from parts.copies import add_default_folder, begin, count, pack, plan, publish, range_of
from parts.postgres import Postgres

RANGES = [CopyRange(index=index, first_chunk=100 * index, chunk_count=50) for index in range(4)]


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    """A catalogue that the workers "lead" and "helper" share."""
    opened = Database(postgres.make_database())
    add_default_folder(opened)
    for each in ("lead", "helper"):
        opened.write(workers.join, each, host="here", lease_seconds=15, workflows="1")
    yield opened
    opened.close()


@pytest.fixture
def run(database: Database) -> CopyRun:
    """A copy of four ranges whose worker lets others help."""
    begun = begin(database, "one")
    plan(database, begun)
    database.write(sharing.share, begun, RANGES)
    return begun


def find_copy(database: Database) -> SharedCopy:
    [(operation_id, _)] = database.read(sharing.list_open_copies)
    copy = database.read(sharing.get_shared_copy, operation_id)
    assert copy is not None
    return copy


def claim(database: Database, run: CopyRun, index: int, *, by_force: bool = False) -> Claim:
    return database.write(sharing.claim, run, index, worker_id="lead", by_force=by_force)


def help_with(database: Database, copy: SharedCopy) -> int | None:
    claimed = database.write(sharing.claim_last, copy, worker_id="helper")
    return None if claimed is None else claimed.index


def test_ranges_are_claimed_from_both_ends(database: Database, run: CopyRun) -> None:
    """Each goes to one worker; the helper runs out of them, and the other one waits."""
    copy = find_copy(database)
    assert copy.run == run
    assert copy.ranges == RANGES
    assert claim(database, run, 0) is Claim.MINE
    assert [help_with(database, copy) for _ in range(4)] == [3, 2, 1, None]
    assert claim(database, run, 0) is Claim.MINE
    assert claim(database, run, 1) is Claim.OTHERS
    assert database.read(sharing.list_open_copies) == []


def test_a_recorded_range_is_nobodys_any_more(database: Database, run: CopyRun) -> None:
    """Whoever recorded it; it is not claimed a second time."""
    copy = find_copy(database)
    assert help_with(database, copy) == 3
    database.write(copies.record_range, run, range_of(3, 1), pack=pack("one/3", 1))
    assert claim(database, run, 3) is Claim.RECORDED
    assert help_with(database, copy) == 2
    assert count(database, tables.range_claims) == 1


def test_claims_of_the_dead_are_void(database: Database, run: CopyRun) -> None:
    """And so are those that a helper gives up."""
    copy = find_copy(database)
    assert help_with(database, copy) == 3
    database.write(sharing.release, "one", worker_id="helper")
    assert claim(database, run, 3) is Claim.MINE
    assert help_with(database, copy) == 2
    database.write(workers.leave, "helper")
    assert claim(database, run, 2) is Claim.MINE


def test_a_range_may_be_taken_by_force(database: Database, run: CopyRun) -> None:
    """Both store it then: the second to record it learns that its pack is not needed."""
    copy = find_copy(database)
    assert help_with(database, copy) == 3
    assert claim(database, run, 3) is Claim.OTHERS
    assert claim(database, run, 3, by_force=True) is Claim.MINE
    mine, theirs = pack("one/3", 1, 2), pack("one/3-helper", 1, 2)
    assert database.write(copies.record_range, run, range_of(3, 1, 2), pack=mine)
    assert not database.write(copies.record_range, run, range_of(3, 1, 2), pack=theirs)
    assert database.write(copies.record_range, run, range_of(3, 1, 2), pack=mine)  # a lost answer
    assert count(database, tables.packs) == 1


def test_a_run_that_is_over_cannot_be_helped(database: Database, run: CopyRun) -> None:
    """Neither claim nor record anything for it."""
    copy = find_copy(database)
    later = database.write(copies.begin_run, "one")
    assert later is not None
    assert database.read(sharing.list_open_copies) == []
    assert help_with(database, copy) is None
    with pytest.raises(RunReplacedError):
        claim(database, run, 0)
    with pytest.raises(RunReplacedError):
        database.write(copies.record_range, run, range_of(0, 1), pack=pack("one/0", 1))
    database.write(sharing.share, later, RANGES)
    assert find_copy(database).run == later
    assert help_with(database, copy) is None


def test_nothing_is_recorded_for_a_copy_that_has_failed(database: Database, run: CopyRun) -> None:
    """It would stay for ever once the copy is rolled back."""
    copy = find_copy(database)
    failure = Failure(code=Code.CANCELLED, message="Cancelled.", reason="CANCELLED")
    database.write(rolling_back.record_failure, run, failure)
    assert database.read(sharing.list_open_copies) == []
    assert help_with(database, copy) is None
    database.write(rolling_back.roll_back, run)
    with pytest.raises(OperationCancelledError):
        database.write(copies.record_range, run, range_of(3, 1), pack=pack("one/3-helper", 1))
    database.write(rolling_back.finish_rollback, run)
    for table in (tables.packs, tables.copy_ranges, tables.range_claims, tables.shared_copies):
        assert count(database, table) == 0


def test_a_published_copy_leaves_no_claims(database: Database, run: CopyRun) -> None:
    """Nor is it open to anyone."""
    copy = find_copy(database)
    assert help_with(database, copy) == 3
    for index in range(4):
        database.write(
            copies.record_range, run, range_of(index, index), pack=pack(f"one/{index}", index)
        )
    publish(database, run)
    assert database.read(sharing.get_shared_copy, "one") is None
    assert help_with(database, copy) is None
    for table in (tables.copy_ranges, tables.range_claims, tables.shared_copies):
        assert count(database, table) == 0
