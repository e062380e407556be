"""The workers that share a database: who is alive, by the database's own clock.

A worker renews its row again and again. One that was silent for too long is removed by another one,
and learns from its missing row that its work has been taken over: it must end.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from clouddesktop.catalog.installation import set_fact, settle_fact
from clouddesktop.catalog.tables import workers

_DUTY = "keeper"
"""The fact that names the worker which keeps the store."""


_LEASE = "worker_lease"
"""The fact that says how long the worker that joined last may be silent, in seconds."""


def join(
    connection: sa.Connection,
    worker_id: str,
    *,
    host: str,
    lease_seconds: float,
    workflows: str,
) -> None:
    """Count a worker that runs this version of the workflows among the living.

    Ids are never used twice.
    """
    set_fact(connection, _LEASE, str(lease_seconds))
    now = _read_clock(connection)
    connection.execute(
        sa.insert(workers).values(
            id=worker_id, host=host, started_at=now, renewed_at=now, workflows=workflows
        )
    )


def renew(connection: sa.Connection, worker_id: str) -> bool:
    """Give a sign of life; False when others have taken the worker for dead."""
    changed = connection.execute(
        sa.update(workers)
        .where(workers.c.id == worker_id)
        .values(renewed_at=_read_clock(connection))
    )
    return changed.rowcount == 1


def leave(connection: sa.Connection, worker_id: str) -> None:
    """Take a worker that has ended out, so that nobody waits for it; may be called twice."""
    connection.execute(sa.delete(workers).where(workers.c.id == worker_id))


def remove_silent(connection: sa.Connection, *, silent_for: timedelta) -> list[str]:
    """Take out the workers that have given no sign of life for so long, and name them."""
    before = _read_clock(connection) - silent_for
    removed = connection.scalars(
        sa.delete(workers).where(workers.c.renewed_at < before).returning(workers.c.id)
    )
    return list(removed)


def read_lease(connection: sa.Connection, *, own_seconds: float) -> timedelta:
    """Tell how long a worker may be silent before it counts as dead.

    Of two settings the longer counts: while a setting is changed, one worker after the other, those
    with the longer one give their signs less often.
    """
    latest = settle_fact(connection, _LEASE, str(own_seconds))
    return timedelta(seconds=max(own_seconds, float(latest)))


def list_living(connection: sa.Connection) -> set[str]:
    """Name the workers that count as alive."""
    return set(connection.scalars(sa.select(workers.c.id)))


def list_versions(connection: sa.Connection) -> set[str]:
    """Name the versions of workflows that those run who count as alive."""
    return set(connection.scalars(sa.select(workers.c.workflows).distinct()))


def take_duty(connection: sa.Connection, worker_id: str) -> bool:
    """Tell whether this worker keeps the store; it does from now on if the last one is gone."""
    keeper = settle_fact(connection, _DUTY, worker_id)
    if keeper not in list_living(connection):
        keeper = worker_id
        set_fact(connection, _DUTY, keeper)
    return keeper == worker_id


def _read_clock(connection: sa.Connection) -> datetime:
    # Not the time at which the transaction began: it may have waited for the write lock since.
    clock: Any = sa.func.timezone("UTC", sa.func.clock_timestamp())
    now: datetime = connection.execute(
        sa.select(sa.cast(clock, workers.c.renewed_at.type))
    ).scalar_one()
    return now
