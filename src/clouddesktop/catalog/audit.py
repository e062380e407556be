"""Queries on operations whose end is still to be written to the audit log."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from clouddesktop.catalog.operations import to_operation
from clouddesktop.catalog.tables import awaited_ends, operations
from clouddesktop.model.operation import Operation

_AT_ONCE = 100


def list_ended(connection: sa.Connection) -> list[Operation]:
    """List some of the operations that have ended since their end is awaited."""
    rows = connection.execute(
        sa.select(operations)
        .join(awaited_ends, awaited_ends.c.operation_id == operations.c.id)
        .where(operations.c.done.is_(True))
        .limit(_AT_ONCE)
    )
    return [to_operation(row) for row in rows]


def forget_ended(connection: sa.Connection, operation_ids: Sequence[str]) -> None:
    """Note that the ends of these operations are written."""
    connection.execute(
        sa.delete(awaited_ends).where(awaited_ends.c.operation_id.in_(operation_ids))
    )
