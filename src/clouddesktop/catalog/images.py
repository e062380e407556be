"""Queries on desktop images."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from clouddesktop.catalog.named import NamedRows
from clouddesktop.catalog.prepared import Prepared
from clouddesktop.catalog.tables import images, manifests
from clouddesktop.errors import NotFoundError
from clouddesktop.ids import to_digest
from clouddesktop.model.image import Image, ImageChanges, ImageStatus

IMAGE_COLUMNS = (
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

_GET = Prepared(sa.select(*IMAGE_COLUMNS).where(images.c.id == sa.bindparam("image_id")))
_GET_VERIFIED = Prepared(
    sa.select(*IMAGE_COLUMNS, manifests.c.verified_at)
    .join(manifests, images.c.manifest == manifests.c.digest, isouter=True)
    .where(images.c.id == sa.bindparam("image_id"))
)
_ADD = Prepared(sa.insert(images))
_NAMED = NamedRows(images, word="Image")


def get_image(connection: sa.Connection, image_id: str) -> Image:
    """Read one image, whatever its status.

    Raises:
        NotFoundError: there is none with this id.
    """
    row = _GET.first(connection, image_id=image_id)
    if row is None:
        raise NotFoundError.of_resource("Image", image_id)
    return to_image(row)


def get_image_with_verification(
    connection: sa.Connection, image_id: str
) -> tuple[Image, datetime | None]:
    """Read one image, and when all of it was last found right; None: never so far.

    Raises:
        NotFoundError: there is none with this id.
    """
    row = _GET_VERIFIED.first(connection, image_id=image_id)
    if row is None:
        raise NotFoundError.of_resource("Image", image_id)
    *columns, verified_at = row
    return to_image(columns), verified_at


def add_image(connection: sa.Connection, image: Image) -> None:
    """Insert an image.

    Raises:
        AlreadyExistsError: its folder has an image of this name; nothing was changed.
    """
    _NAMED.check_name(connection, image, image.name)
    _ADD.run(
        connection,
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


def update_image(connection: sa.Connection, image_id: str, changes: ImageChanges) -> Image:
    """Change an image, and give it as it is then.

    Raises:
        NotFoundError: there is none with this id.
        AlreadyExistsError: another image of its folder has the new name; nothing was changed.
    """
    return _NAMED.update(connection, get_image(connection, image_id), changes)


def delete_image(connection: sa.Connection, image_id: str) -> None:
    """Remove an image; its content stays until it is collected."""
    connection.execute(sa.delete(images).where(images.c.id == image_id))


def to_image(row: Sequence[Any]) -> Image:
    (
        image_id,
        folder_id,
        name,
        description,
        labels,
        status,
        created_at,
        storage_size,
        min_disk_size,
        manifest,
    ) = row
    return Image(
        id=image_id,
        folder_id=folder_id,
        name=name,
        description=description,
        labels=labels,
        status=ImageStatus(status),
        created_at=created_at,
        storage_size=storage_size,
        min_disk_size=min_disk_size,
        manifest=None if manifest is None else to_digest(manifest),
    )
