"""Queries of a scrub that repairs: new packs, new manifests, and what is known of contents then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from clouddesktop.catalog.chunks import find_known
from clouddesktop.catalog.scrubbing import ScrubPack, place_chunks, place_of
from clouddesktop.catalog.tables import (
    chunks,
    damaged_chunks,
    manifest_packs,
    manifests,
    operation_packs,
    packs,
)
from clouddesktop.ids import Digest, PackId
from clouddesktop.store.packs import PackEntry

_BATCH = 500


def release(connection: sa.Connection, digests: Sequence[Digest]) -> None:
    """Forget damaged chunks that no image needs any more."""
    for start in range(0, len(digests), _BATCH):
        connection.execute(
            sa.delete(damaged_chunks).where(
                damaged_chunks.c.digest.in_(digests[start : start + _BATCH])
            )
        )


def replace_manifest(
    connection: sa.Connection, manifest: Digest, *, old_writer: str, writer: str
) -> bool:
    """Let another blob of a manifest count; False when that has happened already."""
    changed = connection.execute(
        sa.update(manifests)
        .where(manifests.c.digest == manifest, manifests.c.writer == old_writer)
        .values(writer=writer)
    )
    return changed.rowcount == 1


def settle_content(
    connection: sa.Connection,
    manifest: Digest,
    *,
    damage: str | None,
    checked_at: datetime,
    digests: Sequence[Digest] = (),
) -> None:
    """Write down what is known of a content now: what it lacks, or when it was last seen whole.

    `digests` are chunks that were repaired: the content relies on the packs that have them.
    """
    numbers = set(find_known(connection, digests).values())
    if numbers:
        connection.execute(
            postgresql.insert(manifest_packs).on_conflict_do_nothing(),
            [{"manifest": manifest, "pack": number} for number in numbers],
        )
    values: dict[str, Any] = {"damage": damage}
    if damage is None:
        oldest, unknown = connection.execute(
            sa.select(
                sa.func.min(packs.c.verified_at, type_=packs.c.verified_at.type),
                sa.func.count().filter(packs.c.verified_at.is_(None)),
            )
            .select_from(manifest_packs.join(packs, packs.c.number == manifest_packs.c.pack))
            .where(manifest_packs.c.manifest == manifest)
        ).one()
        if not unknown:
            values["verified_at"] = min(oldest or checked_at, checked_at)
    connection.execute(sa.update(manifests).where(manifests.c.digest == manifest).values(**values))


def add_repair_pack(
    connection: sa.Connection,
    *,
    run_id: str,
    pack_id: PackId,
    size: int,
    entries: Sequence[PackEntry],
    now: datetime,
) -> int:
    """Index a pack of repaired chunks that is durable; gives how many left quarantine by it."""
    number: int = connection.execute(
        sa.insert(packs)
        .values(id=pack_id, operation_id=run_id, size=size, verified_at=now)
        .returning(packs.c.number)
    ).scalar_one()
    healed = place_chunks(connection, number, entries)
    if not healed:
        connection.execute(sa.delete(packs).where(packs.c.number == number))
    return healed


def evacuate(
    connection: sa.Connection,
    *,
    run_id: str,
    old: ScrubPack,
    pack_id: PackId,
    size: int,
    entries: Sequence[PackEntry],
    now: datetime,
) -> bool:
    """Let a new pack, durable in the store, stand for a damaged one; without entries, nothing does.

    Returns:
        Whether it does: then delete the blob of the old one, else that of the new one.
    """
    left = connection.scalars(sa.select(chunks.c.digest).where(chunks.c.pack == old.number))
    places = {each.digest: each for each in entries}
    if any(Digest(digest) not in places for digest in left):
        return False
    if entries:
        new: int = connection.execute(
            sa.insert(packs)
            .values(id=pack_id, operation_id=run_id, size=size, verified_at=now)
            .returning(packs.c.number)
        ).scalar_one()
        for entry in entries:
            connection.execute(
                sa.update(chunks)
                .where(chunks.c.digest == entry.digest, chunks.c.pack == old.number)
                .values(pack=new, **place_of(entry))
            )
        for table, owner in ((manifest_packs, "manifest"), (operation_packs, "operation_id")):
            users = sa.select(table.c[owner], sa.literal(new)).where(table.c.pack == old.number)
            connection.execute(
                postgresql.insert(table)
                .from_select([owner, "pack"], users)
                .on_conflict_do_nothing()
            )
    for table in (manifest_packs, operation_packs):
        connection.execute(sa.delete(table).where(table.c.pack == old.number))
    connection.execute(sa.delete(packs).where(packs.c.number == old.number))
    return True
