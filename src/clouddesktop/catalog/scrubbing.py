"""Queries of a scrub: what to look at, what was found, what was repaired.

A chunk that is found damaged leaves the index for `damaged_chunks`, so that the next copy of its
content stores it anew; every content that may have it is marked as damaged until a scrub knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from clouddesktop.catalog.chunks import heal, to_entry
from clouddesktop.catalog.tables import (
    chunks,
    compute_images,
    damaged_chunks,
    images,
    known_contents,
    manifest_packs,
    manifests,
    operations,
    packs,
)
from clouddesktop.ids import Digest, PackId, to_digest
from clouddesktop.model.image import ComputeImage
from clouddesktop.store.packs import PackEntry

_BATCH = 500
_MAYBE = "A pack that it relies on was found damaged."


class ScrubPack(NamedTuple):
    """A pack as a scrub finds it in the catalogue."""

    number: int
    id: PackId
    size: int
    verified_at: datetime | None
    damage: str | None


class Damage(NamedTuple):
    """A chunk that is damaged, and why."""

    entry: PackEntry
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came out of looking at a pack: `whole` chunks are right where their entries say."""

    pack: ScrubPack
    damage: str | None
    whole: Sequence[PackEntry]
    damaged: Sequence[Damage]


class Content(NamedTuple):
    """A sealed content and the blob of its manifest."""

    manifest: Digest
    writer: str
    damage: str | None


class Original(NamedTuple):
    """A source's file that held a content when it had this fingerprint."""

    compute_image: ComputeImage
    fingerprint: str


def count_packs(connection: sa.Connection) -> tuple[int, int, int]:
    """Give the highest number of a pack, how many there are, and their bytes."""
    row = connection.execute(
        sa.select(
            sa.func.coalesce(sa.func.max(packs.c.number), 0),
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(packs.c.size), 0),
        )
    ).one()
    return row[0], row[1], int(row[2])  # a sum is a Decimal in PostgreSQL


def list_packs(connection: sa.Connection, *, after: int, until: int, limit: int) -> list[ScrubPack]:
    """List packs by their numbers, those after `after` up to `until`."""
    rows = connection.execute(
        sa.select(*_PACK_COLUMNS)
        .where(packs.c.number > after, packs.c.number <= until)
        .order_by(packs.c.number)
        .limit(limit)
    )
    return [ScrubPack(row.number, PackId(row.id), *row[2:]) for row in rows]


def list_damaged_packs(connection: sa.Connection) -> list[ScrubPack]:
    """List the packs that were found damaged."""
    rows = connection.execute(
        sa.select(*_PACK_COLUMNS).where(packs.c.damage.is_not(None)).order_by(packs.c.number)
    )
    return [ScrubPack(row.number, PackId(row.id), *row[2:]) for row in rows]


def indexed_entries(connection: sa.Connection, number: int) -> list[PackEntry]:
    """Give the chunks that the index finds in a pack."""
    rows = connection.execute(
        sa.select(*_ENTRY_COLUMNS).where(chunks.c.pack == number).order_by(chunks.c.offset)
    )
    return [to_entry(row) for row in rows]


def quarantined_entries(connection: sa.Connection, pack_id: PackId) -> list[PackEntry]:
    """Give the chunks that the index found in a pack before they were found damaged."""
    columns = (damaged_chunks.c[each.name] for each in _ENTRY_COLUMNS)
    rows = connection.execute(sa.select(*columns).where(damaged_chunks.c.pack == pack_id))
    return [to_entry(row) for row in rows]


def record_finding(
    connection: sa.Connection, finding: Finding, *, now: datetime
) -> tuple[int, int]:
    """Write down how a pack was found; gives how many chunks went into quarantine and came out.

    Nothing happens to a pack that has left the index meanwhile.
    """
    pack = finding.pack
    values: dict[str, Any] = {"damage": finding.damage}
    if finding.damage is None:
        values["verified_at"] = now
    changed = connection.execute(
        sa.update(packs)
        .where(packs.c.number == pack.number, packs.c.id == pack.id)
        .values(**values)
    )
    if not changed.rowcount:
        return 0, 0
    if finding.damage is not None:
        mark_suspect(connection, pack.number)
    quarantined = 0
    for damage in finding.damaged:
        gone = connection.execute(
            sa.delete(chunks).where(
                chunks.c.digest == damage.entry.digest, chunks.c.pack == pack.number
            )
        )
        if gone.rowcount:
            quarantine(connection, pack.id, damage, now=now)
            quarantined += 1
    return quarantined, place_chunks(connection, pack.number, finding.whole)


