"""Positions of pages that are too long for their tokens, kept for some time under a digest."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from clouddesktop.catalog.tables import page_positions

KEPT_FOR = timedelta(days=1)
"""How long a list may rest between two pages."""


def keep_position(
    connection: sa.Connection, digest: bytes, position: bytes, *, now: datetime
) -> None:
    """Keep a position, or keep it for longer; those that have expired go."""
    table = page_positions
    connection.execute(sa.delete(table).where(table.c.expires_at <= now))
    kept = sa.update(table).where(table.c.digest == digest).values(expires_at=now + KEPT_FOR)
    if not connection.execute(kept).rowcount:
        connection.execute(
            sa.insert(table).values(digest=digest, position=position, expires_at=now + KEPT_FOR)
        )


def find_position(connection: sa.Connection, digest: bytes, *, now: datetime) -> bytes | None:
    """Find a position that was kept and has not expired."""
    position: bytes | None = connection.scalar(
        sa.select(page_positions.c.position).where(
            page_positions.c.digest == digest, page_positions.c.expires_at > now
        )
    )
    return position
