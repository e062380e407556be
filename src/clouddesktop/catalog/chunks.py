"""The chunk index: which pack holds a chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from clouddesktop.catalog.tables import (
    chunks,
    damaged_chunks,
    manifest_packs,
    manifests,
    packs,
)
from clouddesktop.errors import AbortedError
from clouddesktop.ids import Digest, PackId
from clouddesktop.store.chunks import ChunkPlace
from clouddesktop.store.codec import Codec
from clouddesktop.store.packs import PackEntry

_BATCH = 500
"""Digests a query asks for at a time: SQLite once took at most 999 parameters."""


# Built once: to build and compile such a statement takes longer than to run it.
_KNOWN = sa.select(chunks.c.digest, chunks.c.pack).where(
    chunks.c.digest.in_(sa.bindparam("digests", expanding=True))
)
_PLACES = (
    sa.select(
        chunks.c.digest,
        packs.c.id,
        chunks.c.codec,
        chunks.c.offset,
        chunks.c.stored_size,
        chunks.c.plain_size,
    )
    .join(packs, packs.c.number == chunks.c.pack)
    .where(chunks.c.digest.in_(sa.bindparam("digests", expanding=True)))
)
_STORED_SIZE = sa.select(
    sa.func.count(), sa.func.coalesce(sa.func.sum(chunks.c.stored_size), 0)
).where(chunks.c.digest.in_(sa.bindparam("digests", expanding=True)))


def find_places(connection: sa.Connection, digests: Sequence[Digest]) -> dict[Digest, ChunkPlace]:
    """Tell where chunks lie; those that the store does not have are left out."""
    return {
        place.entry.digest: place
        for batch in _batches(digests)
        for place in _places(connection, batch)
    }


def find_known(connection: sa.Connection, digests: Sequence[Digest]) -> dict[Digest, int]:
    """Map those of the digests that the store has to the numbers of their packs."""
    return {
        Digest(digest): pack
        for batch in _batches(digests)
        for digest, pack in connection.execute(_KNOWN, {"digests": batch})
    }


def sum_stored_size(connection: sa.Connection, digests: Sequence[Digest]) -> int:
    """Add up what these chunks take in the store, in bytes; name each digest once.

    Raises:
        AbortedError: the index does not know one of them: a scrub has found it damaged meanwhile.
    """
    count = size = 0
    for batch in _batches(digests):
        row = connection.execute(_STORED_SIZE, {"digests": batch}).one()
        count += row[0]
        size += row[1]
    if count < len(digests):
        raise AbortedError(
            f"{len(digests) - count} chunks were found damaged while the image was copied.",
            remedy="Copy the image again: that stores them anew.",
        )
    return size


def add_pack(
    connection: sa.Connection,
    *,
    pack_id: PackId,
    operation_id: str,
    size: int,
    entries: Sequence[PackEntry],
) -> int:
    """Index a pack that is durable in the store; gives the pack's number.

    A chunk that another pack holds already keeps its place there.
    """
    number: int = connection.execute(
        sa.insert(packs)
        .values(id=pack_id, operation_id=operation_id, size=size)
        .returning(packs.c.number)
    ).scalar_one()
    connection.execute(
        postgresql.insert(chunks).on_conflict_do_nothing(),
        [
            {
                "digest": entry.digest,
                "pack": number,
                "codec": int(entry.codec),
                "offset": entry.offset,
                "stored_size": entry.stored_size,
                "plain_size": entry.plain_size,
            }
            for entry in entries
        ],
    )
    heal(connection, number)
    return number


def is_indexed(connection: sa.Connection, pack_id: PackId) -> bool:
    """Tell whether the index has a pack."""
    return bool(
        connection.scalar(
            sa.select(sa.exists(sa.select(packs.c.number).where(packs.c.id == pack_id)))
        )
    )


def heal(connection: sa.Connection, number: int) -> int:
    """Take out of quarantine the chunks that a pack in the index has; gives how many.

    Every damaged content relies on that pack from now on, whether it needs it or not: which of them
    lacked these chunks is for the next scrub to find out.
    """
    healed = connection.execute(
        sa.delete(damaged_chunks).where(
            damaged_chunks.c.digest.in_(sa.select(chunks.c.digest).where(chunks.c.pack == number))
        )
    ).rowcount
    if healed:
        damaged = sa.select(manifests.c.digest, sa.literal(number)).where(
            manifests.c.damage.is_not(None)
        )
        connection.execute(
            postgresql.insert(manifest_packs)
            .from_select(["manifest", "pack"], damaged)
            .on_conflict_do_nothing()
        )
    return healed


def to_entry(row: sa.Row[*tuple[Any, ...]]) -> PackEntry:
    """Take the entry out of a row that has the columns of the index."""
    return PackEntry(
        digest=Digest(row.digest),
        codec=Codec(row.codec),
        offset=row.offset,
        stored_size=row.stored_size,
        plain_size=row.plain_size,
    )


def _places(connection: sa.Connection, digests: Sequence[Digest]) -> Iterator[ChunkPlace]:
    rows = connection.execute(_PLACES, {"digests": digests})
    for row in rows:
        yield ChunkPlace(
            pack_id=PackId(row.id),
            entry=to_entry(row),
        )


def _batches(digests: Sequence[Digest]) -> Iterator[Sequence[Digest]]:
    for start in range(0, len(digests), _BATCH):
        yield digests[start : start + _BATCH]