def mark_suspect(connection: sa.Connection, number: int) -> None:
    """Take every content that relies on a pack for damaged, until it is known better."""
    connection.execute(
        sa.update(manifests)
        .where(
            manifests.c.damage.is_(None),
            manifests.c.digest.in_(
                sa.select(manifest_packs.c.manifest).where(manifest_packs.c.pack == number)
            ),
        )
        .values(damage=_MAYBE)
    )


def quarantine(
    connection: sa.Connection, pack_id: PackId, damage: Damage, *, now: datetime
) -> None:
    """Note a damaged chunk; one that is in quarantine already stays as it is."""
    entry = damage.entry
    connection.execute(
        postgresql.insert(damaged_chunks)
        .values(
            digest=entry.digest,
            pack=pack_id,
            codec=int(entry.codec),
            offset=entry.offset,
            stored_size=entry.stored_size,
            plain_size=entry.plain_size,
            why=damage.why,
            found_at=now,
        )
        .on_conflict_do_nothing()
    )


def place_chunks(connection: sa.Connection, number: int, entries: Sequence[PackEntry]) -> int:
    """Let the index find whole chunks in a pack: those it leads there for, and the quarantined.

    Returns:
        How many came out of quarantine.
    """
    if not entries:
        return 0
    places = {each.digest: each for each in entries}
    wrong = [
        places[entry.digest]
        for entry in indexed_entries(connection, number)
        if entry.digest in places and places[entry.digest] != entry
    ]
    for entry in wrong:
        connection.execute(
            sa.update(chunks)
            .where(chunks.c.digest == entry.digest, chunks.c.pack == number)
            .values(**place_of(entry))
        )
    wanted = find_quarantined(connection, list(places))
    if wanted:
        connection.execute(
            postgresql.insert(chunks).on_conflict_do_nothing(),
            [{"digest": each, "pack": number, **place_of(places[each])} for each in wanted],
        )
    return heal(connection, number) if wanted else 0


def find_quarantined(connection: sa.Connection, digests: Sequence[Digest]) -> dict[Digest, str]:
    """Map those of the digests that are in quarantine to what is wrong with them."""
    if not connection.scalar(sa.select(sa.exists().where(damaged_chunks.c.pack.is_not(None)))):
        return {}
    found: dict[Digest, str] = {}
    for start in range(0, len(digests), _BATCH):
        rows = connection.execute(
            sa.select(damaged_chunks.c.digest, damaged_chunks.c.why).where(
                damaged_chunks.c.digest.in_(digests[start : start + _BATCH])
            )
        )
        found |= {Digest(row.digest): row.why for row in rows}
    return found


def list_quarantined(connection: sa.Connection) -> list[Digest]:
    """Give every chunk in quarantine."""
    return [Digest(each) for each in connection.scalars(sa.select(damaged_chunks.c.digest))]


def list_contents(connection: sa.Connection, *, after: bytes, limit: int) -> list[Content]:
    """List contents by their digests, those after `after`."""
    rows = connection.execute(
        sa.select(manifests.c.digest, manifests.c.writer, manifests.c.damage)
        .where(manifests.c.digest > after)
        .order_by(manifests.c.digest)
        .limit(limit)
    )
    return [Content(to_digest(row.digest), row.writer, row.damage) for row in rows]


def list_originals(connection: sa.Connection, manifest: Digest) -> list[Original]:
    """List the files that a content was copied from, as they were then."""
    rows = connection.execute(
        sa.select(
            known_contents.c.source, known_contents.c.location, known_contents.c.fingerprint
        ).where(known_contents.c.manifest == manifest)
    )
    return [
        Original(
            ComputeImage(id=row.location, folder_id="", source=row.source, location=row.location),
            row.fingerprint,
        )
        for row in rows
    ]


def list_images(connection: sa.Connection, manifest: Digest) -> list[tuple[str, str]]:
    """List the images, of desktops and imported ones, that have a content: ids and names."""
    return [
        (row.id, row.name)
        for table in (images, compute_images)
        for row in connection.execute(
            sa.select(table.c.id, table.c.name)
            .where(table.c.manifest == manifest)
            .order_by(table.c.id)
        )
    ]


def is_copying(connection: sa.Connection) -> bool:
    """Tell whether a copy is at work, to which a scrub leaves the disk."""
    return bool(connection.scalar(sa.select(sa.exists().where(operations.c.done.is_(False)))))


_PACK_COLUMNS = (
    packs.c.number,
    packs.c.id,
    packs.c.size,
    packs.c.verified_at,
    packs.c.damage,
)
_ENTRY_COLUMNS = (
    chunks.c.digest,
    chunks.c.codec,
    chunks.c.offset,
    chunks.c.stored_size,
    chunks.c.plain_size,
)


def place_of(entry: PackEntry) -> dict[str, int]:
    return {
        "codec": int(entry.codec),
        "offset": entry.offset,
        "stored_size": entry.stored_size,
        "plain_size": entry.plain_size,
    }
