"""Queries on authorised keys."""

from __future__ import annotations

import sqlalchemy as sa

from clouddesktop.catalog.tables import authorized_keys
from clouddesktop.model.access import AuthorizedKey

_FIND = sa.select(
    authorized_keys.c.id,
    authorized_keys.c.service_account_id,
    authorized_keys.c.created_at,
    authorized_keys.c.public_key,
).where(authorized_keys.c.id == sa.bindparam("key_id"))


def find_key(connection: sa.Connection, key_id: str) -> AuthorizedKey | None:
    """Find the public half of an authorised key."""
    row = connection.execute(_FIND, {"key_id": key_id}).one_or_none()
    if row is None:
        return None
    return AuthorizedKey(
        id=row.id,
        service_account_id=row.service_account_id,
        created_at=row.created_at,
        public_key=row.public_key,
    )


def add_key(connection: sa.Connection, key: AuthorizedKey) -> None:
    connection.execute(
        sa.insert(authorized_keys).values(
            id=key.id,
            service_account_id=key.service_account_id,
            created_at=key.created_at,
            public_key=key.public_key,
        )
    )
