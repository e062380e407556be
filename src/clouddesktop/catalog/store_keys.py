"""Queries on the keys that bytes in the store may be encrypted by."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from clouddesktop.catalog.tables import store_keys


def list_keys(connection: sa.Connection) -> dict[str, bytes]:
    """Map the ids of all keys that may be needed to their checks."""
    rows = connection.execute(sa.select(store_keys.c.id, store_keys.c.key_check))
    return {row.id: bytes(row.key_check) for row in rows}


def remember_key(connection: sa.Connection, key_id: str, check: bytes) -> None:
    """Note a key before anything is encrypted by it; may be repeated."""
    connection.execute(
        postgresql.insert(store_keys)
        .values(id=key_id, key_check=check, first_used_at=datetime.now(tz=UTC))
        .on_conflict_do_nothing()
    )


def forget_keys(connection: sa.Connection, *, but: str) -> list[str]:
    """Forget all keys but one, since nothing is encrypted by them any more; gives them."""
    gone = connection.scalars(sa.select(store_keys.c.id).where(store_keys.c.id != but)).all()
    connection.execute(sa.delete(store_keys).where(store_keys.c.id != but))
    return sorted(gone)
