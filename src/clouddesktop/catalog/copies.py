"""Queries of a running copy; each changes nothing for a run whose epoch is over.

The life of a copy here: `begin_run`, `record_plan`, `record_range` for each range, then
`record_manifest` (in sealing.py) and `publish`; or what rolling_back.py has.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from clouddesktop.catalog import chunks as chunk_index
from clouddesktop.catalog.contents import remember_content
from clouddesktop.catalog.quotas import check_plan
from clouddesktop.catalog.tables import (
    chunks,
    copy_ranges,
    manifests,
    operation_packs,
    operations,
    packs,
    range_claims,
    shared_copies,
)
from clouddesktop.catalog.targets import TARGETS, get_record
from clouddesktop.errors import AbortedError, OperationCancelledError
from clouddesktop.ids import Digest, PackId
from clouddesktop.model.checksum import Checksum
from clouddesktop.model.image import ComputeImage, ImageStatus, min_disk_size_of
from clouddesktop.model.operation import OperationKind, Phase
from clouddesktop.store.packs import PackEntry

_CHUNK_REFERENCE = struct.Struct("<Q32s")


class RunReplacedError(AbortedError):
    """Another run of the copy has taken over, or the copy has ended: stop."""

    reason = "RUN_REPLACED"


class ChunkGoneError(AbortedError):
    """A chunk that the range shares has left the store: read the range again."""

    reason = "CHUNK_GONE"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRun:
    """One run of a copy or of an import: what it works on, and what tells it from other runs.

    `epoch` is raised by each run. `attempts` counts the runs, this one included, since a range was
    last recorded.
    """

    operation_id: str
    image_id: str
    compute_image: ComputeImage
    epoch: int
    attempts: int
    failed: bool
    kind: OperationKind = OperationKind.COPY_IMAGE
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeRecord:
    """What a range came to: its non-zero chunks, and the figures of the progress in bytes."""

    index: int
    chunks: Sequence[tuple[int, Digest]]
    bytes_new: int
    bytes_stored: int
    bytes_deduplicated: int
    bytes_zero: int


class StoredPack(NamedTuple):
    """A pack that is durable in the store: its size in bytes and its table of contents."""

    id: PackId
    size: int
    entries: Sequence[PackEntry]


def begin_run(connection: sa.Connection, operation_id: str) -> CopyRun | None:
    """Take the copy over from any earlier run; None when it has ended."""
    row = connection.execute(
        sa.update(operations)
        .where(operations.c.id == operation_id, operations.c.done.is_(False))
        .values(epoch=operations.c.epoch + 1, attempts=operations.c.attempts + 1)
        .returning(operations)
    ).one_or_none()
    return None if row is None else run_of(row)


def run_of(row: sa.Row[Any]) -> CopyRun:
    """Read the run that a row of `operations` stands for."""
    return CopyRun(
        operation_id=row.id,
        image_id=row.resource_id,
        compute_image=ComputeImage(
            id=row.compute_image_id,
            folder_id=row.compute_image_folder_id,
            source=row.source,
            location=row.location,
        ),
        epoch=row.epoch,
        attempts=row.attempts,
        failed=row.failure is not None,
        kind=OperationKind(row.kind),
        checksum=None if row.checksum is None else Checksum.parse(row.checksum),
    )


def record_plan(
    connection: sa.Connection,
    run: CopyRun,
    *,
    fingerprint: str,
    settled: bool,
    disk_size: int,
    bytes_total: int,
) -> None:
    """Keep what the plan is made for; a plan made anew forgets the ranges of the one before.

    Raises:
        QuotaExceededError: its cloud has no room left for the planned bytes; nothing is kept.
    """
    connection.execute(sa.delete(copy_ranges).where(copy_ranges.c.operation_id == run.operation_id))
    update_run(
        connection,
        run,
        fingerprint=fingerprint,
        settled=settled,
        disk_size=disk_size,
        bytes_total=bytes_total,
        bytes_done=0,
        bytes_new=0,
        bytes_stored=0,
        bytes_deduplicated=0,
        bytes_zero=0,
        phase=str(Phase.COPYING),
    )
    if run.kind is OperationKind.COPY_IMAGE:  # quotas are on desktop images alone
        check_plan(connection, run.operation_id)


def get_fingerprint(connection: sa.Connection, run: CopyRun) -> tuple[str, int]:
    """Give the fingerprint that the plan was made for, and the disk's size in bytes."""
    row = connection.execute(
        sa.select(operations.c.fingerprint, operations.c.disk_size).where(
            operations.c.id == run.operation_id
        )
    ).one()
    return row.fingerprint, row.disk_size


