"""Queries on authorised keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from clouddesktop.catalog.prepared import Prepared
from clouddesktop.catalog.tables import authorized_keys
from clouddesktop.errors import NotFoundError
from clouddesktop.model.access import AuthorizedKey

_COLUMNS = (
    authorized_keys.c.id,
    authorized_keys.c.service_account_id,
    authorized_keys.c.created_at,
    authorized_keys.c.public_key,
    authorized_keys.c.description,
)
_FIND = Prepared(sa.select(*_COLUMNS).where(authorized_keys.c.id == sa.bindparam("key_id")))


def find_key(connection: sa.Connection, key_id: str) -> AuthorizedKey | None:
    """Find the public half of an authorised key."""
    row = _FIND.first(connection, key_id=key_id)
    return None if row is None else _to_key(row)


def get_key(connection: sa.Connection, key_id: str) -> AuthorizedKey:
    """Read the public half of an authorised key.

    Raises:
        NotFoundError: there is none with this id.
    """
    key = find_key(connection, key_id)
    if key is None:
        raise NotFoundError.of_resource("Key", key_id)
    return key


def list_keys(connection: sa.Connection, service_account_id: str) -> list[AuthorizedKey]:
    """List an account's keys by their ids."""
    rows = connection.execute(
        sa.select(*_COLUMNS)
        .where(authorized_keys.c.service_account_id == service_account_id)
        .order_by(authorized_keys.c.id)
    )
    return [_to_key(row) for row in rows]


def add_key(connection: sa.Connection, key: AuthorizedKey) -> None:
    connection.execute(
        sa.insert(authorized_keys).values(
            id=key.id,
            service_account_id=key.service_account_id,
            created_at=key.created_at,
            public_key=key.public_key,
            description=key.description,
        )
    )


def update_key(connection: sa.Connection, key: AuthorizedKey, description: str) -> AuthorizedKey:
    """Describe a key anew, and give it as it is then."""
    connection.execute(
        sa.update(authorized_keys)
        .where(authorized_keys.c.id == key.id)
        .values(description=description)
    )
    return replace(key, description=description)


def delete_key(connection: sa.Connection, key_id: str) -> None:
    """Remove a key: JWTs that it signs, and tokens got by it, are good for nothing."""
    connection.execute(sa.delete(authorized_keys).where(authorized_keys.c.id == key_id))


def _to_key(row: Any) -> AuthorizedKey:
    return AuthorizedKey(
        id=row.id,
        service_account_id=row.service_account_id,
        created_at=row.created_at,
        public_key=row.public_key,
        description=row.description,
    )
