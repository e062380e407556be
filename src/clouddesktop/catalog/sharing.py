"""Queries of copies that several workers share: who stores which range.

The worker that runs a copy takes its ranges from the first one on; others, which help, take them
from the last one down. A claim only keeps two from doing the same work. That both may do it does no
harm: the second to record a range learns that it was not needed. Claims of workers that are gone
are void.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import Enum, auto
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from clouddesktop.catalog.copies import CopyRun, check_run, is_range_recorded, run_of
from clouddesktop.catalog.tables import (
    copy_ranges,
    operations,
    range_claims,
    shared_copies,
    workers,
)
from clouddesktop.model.manifest import CopyRange
from clouddesktop.model.operation import Phase

_RANGE = struct.Struct("<QI")


class Claim(Enum):
    """What comes of wanting a range: it is for the asker, was recorded, or is another worker's."""

    MINE = auto()
    RECORDED = auto()
    OTHERS = auto()


class SharedCopy(NamedTuple):
    """A copy that can be helped with: the run that shares it, and its ranges by their indexes."""

    run: CopyRun
    ranges: Sequence[CopyRange]


def share(connection: sa.Connection, run: CopyRun, ranges: Sequence[CopyRange]) -> None:
    """Let others help with a run; claims made in a run before it are gone.

    Raises:
        RunReplacedError: this run is over.
    """
    check_run(connection, run)
    for table in (range_claims, shared_copies):
        connection.execute(sa.delete(table).where(table.c.operation_id == run.operation_id))
    connection.execute(
        sa.insert(shared_copies).values(
            operation_id=run.operation_id,
            epoch=run.epoch,
            range_count=len(ranges),
            ranges=b"".join(_RANGE.pack(each.first_chunk, each.chunk_count) for each in ranges),
        )
    )


def claim(
    connection: sa.Connection, run: CopyRun, index: int, *, worker_id: str, by_force: bool = False
) -> Claim:
    """Claim one range for the worker that runs the copy; `by_force` from whoever has it.

    Raises:
        RunReplacedError: this run is over.
    """
    check_run(connection, run)
    if is_range_recorded(connection, run, index):
        return Claim.RECORDED
    holder: str | None = connection.scalar(
        _living_claims(range_claims.c.worker, run.operation_id).where(range_claims.c.index == index)
    )
    if holder not in {None, worker_id} and not by_force:
        return Claim.OTHERS
    _claim(connection, run, index, worker_id)
    return Claim.MINE


def claim_last(connection: sa.Connection, copy: SharedCopy, *, worker_id: str) -> CopyRange | None:
    """Claim the last range that nobody has; None when there is none, or nothing to do any more."""
    run = copy.run
    if connection.scalar(_open_copies().where(*_is_run(run))) is None:
        return None
    recorded = sa.select(copy_ranges.c.index).where(copy_ranges.c.operation_id == run.operation_id)
    claimed = _living_claims(range_claims.c.index, run.operation_id)
    taken = {*connection.scalars(recorded), *connection.scalars(claimed)}
    for copy_range in reversed(copy.ranges):
        if copy_range.index not in taken:
            _claim(connection, run, copy_range.index, worker_id)
            return copy_range
    return None


def release(connection: sa.Connection, operation_id: str, *, worker_id: str) -> None:
    """Give up what a worker has claimed of a copy; may be repeated."""
    connection.execute(
        sa.delete(range_claims).where(
            range_claims.c.operation_id == operation_id, range_claims.c.worker == worker_id
        )
    )


def list_open_copies(connection: sa.Connection) -> list[tuple[str, int]]:
    """List the runs that could be helped with, as operation and epoch, the oldest first."""
    recorded = _count_of(copy_ranges)
    claimed = _count_of(range_claims)
    rows = connection.execute(
        _open_copies(shared_copies.c.epoch)
        .where(shared_copies.c.range_count > recorded + claimed)
        .order_by(operations.c.created_at)
    )
    return [(row.id, row.epoch) for row in rows]


def get_shared_copy(connection: sa.Connection, operation_id: str) -> SharedCopy | None:
    """Give what helping with a copy takes; None when it cannot be helped any more."""
    row = connection.execute(
        sa.select(operations, shared_copies.c.ranges)
        .join(shared_copies, shared_copies.c.operation_id == operations.c.id)
        .where(
            operations.c.id == operation_id,
            operations.c.epoch == shared_copies.c.epoch,
            operations.c.done.is_(False),
        )
    ).one_or_none()
    if row is None:
        return None
    ranges = [
        CopyRange(index=index, first_chunk=first_chunk, chunk_count=chunk_count)
        for index, (first_chunk, chunk_count) in enumerate(_RANGE.iter_unpack(row.ranges))
    ]
    return SharedCopy(run_of(row), ranges)


def _open_copies(*columns: sa.ColumnElement[int]) -> sa.Select[tuple[str]]:
    return (
        sa.select(operations.c.id, *columns)
        .join(shared_copies, shared_copies.c.operation_id == operations.c.id)
        .where(
            operations.c.epoch == shared_copies.c.epoch,
            operations.c.done.is_(False),
            operations.c.failure.is_(None),
            operations.c.phase == str(Phase.COPYING),
        )
    )


def _is_run(run: CopyRun) -> tuple[sa.ColumnElement[bool], ...]:
    return operations.c.id == run.operation_id, operations.c.epoch == run.epoch


def _count_of(table: sa.Table) -> sa.ScalarSelect[int]:
    return (
        sa.select(sa.func.count())
        .select_from(table)
        .where(table.c.operation_id == shared_copies.c.operation_id)
        .scalar_subquery()
    )


def _living_claims(column: sa.Column[Any], operation_id: str) -> sa.Select[tuple[Any]]:
    return (
        sa.select(column)
        .join(workers, workers.c.id == range_claims.c.worker)
        .where(range_claims.c.operation_id == operation_id)
    )


def _claim(connection: sa.Connection, run: CopyRun, index: int, worker_id: str) -> None:
    connection.execute(
        postgresql.insert(range_claims)
        .values(operation_id=run.operation_id, index=index, worker=worker_id)
        .on_conflict_do_update(index_elements=["operation_id", "index"], set_={"worker": worker_id})
    )