def set_phase(connection: sa.Connection, run: CopyRun, phase: Phase) -> None:
    update_run(connection, run, phase=str(phase))


def is_range_recorded(connection: sa.Connection, run: CopyRun, index: int) -> bool:
    """Tell whether an earlier run has recorded this range."""
    return bool(
        connection.scalar(
            sa.select(sa.literal(value=True)).where(
                copy_ranges.c.operation_id == run.operation_id, copy_ranges.c.index == index
            )
        )
    )


def record_range(
    connection: sa.Connection,
    run: CopyRun,
    record: RangeRecord,
    *,
    pack: StoredPack | None,
) -> bool:
    """Record a range whose new chunks are durable in `pack`; may be repeated.

    Returns:
        Whether `pack` is needed. It is not when others have stored all of its chunks, or the whole
        range, in the meantime: then it is left out of the index, and its blob is for the caller to
        delete.

    Raises:
        ChunkGoneError: a chunk that the range shares has been removed; nothing is recorded.
        OperationCancelledError: the operation has an error; nothing is recorded.
        RunReplacedError: this run is over; nothing is recorded.
    """
    update_run(connection, run, attempts=0)  # first of all: a replaced run stops here
    if _has_failed(connection, run):
        # It is being rolled back, and may have been: what is recorded now would stay for ever.
        raise OperationCancelledError(f"The operation {run.operation_id} has failed.")
    if is_range_recorded(connection, run, record.index):
        # By this same call, whose answer was lost, or by another worker that shares the copy.
        return pack is not None and chunk_index.is_indexed(connection, pack.id)
    number = None if pack is None else _index_pack(connection, run, pack)
    if number is None:
        record = replace(
            record,
            bytes_new=0,
            bytes_stored=0,
            bytes_deduplicated=record.bytes_deduplicated + record.bytes_new,
        )
    packs_used = _find_packs(connection, record)
    rely_on(connection, operation_packs, "operation_id", run.operation_id, packs_used)
    _add_range(connection, run, record)
    return number is not None


def _find_packs(connection: sa.Connection, record: RangeRecord) -> set[int]:
    """Find the packs that hold a range's chunks.

    Raises:
        ChunkGoneError: there is none for one of them.
    """
    digests = list({digest for _, digest in record.chunks})
    known = chunk_index.find_known(connection, digests)
    if len(known) < len(digests):
        raise ChunkGoneError(
            f"{len(digests) - len(known)} chunks of range {record.index} have left the store."
        )
    return set(known.values())


def _add_range(connection: sa.Connection, run: CopyRun, record: RangeRecord) -> None:
    """Count a range, and keep its chunks; whoever had claimed it has done its part."""
    counted = record.bytes_new + record.bytes_deduplicated + record.bytes_zero
    update_run(
        connection,
        run,
        bytes_done=operations.c.bytes_done + counted,
        bytes_new=operations.c.bytes_new + record.bytes_new,
        bytes_stored=operations.c.bytes_stored + record.bytes_stored,
        bytes_deduplicated=operations.c.bytes_deduplicated + record.bytes_deduplicated,
        bytes_zero=operations.c.bytes_zero + record.bytes_zero,
    )
    connection.execute(
        sa.delete(range_claims).where(
            range_claims.c.operation_id == run.operation_id, range_claims.c.index == record.index
        )
    )
    connection.execute(
        sa.insert(copy_ranges).values(
            operation_id=run.operation_id,
            index=record.index,
            chunks=b"".join(_CHUNK_REFERENCE.pack(*each) for each in record.chunks),
        )
    )


