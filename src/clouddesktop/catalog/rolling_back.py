"""Queries that end a copy which has failed: `record_failure`, `roll_back`, `finish_rollback`.

Each changes nothing for a run whose epoch is over.
"""

from __future__ import annotations

import sqlalchemy as sa

from clouddesktop.catalog.copies import CopyRun, forget_run, update_run
from clouddesktop.catalog.tables import (
    chunks,
    manifest_packs,
    operation_packs,
    operations,
    packs,
)
from clouddesktop.catalog.targets import TARGETS
from clouddesktop.errors import Failure
from clouddesktop.ids import PackId
from clouddesktop.model.operation import Phase


def record_failure(connection: sa.Connection, run: CopyRun, failure: Failure) -> None:
    """Set the operation's error, seen while the rollback runs; the first one stays."""
    update_run(
        connection,
        run,
        failure=sa.func.coalesce(
            operations.c.failure, sa.bindparam(None, failure.to_record(), type_=sa.JSON)
        ),
        phase=str(Phase.ROLLING_BACK),
    )


def roll_back(connection: sa.Connection, run: CopyRun) -> list[PackId]:
    """Remove the image, and from the index what only this copy relied on.

    Returns:
        The packs that nothing refers to any more; delete them, then call `finish_rollback`.
    """
    update_run(connection, run, phase=str(Phase.ROLLING_BACK))
    target = TARGETS[run.kind]
    connection.execute(sa.delete(target).where(target.c.id == run.image_id))
    mine = sa.select(operation_packs.c.pack).where(
        operation_packs.c.operation_id == run.operation_id
    )
    others = sa.union(
        sa.select(operation_packs.c.pack).where(operation_packs.c.operation_id != run.operation_id),
        sa.select(manifest_packs.c.pack),
    )
    rows = connection.execute(
        sa.select(packs.c.number, packs.c.id).where(
            packs.c.number.in_(mine), packs.c.number.not_in(others)
        )
    ).all()
    numbers = [row.number for row in rows]
    forget_run(connection, run)
    connection.execute(sa.delete(chunks).where(chunks.c.pack.in_(numbers)))
    connection.execute(sa.delete(packs).where(packs.c.number.in_(numbers)))
    return [PackId(row.id) for row in rows]


def finish_rollback(connection: sa.Connection, run: CopyRun) -> None:
    """End the failed operation: nothing of it is left."""
    update_run(connection, run, done=True, phase=str(Phase.DONE))


def indexed_packs(connection: sa.Connection, operation_id: str) -> set[PackId]:
    """Name the packs that a copy has written and the index refers to."""
    return {
        PackId(each)
        for each in connection.scalars(
            sa.select(packs.c.id).where(packs.c.operation_id == operation_id)
        )
    }
