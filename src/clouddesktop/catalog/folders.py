"""Queries on clouds, folders and service accounts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from clouddesktop.catalog.tables import clouds, folders, service_accounts
from clouddesktop.errors import NotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """Where images are kept; `cloud_id` is what quotas are counted by."""

    id: str
    cloud_id: str
    name: str


def get_folder(connection: sa.Connection, folder_id: str) -> Folder:
    """Read one folder.

    Raises:
        NotFoundError: there is none with this id.
    """
    row = connection.execute(
        sa.select(folders.c.id, folders.c.cloud_id, folders.c.name).where(folders.c.id == folder_id)
    ).one_or_none()
    if row is None:
        raise NotFoundError.of_resource("Folder", folder_id)
    return Folder(id=row.id, cloud_id=row.cloud_id, name=row.name)


def find_folder_named(connection: sa.Connection, name: str) -> Folder | None:
    """Find the oldest folder with this name."""
    row = connection.execute(
        sa.select(folders.c.id, folders.c.cloud_id, folders.c.name)
        .where(folders.c.name == name)
        .order_by(folders.c.created_at)
        .limit(1)
    ).one_or_none()
    return None if row is None else Folder(id=row.id, cloud_id=row.cloud_id, name=row.name)


def add_cloud(connection: sa.Connection, *, cloud_id: str, name: str, created_at: datetime) -> None:
    connection.execute(sa.insert(clouds).values(id=cloud_id, name=name, created_at=created_at))


def add_folder(connection: sa.Connection, folder: Folder, *, created_at: datetime) -> None:
    connection.execute(
        sa.insert(folders).values(
            id=folder.id, cloud_id=folder.cloud_id, name=folder.name, created_at=created_at
        )
    )


def add_service_account(
    connection: sa.Connection,
    *,
    service_account_id: str,
    folder_id: str,
    name: str,
    created_at: datetime,
) -> None:
    connection.execute(
        sa.insert(service_accounts).values(
            id=service_account_id, folder_id=folder_id, name=name, created_at=created_at
        )
    )


def find_service_account_named(connection: sa.Connection, name: str) -> str | None:
    """Find the id of the oldest service account with this name."""
    return connection.scalar(
        sa.select(service_accounts.c.id)
        .where(service_accounts.c.name == name)
        .order_by(service_accounts.c.created_at)
        .limit(1)
    )
