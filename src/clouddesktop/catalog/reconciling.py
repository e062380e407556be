"""Queries that look for what does not fit in a catalogue, and mend it; each reads a page at most.

Scrubs and rebuilds of the index have more of them: scrubbing.py, index_rebuild.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from clouddesktop.catalog.scrubbing import Content
from clouddesktop.catalog.tables import (
    compute_images,
    copy_ranges,
    damaged_chunks,
    images,
    installation,
    keeper_runs,
    known_contents,
    manifest_packs,
    manifests,
    operation_packs,
    operations,
    packs,
    workers,
)
from clouddesktop.errors import Failure
from clouddesktop.ids import PackId, to_digest
from clouddesktop.model.image import ImageStatus


class Place(NamedTuple):
    """A range that a running copy has recorded; `references` is as in `copy_ranges`."""

    operation_id: str
    number: int
    references: bytes


class Unfinished(NamedTuple):
    """An operation that is not done; `workflow_id` is empty if none was ever noted."""

    id: str
    workflow_id: str
    resource_id: str
    source: str
    location: str
    compute_image_id: str
    folder_id: str


class Stray(NamedTuple):
    """An image that is being made by nobody."""

    id: str
    name: str
    is_compute: bool


def is_pack_known(connection: sa.Connection, pack_id: PackId) -> bool:
    """Tell whether the index has a pack of this name."""
    return bool(connection.scalar(sa.select(sa.exists().where(packs.c.id == pack_id))))


def is_content_known(connection: sa.Connection, manifest: bytes) -> bool:
    """Tell whether the catalogue has a content."""
    return bool(connection.scalar(sa.select(sa.exists().where(manifests.c.digest == manifest))))


def mark_damaged(connection: sa.Connection, manifest: bytes, damage: str) -> None:
    """Write down what a content lacks."""
    connection.execute(
        sa.update(manifests).where(manifests.c.digest == manifest).values(damage=damage)
    )


def list_damaged_contents(connection: sa.Connection, *, after: bytes, limit: int) -> list[Content]:
    """List contents that lack something, by their digests, those after `after`."""
    rows = connection.execute(
        sa.select(manifests.c.digest, manifests.c.writer, manifests.c.damage)
        .where(manifests.c.digest > after, manifests.c.damage.is_not(None))
        .order_by(manifests.c.digest)
        .limit(limit)
    )
    return [Content(to_digest(row.digest), row.writer, row.damage) for row in rows]


def is_quarantine_empty(connection: sa.Connection) -> bool:
    """Tell whether no chunk is in quarantine."""
    return not connection.scalar(sa.select(sa.exists().where(damaged_chunks.c.pack.is_not(None))))


def forget_pack(connection: sa.Connection, number: int, pack_id: PackId) -> bool:
    """Drop a pack that the store has lost, if nothing that it held is missed any more."""
    missed = sa.exists().where(damaged_chunks.c.pack == pack_id)
    if connection.scalar(sa.select(missed)):
        return False
    for table in (manifest_packs, operation_packs):
        connection.execute(sa.delete(table).where(table.c.pack == number))
    connection.execute(sa.delete(packs).where(packs.c.number == number, packs.c.id == pack_id))
    return True


def forget_damage(connection: sa.Connection, number: int, damage: str) -> None:
    """Take a pack for whole again if this is what was wrong with it."""
    connection.execute(
        sa.update(packs)
        .where(packs.c.number == number, packs.c.damage == damage)
        .values(damage=None)
    )


def list_recorded_ranges(
    connection: sa.Connection, *, after: tuple[str, int], limit: int
) -> list[Place]:
    """List what running copies have recorded, by operation and range, those after `after`."""
    key = sa.tuple_(copy_ranges.c.operation_id, copy_ranges.c.index)
    rows = connection.execute(
        sa.select(copy_ranges.c.operation_id, copy_ranges.c.index, copy_ranges.c.chunks)
        .where(key > sa.tuple_(*after))
        .order_by(copy_ranges.c.operation_id, copy_ranges.c.index)
        .limit(limit)
    )
    return [Place(*row) for row in rows]


def list_unfinished(connection: sa.Connection, *, after: str = "", limit: int) -> list[Unfinished]:
    """List operations that are not done, by their ids, those after `after`."""
    rows = connection.execute(
        sa.select(
            operations.c.id,
            sa.func.coalesce(operations.c.workflow_id, "").label("workflow_id"),
            operations.c.resource_id,
            operations.c.source,
            operations.c.location,
            operations.c.compute_image_id,
            operations.c.compute_image_folder_id,
        )
        .where(operations.c.done.is_(False), operations.c.id > after)
        .order_by(operations.c.id)
        .limit(limit)
    )
    return [Unfinished(*row) for row in rows]


def find_unfinished(connection: sa.Connection, ids: Collection[str]) -> set[str]:
    """Pick out the operations that are there and not done."""
    query = sa.select(operations.c.id).where(operations.c.id.in_(ids), operations.c.done.is_(False))
    return set(connection.scalars(query))


def is_succeeding(connection: sa.Connection, operation_id: str) -> bool:
    """Tell whether an operation is not done, and has not failed so far."""
    running = sa.exists().where(
        operations.c.id == operation_id,
        operations.c.done.is_(False),
        operations.c.failure.is_(None),
    )
    return bool(connection.scalar(sa.select(running)))


def find_operations(connection: sa.Connection, ids: Collection[str]) -> set[str]:
    """Pick out the operations that are there."""
    return set(connection.scalars(sa.select(operations.c.id).where(operations.c.id.in_(ids))))


def list_known_sources(connection: sa.Connection) -> list[tuple[str, int]]:
    """List the sources that contents are known from, and how many files of each."""
    rows = connection.execute(
        sa.select(known_contents.c.source, sa.func.count())
        .group_by(known_contents.c.source)
        .order_by(known_contents.c.source)
    )
    return [(row[0], row[1]) for row in rows]


def find_fact(connection: sa.Connection, name: str) -> str | None:
    """Give a fact about the installation, and settle none."""
    fact: str | None = connection.scalar(
        sa.select(installation.c.value).where(installation.c.name == name)
    )
    return fact


def fail_lost(
    connection: sa.Connection, operation_id: str, *, workflow_id: str, failure: Failure
) -> bool:
    """Give an operation that never had a workflow an error and one, which rolls it back."""
    changed = connection.execute(
        sa.update(operations)
        .where(
            operations.c.id == operation_id,
            operations.c.done.is_(False),
            operations.c.workflow_id.is_(None),
        )
        .values(
            workflow_id=workflow_id,
            failure=sa.func.coalesce(
                operations.c.failure, sa.bindparam(None, failure.to_record(), type_=sa.JSON)
            ),
        )
    )
    return changed.rowcount == 1


def list_strays(connection: sa.Connection, *, after: str = "", limit: int) -> list[Stray]:
    """List images that are being made although no operation makes them, by their ids."""
    found: list[Stray] = []
    for table in (images, compute_images):
        rows = connection.execute(
            sa.select(table.c.id, table.c.name)
            .where(_is_stray(table), table.c.id > after)
            .order_by(table.c.id)
            .limit(limit)
        )
        found += [Stray(row.id, row.name, table is compute_images) for row in rows]
    return sorted(found)[:limit]


def remove_stray(connection: sa.Connection, stray: Stray) -> bool:
    """Remove an image that is being made by nobody; False if somebody does by now."""
    table = compute_images if stray.is_compute else images
    removed = connection.execute(sa.delete(table).where(table.c.id == stray.id, _is_stray(table)))
    return removed.rowcount == 1


def find_keeper(connection: sa.Connection) -> tuple[str, str] | None:
    """Name a worker that counts as alive, and its machine."""
    row = connection.execute(
        sa.select(workers.c.id, workers.c.host).order_by(workers.c.renewed_at.desc()).limit(1)
    ).one_or_none()
    return None if row is None else (row.id, row.host)


def read_clock(connection: sa.Connection) -> datetime:
    """Ask a shared database for the time, as aware UTC."""
    now: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return now


def _is_stray(table: sa.Table) -> sa.ColumnElement[bool]:
    making: Sequence[Any] = (operations.c.resource_id == table.c.id, operations.c.done.is_(False))
    # Both kinds of images number their states alike as far as this one goes.
    is_creating = table.c.status == int(ImageStatus.CREATING)
    return sa.and_(is_creating, ~sa.exists().where(*making))


def raise_epoch(connection: sa.Connection, owner: str, epoch: int) -> None:
    """Let the next run of an operation, or turn of the keeper's, come after this epoch."""
    for table in (operations, keeper_runs):
        connection.execute(
            sa.update(table).where(table.c.id == owner, table.c.epoch < epoch).values(epoch=epoch)
        )
