"""What each image has in the store, as far as the catalogue alone can tell."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from clouddesktop.catalog.tables import compute_images, images, manifests
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


def list_image_usage(connection: sa.Connection) -> list[ImageUsage]:
    """List the images, of desktops and imported ones, that have a content; by their ids."""
    of_both = (
        sa.select(
            table.c.id,
            table.c.name,
            table.c.folder_id,
            manifests.c.digest,
            manifests.c.disk_size,
            manifests.c.storage_size,
            manifests.c.verified_at,
        ).join(manifests, manifests.c.digest == table.c.manifest)
        for table in (images, compute_images)
    )
    rows = connection.execute(sa.union_all(*of_both).order_by("id"))
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
