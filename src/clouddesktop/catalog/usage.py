"""What each image has in the store, as far as the catalogue alone can tell."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from clouddesktop.catalog.collecting import is_held
from clouddesktop.catalog.tables import chunks, compute_images, images, manifests
from clouddesktop.ids import Digest


class ImageUsage(NamedTuple):
    """An image and its content; sizes are bytes. `verified_at`: when a scrub last read it right."""

    id: str
    name: str
    folder_id: str
    manifest: Digest
    disk_size: int
    stored_bytes: int
    verified_at: datetime | None


class IndexedChunk(NamedTuple):
    """A chunk in the index: the number of its pack, and its sizes in bytes."""

    digest: bytes
    pack: int
    stored_size: int
    plain_size: int


def count_chunks(connection: sa.Connection) -> int:
    """Count the chunks in the index."""
    return connection.scalar(sa.select(sa.func.count()).select_from(chunks)) or 0


def load_chunks_between(
    connection: sa.Connection, first: bytes, until: bytes | None
) -> list[IndexedChunk]:
    """Give the chunks with digests from `first` on, and below `until`; None: to the end."""
    query = sa.select(
        chunks.c.digest, chunks.c.pack, chunks.c.stored_size, chunks.c.plain_size
    ).where(chunks.c.digest >= first)
    if until is not None:
        query = query.where(chunks.c.digest < until)
    return [IndexedChunk(*row) for row in connection.execute(query)]


def list_held_contents(
    connection: sa.Connection, *, limit: int, after: bytes = b""
) -> list[Digest]:
    """List contents that an image has, or a running copy has sealed, by their digests."""
    query = (
        sa.select(manifests.c.digest)
        .where(manifests.c.digest > after, is_held(manifests.c.digest))
        .order_by(manifests.c.digest)
        .limit(limit)
    )
    return [Digest(each) for each in connection.scalars(query)]


def list_image_usage(connection: sa.Connection, *, limit: int, after: str = "") -> list[ImageUsage]:
    """List the images, of desktops and imported ones, that have a content; by their ids.

    A page of them: a transaction in which a million rows are read would be ended as one that waits.
    """
    of_both = (
        sa.select(
            table.c.id,
            table.c.name,
            table.c.folder_id,
            manifests.c.digest,
            manifests.c.disk_size,
            manifests.c.storage_size,
            manifests.c.verified_at,
        )
        .join(manifests, manifests.c.digest == table.c.manifest)
        .where(table.c.id > after)
        .order_by(table.c.id)
        .limit(limit)
        .subquery()
        for table in (images, compute_images)
    )
    both = sa.union_all(*(sa.select(each) for each in of_both))
    rows = connection.execute(both.order_by("id").limit(limit))
    return [
        ImageUsage(
            id=row.id,
            name=row.name,
            folder_id=row.folder_id,
            manifest=Digest(row.digest),
            disk_size=row.disk_size,
            stored_bytes=row.storage_size,
            verified_at=row.verified_at,
        )
        for row in rows
    ]
