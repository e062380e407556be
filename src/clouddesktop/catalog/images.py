"""Queries on desktop images."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from clouddesktop.catalog.tables import images, manifests
from clouddesktop.errors import AlreadyExistsError, NotFoundError
from clouddesktop.ids import to_digest
from clouddesktop.model.image import Image, ImageStatus

_COLUMNS = (
    images.c.id,
    images.c.folder_id,
    images.c.name,
    images.c.description,
    images.c.labels,
    images.c.status,
    images.c.created_at,
    images.c.storage_size,
    images.c.min_disk_size,
    images.c.manifest,
)


def get_image(connection: sa.Connection, image_id: str) -> Image:
    """Read one image, whatever its status.

    Raises:
        NotFoundError: there is none with this id.
    """
    row = connection.execute(sa.select(*_COLUMNS).where(images.c.id == image_id)).one_or_none()
    if row is None:
        raise NotFoundError.of_resource("Image", image_id)
    return _to_image(row._mapping)


def find_verified_at(connection: sa.Connection, image_id: str) -> datetime | None:
    """Tell when all of an image was last found right; None: never so far."""
    verified_at: datetime | None = connection.scalar(
        sa.select(manifests.c.verified_at)
        .join(images, images.c.manifest == manifests.c.digest)
        .where(images.c.id == image_id)
    )
    return verified_at


def list_images(
    connection: sa.Connection, *, folder_id: str, page_size: int, after: str | None = None
) -> list[Image]:
    """List a folder's images by id, at most `page_size` of those whose id comes after `after`."""
    query = sa.select(*_COLUMNS).where(images.c.folder_id == folder_id)
    if after is not None:
        query = query.where(images.c.id > after)
    rows = connection.execute(query.order_by(images.c.id).limit(page_size))
    return [_to_image(row._mapping) for row in rows]


def add_image(connection: sa.Connection, image: Image) -> None:
    """Insert an image.

    Raises:
        AlreadyExistsError: its folder has an image of this name; nothing was changed.
    """
    taken = connection.scalar(
        sa.select(images.c.id).where(
            images.c.folder_id == image.folder_id, images.c.name == image.name
        )
    )
    if taken is not None:
        raise AlreadyExistsError(
            f"Image with name {image.name} already exists",
            remedy="Choose another name.",
            facts={"resource_type": "Image", "resource_id": taken, "name": image.name},
        )
    connection.execute(
        sa.insert(images).values(
            id=image.id,
            folder_id=image.folder_id,
            name=image.name,
            description=image.description,
            labels=dict(image.labels),
            status=int(image.status),
            created_at=image.created_at,
            storage_size=image.storage_size,
            min_disk_size=image.min_disk_size,
            manifest=image.manifest,
        )
    )


def delete_image(connection: sa.Connection, image_id: str) -> None:
    """Remove an image; its content stays until it is collected."""
    connection.execute(sa.delete(images).where(images.c.id == image_id))


def _to_image(row: sa.RowMapping) -> Image:
    manifest = row["manifest"]
    return Image(
        id=row["id"],
        folder_id=row["folder_id"],
        name=row["name"],
        description=row["description"],
        labels=row["labels"],
        status=ImageStatus(row["status"]),
        created_at=row["created_at"],
        storage_size=row["storage_size"],
        min_disk_size=row["min_disk_size"],
        manifest=None if manifest is None else to_digest(manifest),
    )
