"""Queries that put the chunk index together anew; all of one rebuild run in one transaction.

The order: `set_aside`, `add_table` for each pack of the store, `forget_lost_packs`; then for each
content `find_missing` and `rely_on_packs`, for each running copy `fail_copy` where needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from clouddesktop.catalog.chunks import find_known, to_entry
from clouddesktop.catalog.tables import (
    chunks,
    compute_images,
    copy_ranges,
    damaged_chunks,
    images,
    manifest_packs,
    manifests,
    operation_packs,
    operations,
    packs,
)
from clouddesktop.errors import Failure
from clouddesktop.ids import Digest, PackId, to_digest
from clouddesktop.store.packs import PackEntry

_BATCH = 500

_former = sa.table("former_chunks", *(sa.column(each.name, each.type) for each in chunks.c))


class Content(NamedTuple):
    """A sealed content, and the images that have it: their ids and names."""

    manifest: Digest
    images: tuple[tuple[str, str], ...]


def set_aside(connection: sa.Connection) -> None:
    """Empty the chunk index; what was in it can be read by `former_entries` until the end."""
    if connection.dialect.name == "postgresql":
        # The store is listed and read in between: that may take longer than writes may pause.
        connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    connection.execute(sa.text("DROP TABLE IF EXISTS former_chunks"))
    connection.execute(sa.text("CREATE TEMPORARY TABLE former_chunks AS SELECT * FROM chunks"))
    connection.execute(sa.text("CREATE INDEX former_packs ON former_chunks (pack)"))
    connection.execute(sa.delete(chunks))
    connection.execute(sa.delete(operation_packs))


def former_entries(connection: sa.Connection, pack_id: PackId) -> list[PackEntry]:
    """Give what the index said about a pack before."""
    rows = connection.execute(
        sa.select(_former)
        .join(packs, packs.c.number == _former.c.pack)
        .where(packs.c.id == pack_id)
        .order_by(_former.c.offset)
    )
    return [to_entry(row) for row in rows]


def add_table(
    connection: sa.Connection,
    *,
    pack_id: PackId,
    size: int,
    entries: Sequence[PackEntry],
    damage: str | None,
) -> None:
    """Index a pack of the store; chunks that are quarantined at this very place stay so."""
    owner = pack_id.partition("/")[0]
    number: int = connection.execute(
        postgresql.insert(packs)
        .values(id=pack_id, operation_id=owner, size=size, dirty=True, damage=damage)
        .on_conflict_do_update(
            index_elements=["id"], set_={"size": size, "dirty": True, "damage": damage}
        )
        .returning(packs.c.number)
    ).scalar_one()
    quarantined = set(
        connection.scalars(
            sa.select(damaged_chunks.c.digest).where(damaged_chunks.c.pack == pack_id)
        )
    )
    rows = [
        {
            "digest": entry.digest,
            "pack": number,
            "codec": int(entry.codec),
            "offset": entry.offset,
            "stored_size": entry.stored_size,
            "plain_size": entry.plain_size,
        }
        for entry in entries
        if entry.digest not in quarantined
    ]
    if rows:
        connection.execute(postgresql.insert(chunks).on_conflict_do_nothing(), rows)


def forget_lost_packs(connection: sa.Connection, stored: set[PackId]) -> list[PackId]:
    """Drop the packs that the store does not have; gives them."""
    rows = connection.execute(sa.select(packs.c.number, packs.c.id)).all()
    lost = [(row.number, PackId(row.id)) for row in rows if row.id not in stored]
    for start in range(0, len(lost), _BATCH):
        numbers = [number for number, _ in lost[start : start + _BATCH]]
        connection.execute(sa.delete(manifest_packs).where(manifest_packs.c.pack.in_(numbers)))
        connection.execute(sa.delete(packs).where(packs.c.number.in_(numbers)))
    healed = sa.select(chunks.c.digest)
    connection.execute(sa.delete(damaged_chunks).where(damaged_chunks.c.digest.in_(healed)))
    return [pack_id for _, pack_id in lost]


def list_contents(connection: sa.Connection) -> list[Content]:
    """List every sealed content."""
    owners: dict[bytes, list[tuple[str, str]]] = {}
    for table in (images, compute_images):
        for row in connection.execute(
            sa.select(table.c.manifest, table.c.id, table.c.name)
            .where(table.c.manifest.is_not(None))
            .order_by(table.c.id)
        ):
            owners.setdefault(row.manifest, []).append((row.id, row.name))
    return [
        Content(to_digest(digest), tuple(owners.get(digest, ())))
        for digest in connection.scalars(sa.select(manifests.c.digest))
    ]


def find_missing(connection: sa.Connection, digests: Sequence[Digest]) -> list[Digest]:
    """Give those of the digests that no pack has."""
    known = find_known(connection, digests)
    return [digest for digest in digests if digest not in known]


def rely_on_packs(connection: sa.Connection, manifest: Digest, digests: Sequence[Digest]) -> None:
    """Write down anew which packs a content consists of, and what it takes in the store."""
    connection.execute(sa.delete(manifest_packs).where(manifest_packs.c.manifest == manifest))
    numbers: set[int] = set()
    storage_size = 0
    for start in range(0, len(digests), _BATCH):
        rows = connection.execute(
            sa.select(chunks.c.pack, chunks.c.stored_size).where(
                chunks.c.digest.in_(digests[start : start + _BATCH])
            )
        ).all()
        numbers.update(row.pack for row in rows)
        storage_size += sum(row.stored_size for row in rows)
    if numbers:
        connection.execute(
            sa.insert(manifest_packs),
            [{"manifest": manifest, "pack": number} for number in sorted(numbers)],
        )
    for table, column in (
        (manifests, manifests.c.digest),
        (images, images.c.manifest),
        (compute_images, compute_images.c.manifest),
    ):
        connection.execute(
            sa.update(table).where(column == manifest).values(storage_size=storage_size)
        )


def set_damage(connection: sa.Connection, manifest: Digest, damage: str | None) -> None:
    """Write down what a content lacks; None: nothing."""
    connection.execute(
        sa.update(manifests).where(manifests.c.digest == manifest).values(damage=damage)
    )


def find_packs(connection: sa.Connection, pack_ids: Sequence[PackId]) -> dict[PackId, int]:
    """Map those of the packs that the index has to their numbers."""
    rows = connection.execute(sa.select(packs.c.id, packs.c.number).where(packs.c.id.in_(pack_ids)))
    return {PackId(row.id): row.number for row in rows}


def iter_copy_ranges(connection: sa.Connection) -> Iterator[tuple[str, bytes]]:
    """Go through what running copies have recorded: operations, and references to chunks."""
    rows = connection.execute(sa.select(copy_ranges.c.operation_id, copy_ranges.c.chunks)).all()
    return ((row.operation_id, row.chunks) for row in rows)


def rely_on_for_copy(
    connection: sa.Connection, operation_id: str, digests: Sequence[Digest]
) -> None:
    """Write down the packs that a running copy relies on."""
    numbers = set(find_known(connection, digests).values())
    if numbers:
        connection.execute(
            postgresql.insert(operation_packs).on_conflict_do_nothing(),
            [{"operation_id": operation_id, "pack": number} for number in numbers],
        )


def fail_copy(connection: sa.Connection, operation_id: str, failure: Failure) -> None:
    """Set the error of a running copy, which is rolled back at the next start."""
    connection.execute(
        sa.update(operations)
        .where(operations.c.id == operation_id, operations.c.failure.is_(None))
        .values(failure=failure.to_record())
    )
