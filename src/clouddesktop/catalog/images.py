"""Queries on desktop images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from clouddesktop.catalog.tables import images, manifests
from clouddesktop.errors import AlreadyExistsError, NotFoundError
from clouddesktop.ids import to_digest
from clouddesktop.model.image import Image, ImageChanges, ImageStatus
from clouddesktop.model.listing import NameCondition

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
    connection: sa.Connection,
    *,
    folder_id: str,
    page_size: int,
    after: str | None = None,
    conditions: Sequence[NameCondition] = (),
) -> list[Image]:
    """List the folder's images that meet all conditions, by id.

    At most `page_size` of those whose id comes after `after`.
    """
    query = sa.select(*_COLUMNS).where(images.c.folder_id == folder_id)
    for each in conditions:
        is_named = images.c.name.in_(list(each.names))
        query = query.where(sa.not_(is_named) if each.is_negated else is_named)
    if after is not None:
        query = query.where(images.c.id > after)
    rows = connection.execute(query.order_by(images.c.id).limit(page_size))
    return [_to_image(row._mapping) for row in rows]


def add_image(connection: sa.Connection, image: Image) -> None:
    """Insert an image.

    Raises:
        AlreadyExistsError: its folder has an image of this name; nothing was changed.
    """
    _check_name(connection, folder_id=image.folder_id, name=image.name)
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


def update_image(connection: sa.Connection, image_id: str, changes: ImageChanges) -> Image:
    """Change an image, and give it as it is then.

    Raises:
        NotFoundError: there is none with this id.
        AlreadyExistsError: another image of its folder has the new name; nothing was changed.
    """
    image = get_image(connection, image_id)
    values: dict[str, Any] = {}
    if changes.name is not None:
        if changes.name != image.name:
            _check_name(connection, folder_id=image.folder_id, name=changes.name)
        values["name"] = changes.name
    if changes.description is not None:
        values["description"] = changes.description
    if changes.labels is not None:
        values["labels"] = dict(changes.labels)
    if values:
        connection.execute(sa.update(images).where(images.c.id == image_id).values(values))
    return replace(image, **values)


def delete_image(connection: sa.Connection, image_id: str) -> None:
    """Remove an image; its content stays until it is collected."""
    connection.execute(sa.delete(images).where(images.c.id == image_id))


def _check_name(connection: sa.Connection, *, folder_id: str, name: str) -> None:
    """See that no image of the folder has a name."""
    taken = connection.scalar(
        sa.select(images.c.id).where(images.c.folder_id == folder_id, images.c.name == name)
    )
    if taken is not None:
        raise AlreadyExistsError(
            f"Image with name {name} already exists",
            remedy="Choose another name.",
            facts={"resource_type": "Image", "resource_id": taken, "name": name},
        )


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
