"""Cancelling: a mark on the operation, which its run looks for; at once where nothing runs yet."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from clouddesktop.catalog.copies import CopyRun, run_of
from clouddesktop.catalog.operations import get_operation
from clouddesktop.catalog.rolling_back import finish_rollback, roll_back
from clouddesktop.catalog.tables import operations
from clouddesktop.errors import Failure
from clouddesktop.model.operation import Operation, Phase


def cancel_operation(
    connection: sa.Connection, operation_id: str, *, failure: Failure
) -> Operation:
    """Give an operation the error `failure`, unless it is done or has one already.

    What has not begun ends here; a run that is at work sees the error and rolls back.

    Raises:
        NotFoundError: there is no such operation.
    """
    row = connection.execute(
        sa.update(operations)
        .where(
            operations.c.id == operation_id,
            operations.c.done.is_(False),
            operations.c.failure.is_(None),
        )
        .values(
            failure=failure.to_record(),
            phase=str(Phase.ROLLING_BACK),
            modified_at=datetime.now(tz=UTC),
        )
        .returning(operations)
    ).one_or_none()
    if row is not None and row.epoch == 0:
        run = run_of(row)
        roll_back(connection, run)
        finish_rollback(connection, run)
    return get_operation(connection, operation_id)


def find_failure(connection: sa.Connection, run: CopyRun) -> Failure | None:
    """Find the error that the run's operation has by now, be it from this run or from outside."""
    record = connection.scalar(
        sa.select(operations.c.failure).where(operations.c.id == run.operation_id)
    )
    return None if record is None else Failure.from_record(record)
