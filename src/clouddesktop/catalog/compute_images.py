"""Queries on compute images that were imported."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from clouddesktop.catalog.contents import KnownContent
from clouddesktop.catalog.named import NamedRows
from clouddesktop.catalog.prepared import Prepared
from clouddesktop.catalog.tables import compute_images, manifests
from clouddesktop.errors import DataLossError, NotFoundError
from clouddesktop.ids import to_digest
from clouddesktop.model.compute import ComputeImageChanges, ComputeImageStatus, ImportedImage

_COLUMNS = (
    compute_images.c.id,
    compute_images.c.folder_id,
    compute_images.c.name,
    compute_images.c.description,
    compute_images.c.labels,
    compute_images.c.family,
    compute_images.c.os_type,
    compute_images.c.status,
    compute_images.c.created_at,
    compute_images.c.storage_size,
    compute_images.c.min_disk_size,
    compute_images.c.manifest,
)
_FIND = Prepared(sa.select(*_COLUMNS).where(compute_images.c.id == sa.bindparam("image_id")))
_NAMED = NamedRows(compute_images, word="Image", may_be_nameless=True)


def find_imported_image(connection: sa.Connection, image_id: str) -> ImportedImage | None:
    """Find one, whatever its status."""
    row = _FIND.first(connection, image_id=image_id)
    return None if row is None else _to_image(row)


def get_imported_image(connection: sa.Connection, image_id: str) -> ImportedImage:
    """Read one, whatever its status.

    Raises:
        NotFoundError: there is none with this id.
    """
    image = find_imported_image(connection, image_id)
    if image is None:
        raise NotFoundError.of_resource("Image", image_id)
    return image


def get_imported_content(connection: sa.Connection, image_id: str) -> KnownContent:
    """Give the content of a READY one.

    Raises:
        NotFoundError: it is gone, or has none.
        DataLossError: a scrub found it damaged.
    """
    row = connection.execute(
        sa.select(
            manifests.c.digest,
            manifests.c.disk_size,
            manifests.c.storage_size,
            manifests.c.damage,
        )
        .join(compute_images, compute_images.c.manifest == manifests.c.digest)
        .where(compute_images.c.id == image_id)
    ).one_or_none()
    if row is None:
        raise NotFoundError.of_resource("Image", image_id)
    if row.damage is not None:
        raise DataLossError(
            f"The compute image {image_id} is damaged: {row.damage}",
            remedy="Import it again.",
            facts={"resource_type": "Image", "resource_id": image_id},
        )
    return KnownContent(
        manifest=to_digest(row.digest), disk_size=row.disk_size, storage_size=row.storage_size
    )


def list_imported_images(connection: sa.Connection, folder_id: str) -> list[ImportedImage]:
    """List a folder's, by their ids."""
    rows = connection.execute(
        sa.select(*_COLUMNS)
        .where(compute_images.c.folder_id == folder_id)
        .order_by(compute_images.c.id)
    )
    return [_to_image(row) for row in rows]


def find_latest_of_family(
    connection: sa.Connection, folder_id: str, family: str
) -> ImportedImage | None:
    """Find the newest READY one of a family."""
    row = connection.execute(
        sa.select(*_COLUMNS)
        .where(
            compute_images.c.folder_id == folder_id,
            compute_images.c.family == family,
            compute_images.c.status == int(ComputeImageStatus.READY),
        )
        .order_by(compute_images.c.created_at.desc(), compute_images.c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _to_image(row)


def add_imported_image(connection: sa.Connection, image: ImportedImage) -> None:
    """Insert one.

    Raises:
        AlreadyExistsError: its folder has one of this name; nothing was changed.
    """
    _NAMED.check_name(connection, image, image.name)
    values = image.to_record() | {
        "status": int(image.status),
        "created_at": image.created_at,
        "manifest": image.manifest,
    }
    connection.execute(sa.insert(compute_images).values(values))


def update_imported_image(
    connection: sa.Connection, image: ImportedImage, changes: ComputeImageChanges
) -> ImportedImage:
    """Change one, and give it as it is then.

    Raises:
        AlreadyExistsError: another one of its folder has the new name; nothing was changed.
    """
    return _NAMED.update(connection, image, changes)


def delete_imported_image(connection: sa.Connection, image_id: str) -> None:
    """Remove one; its content stays until it is collected."""
    connection.execute(sa.delete(compute_images).where(compute_images.c.id == image_id))


def _to_image(row: Any) -> ImportedImage:
    return ImportedImage(
        id=row.id,
        folder_id=row.folder_id,
        name=row.name,
        description=row.description,
        labels=row.labels,
        family=row.family,
        os_type=row.os_type,
        status=ComputeImageStatus(row.status),
        created_at=row.created_at,
        storage_size=row.storage_size,
        min_disk_size=row.min_disk_size,
        manifest=None if row.manifest is None else to_digest(row.manifest),
    )
