"""Queries on service accounts."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from clouddesktop.catalog.named import NamedRows
from clouddesktop.catalog.tables import authorized_keys, service_accounts
from clouddesktop.errors import NotFoundError
from clouddesktop.model.service_account import ServiceAccount, ServiceAccountChanges

_COLUMNS = (
    service_accounts.c.id,
    service_accounts.c.folder_id,
    service_accounts.c.name,
    service_accounts.c.created_at,
    service_accounts.c.description,
    service_accounts.c.labels,
)
_NAMED = NamedRows(service_accounts, word="ServiceAccount")


def get_service_account(connection: sa.Connection, service_account_id: str) -> ServiceAccount:
    """Read one.

    Raises:
        NotFoundError: there is none with this id.
    """
    row = connection.execute(
        sa.select(*_COLUMNS).where(service_accounts.c.id == service_account_id)
    ).one_or_none()
    if row is None:
        raise NotFoundError.of_resource("ServiceAccount", service_account_id)
    return _to_account(row)


def find_service_account_named(
    connection: sa.Connection, name: str, *, folder_id: str
) -> str | None:
    """Find the id of the folder's oldest one with this name."""
    return connection.scalar(
        sa.select(service_accounts.c.id)
        .where(service_accounts.c.name == name, service_accounts.c.folder_id == folder_id)
        .order_by(service_accounts.c.created_at)
        .limit(1)
    )


def list_service_accounts(connection: sa.Connection, folder_id: str) -> list[ServiceAccount]:
    """List a folder's, by their ids."""
    rows = connection.execute(
        sa.select(*_COLUMNS)
        .where(service_accounts.c.folder_id == folder_id)
        .order_by(service_accounts.c.id)
    )
    return [_to_account(row) for row in rows]


def add_service_account(connection: sa.Connection, account: ServiceAccount) -> None:
    """Insert one.

    Raises:
        AlreadyExistsError: its folder has one of this name; nothing was changed.
    """
    _NAMED.check_name(connection, account, account.name)
    values = account.to_record() | {"created_at": account.created_at}
    connection.execute(sa.insert(service_accounts).values(values))


def update_service_account(
    connection: sa.Connection, account: ServiceAccount, changes: ServiceAccountChanges
) -> ServiceAccount:
    """Change one, and give it as it is then.

    Raises:
        AlreadyExistsError: another one of its folder has the new name; nothing was changed.
    """
    return _NAMED.update(connection, account, changes)


def delete_service_account(connection: sa.Connection, service_account_id: str) -> None:
    """Remove one and its keys, so that its tokens are good for nothing."""
    connection.execute(
        sa.delete(authorized_keys).where(authorized_keys.c.service_account_id == service_account_id)
    )
    connection.execute(
        sa.delete(service_accounts).where(service_accounts.c.id == service_account_id)
    )


def _to_account(row: Any) -> ServiceAccount:
    return ServiceAccount(
        id=row.id,
        folder_id=row.folder_id,
        name=row.name,
        created_at=row.created_at,
        description=row.description,
        labels=row.labels,
    )