def iter_recorded_chunks(connection: sa.Connection, run: CopyRun) -> Iterator[tuple[int, Digest]]:
    """Go through the chunks of all recorded ranges in the order of the disk."""
    rows = connection.execute(
        sa.select(copy_ranges.c.chunks)
        .where(copy_ranges.c.operation_id == run.operation_id)
        .order_by(copy_ranges.c.index)
    )
    for row in rows:
        for number, digest in _CHUNK_REFERENCE.iter_unpack(row.chunks):
            yield number, Digest(digest)


def publish(connection: sa.Connection, run: CopyRun, *, manifest: Digest) -> None:
    """Make the image ACTIVE and the operation done, at once.

    Raises:
        OperationCancelledError: the operation was cancelled before; nothing is published.
        RunReplacedError: this run is over.
    """
    update_run(connection, run)  # first of all: a replaced run stops here
    if _has_failed(connection, run):
        raise OperationCancelledError(f"The operation {run.operation_id} was cancelled.")
    content = connection.execute(
        sa.select(manifests.c.disk_size, manifests.c.storage_size).where(
            manifests.c.digest == manifest
        )
    ).one()
    target = TARGETS[run.kind]
    connection.execute(
        sa.update(target)
        .where(target.c.id == run.image_id)
        .values(
            status=int(ImageStatus.ACTIVE),
            manifest=manifest,
            storage_size=content.storage_size,
            min_disk_size=min_disk_size_of(content.disk_size),
        )
    )
    record = get_record(connection, run.kind, run.image_id)
    update_run(connection, run, done=True, phase=str(Phase.DONE), result=record)
    source = connection.execute(
        sa.select(operations.c.fingerprint, operations.c.settled).where(
            operations.c.id == run.operation_id
        )
    ).one()
    if source.settled:
        remember_content(
            connection,
            compute_image=run.compute_image,
            fingerprint=source.fingerprint,
            manifest=manifest,
            checksum=run.checksum,
        )
    forget_run(connection, run)


def _index_pack(connection: sa.Connection, run: CopyRun, pack: StoredPack) -> int | None:
    """Index a pack, but for one that holds no chunk which is not elsewhere."""
    number = chunk_index.add_pack(
        connection,
        pack_id=pack.id,
        operation_id=run.operation_id,
        size=pack.size,
        entries=pack.entries,
    )
    used = connection.scalar(sa.select(chunks.c.digest).where(chunks.c.pack == number).limit(1))
    if used is not None:
        return number
    connection.execute(sa.delete(packs).where(packs.c.number == number))
    return None


def update_run(connection: sa.Connection, run: CopyRun, **values: Any) -> None:
    """Change the copy's operation.

    Raises:
        RunReplacedError: this run is over.
    """
    changed = connection.execute(
        sa.update(operations)
        .where(*_is_current(run))
        .values(modified_at=datetime.now(tz=UTC), **values)
    )
    if changed.rowcount != 1:
        raise _replaced(run)


def check_run(connection: sa.Connection, run: CopyRun) -> None:
    """Find that a run may go on, in a transaction that writes.

    Raises:
        RunReplacedError: this run is over.
    """
    query = sa.select(operations.c.id).where(*_is_current(run))
    if connection.scalar(query) is None:
        raise _replaced(run)


def _is_current(run: CopyRun) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        operations.c.id == run.operation_id,
        operations.c.epoch == run.epoch,
        operations.c.done.is_(False),
    )


def _replaced(run: CopyRun) -> RunReplacedError:
    return RunReplacedError(f"Run {run.epoch} of operation {run.operation_id} is over.")


def rely_on(
    connection: sa.Connection, table: sa.Table, column: str, owner: object, numbers: set[int]
) -> None:
    """Note in `operation_packs` or `manifest_packs` which packs somebody needs."""
    if numbers:
        connection.execute(
            postgresql.insert(table).on_conflict_do_nothing(),
            [{column: owner, "pack": number} for number in numbers],
        )


def _has_failed(connection: sa.Connection, run: CopyRun) -> bool:
    failure = connection.scalar(
        sa.select(operations.c.failure).where(operations.c.id == run.operation_id)
    )
    return failure is not None


def forget_run(connection: sa.Connection, run: CopyRun) -> None:
    """Remove what a run keeps for itself until it is over."""
    for table in (copy_ranges, operation_packs, shared_copies, range_claims):
        connection.execute(sa.delete(table).where(table.c.operation_id == run.operation_id))
