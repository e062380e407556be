"""Removing operations that ended long ago, with the idempotency keys that lead to them."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from clouddesktop.catalog.tables import awaited_ends, idempotency_keys, operations

PRUNED_AT_ONCE = 200
"""In one transaction, which holds up other writers some milliseconds."""


def prune_operations(
    connection: sa.Connection, *, ended_before: datetime, keys_before: datetime
) -> int:
    """Remove some operations that ended before an instant, the oldest first.

    One with a key made at `keys_before` or later stays, and so does one whose end is still to be
    written to the audit log.

    Returns:
        How many were removed; fewer than `PRUNED_AT_ONCE`: there are no more.
    """
    has_young_key = (
        sa.select(idempotency_keys.c.key)
        .where(
            idempotency_keys.c.operation_id == operations.c.id,
            idempotency_keys.c.created_at >= keys_before,
        )
        .exists()
    )
    is_awaited = (
        sa.select(awaited_ends.c.operation_id)
        .where(awaited_ends.c.operation_id == operations.c.id)
        .exists()
    )
    ids = list(
        connection.scalars(
            sa.select(operations.c.id)
            .where(
                operations.c.done.is_(True),
                operations.c.modified_at < ended_before,
                ~has_young_key,
                ~is_awaited,
            )
            .order_by(operations.c.modified_at)
            .limit(PRUNED_AT_ONCE)
        )
    )
    if ids:
        connection.execute(
            sa.delete(idempotency_keys).where(idempotency_keys.c.operation_id.in_(ids))
        )
        connection.execute(sa.delete(operations).where(operations.c.id.in_(ids)))
    return len(ids)
