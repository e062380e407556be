"""Queries on clouds, folders and service accounts."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from clouddesktop.catalog.named import NamedRows
from clouddesktop.catalog.prepared import Prepared
from clouddesktop.catalog.tables import (
    clouds,
    compute_images,
    folder_usage,
    folders,
    images,
    service_accounts,
)
from clouddesktop.errors import FailedPreconditionError, NotFoundError
from clouddesktop.model.folder import SYSTEM_FOLDER_ID, Cloud, Folder, FolderChanges

_COLUMNS = (
    folders.c.id,
    folders.c.cloud_id,
    folders.c.name,
    folders.c.created_at,
    folders.c.description,
    folders.c.labels,
)

_GET = Prepared(sa.select(*_COLUMNS).where(folders.c.id == sa.bindparam("folder_id")))
_FIND_CLOUD_ID = Prepared(
    sa.select(folders.c.cloud_id).where(folders.c.id == sa.bindparam("folder_id"))
)
_NAMED = NamedRows(folders, word="Folder", within="cloud_id")


class FolderNotEmptyError(FailedPreconditionError):
    """The folder holds something that would be lost with it."""

    reason = "FOLDER_NOT_EMPTY"


def get_cloud(connection: sa.Connection, cloud_id: str) -> Cloud:
    """Read one cloud.

    Raises:
        NotFoundError: there is none with this id.
    """
    row = connection.execute(
        sa.select(clouds.c.id, clouds.c.name, clouds.c.created_at).where(clouds.c.id == cloud_id)
    ).one_or_none()
    if row is None:
        raise NotFoundError.of_resource("Cloud", cloud_id)
    return Cloud(id=row.id, name=row.name, created_at=row.created_at)


def list_clouds(connection: sa.Connection) -> list[Cloud]:
    """List every cloud by its id, but for that of system images: they are few."""
    rows = connection.execute(
        sa.select(clouds.c.id, clouds.c.name, clouds.c.created_at)
        .where(clouds.c.id != SYSTEM_FOLDER_ID)
        .order_by(clouds.c.id)
    )
    return [Cloud(id=row.id, name=row.name, created_at=row.created_at) for row in rows]


def add_cloud(connection: sa.Connection, cloud: Cloud) -> None:
    connection.execute(
        sa.insert(clouds).values(id=cloud.id, name=cloud.name, created_at=cloud.created_at)
    )


def get_folder(connection: sa.Connection, folder_id: str) -> Folder:
    """Read one folder.

    Raises:
        NotFoundError: there is none with this id.
    """
    row = _GET.first(connection, folder_id=folder_id)
    if row is None:
        raise NotFoundError.of_resource("Folder", folder_id)
    return _to_folder(row)


def find_cloud_id(connection: sa.Connection, folder_id: str) -> str | None:
    """Find the cloud of a folder."""
    row = _FIND_CLOUD_ID.first(connection, folder_id=folder_id)
    return None if row is None else row.cloud_id


def list_cloud_ids(connection: sa.Connection) -> dict[str, str]:
    """Map every folder to its cloud; they are some thousands at most."""
    rows = connection.execute(sa.select(folders.c.id, folders.c.cloud_id))
    return {row.id: row.cloud_id for row in rows}


def find_folder_named(connection: sa.Connection, name: str) -> Folder | None:
    """Find the oldest folder with this name, in any cloud."""
    query = sa.select(*_COLUMNS).where(folders.c.name == name)
    row = connection.execute(query.order_by(folders.c.created_at).limit(1)).one_or_none()
    return None if row is None else _to_folder(row)


def list_folders(connection: sa.Connection, cloud_id: str) -> list[Folder]:
    """List a cloud's folders by their ids."""
    rows = connection.execute(
        sa.select(*_COLUMNS).where(folders.c.cloud_id == cloud_id).order_by(folders.c.id)
    )
    return [_to_folder(row) for row in rows]


def add_folder(connection: sa.Connection, folder: Folder) -> None:
    """Insert a folder.

    Raises:
        AlreadyExistsError: its cloud has a folder of this name; nothing was changed.
    """
    _NAMED.check_name(connection, folder, folder.name)
    connection.execute(
        sa.insert(folders).values(
            id=folder.id,
            cloud_id=folder.cloud_id,
            name=folder.name,
            description=folder.description,
            labels=dict(folder.labels),
            created_at=folder.created_at,
        )
    )


def update_folder(connection: sa.Connection, folder_id: str, changes: FolderChanges) -> Folder:
    """Change a folder, and give it as it is then.

    Raises:
        NotFoundError: there is none with this id.
        AlreadyExistsError: another folder of its cloud has the new name; nothing was changed.
    """
    return _NAMED.update(connection, get_folder(connection, folder_id), changes)


def delete_folder(connection: sa.Connection, folder_id: str) -> None:
    """Remove a folder.

    Raises:
        NotFoundError: there is none with this id.
        FolderNotEmptyError: there are images or service accounts in it.
    """
    get_folder(connection, folder_id)
    contents = (
        ("desktop images", images),
        ("compute images", compute_images),
        ("service accounts", service_accounts),
    )
    for word, table in contents:
        found = connection.scalar(sa.select(table.c.id).where(table.c.folder_id == folder_id))
        if found is not None:
            raise FolderNotEmptyError(
                f"Folder {folder_id} holds {word}, such as {found}.",
                remedy="Delete them first.",
                facts={"resource_type": "Folder", "resource_id": folder_id, "holds": found},
            )
    connection.execute(sa.delete(folder_usage).where(folder_usage.c.folder_id == folder_id))
    connection.execute(sa.delete(folders).where(folders.c.id == folder_id))


def _to_folder(row: Any) -> Folder:
    return Folder(
        id=row.id,
        cloud_id=row.cloud_id,
        name=row.name,
        created_at=row.created_at,
        description=row.description,
        labels=row.labels,
    )
