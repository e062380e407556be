"""Queries on operations and on the idempotency keys that lead to them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from clouddesktop.catalog.prepared import Prepared
from clouddesktop.catalog.tables import awaited_ends, idempotency_keys, operations
from clouddesktop.errors import Failure, InvalidArgumentError, NotFoundError
from clouddesktop.ids import Prefix, new_id
from clouddesktop.model.checksum import Checksum
from clouddesktop.model.image import ComputeImage
from clouddesktop.model.operation import (
    IdempotencyKey,
    Operation,
    OperationKind,
    Phase,
    Priority,
    Progress,
)

_GET = Prepared(sa.select(operations).where(operations.c.id == sa.bindparam("operation_id")))
_ADD = Prepared(sa.insert(operations))
_AWAIT_END = Prepared(sa.insert(awaited_ends))
_FIND_REQUEST = Prepared(
    sa.select(idempotency_keys.c.request_digest, idempotency_keys.c.operation_id).where(
        idempotency_keys.c.subject == sa.bindparam("subject"),
        idempotency_keys.c.key == sa.bindparam("key"),
    )
)
_REMEMBER_REQUEST = Prepared(sa.insert(idempotency_keys))


class IdempotencyKeyReusedError(InvalidArgumentError):
    """The key was used before, for a request with other contents."""

    reason = "IDEMPOTENCY_KEY_REUSED"


def get_operation(connection: sa.Connection, operation_id: str) -> Operation:
    """Read one operation.

    Raises:
        NotFoundError: there is none with this id.
    """
    row = _GET.first(connection, operation_id=operation_id)
    if row is None:
        raise NotFoundError.of_resource("Operation", operation_id)
    return to_operation(row)


def add_operation(
    connection: sa.Connection,
    operation: Operation,
    *,
    compute_image: ComputeImage | None = None,
    checksum: Checksum | None = None,
    workflow_id: str | None = None,
    priority: Priority = Priority.NORMAL,
) -> None:
    """Insert an operation; of a copy from `compute_image`, `workflow_id` will do the work.

    The copy verifies `checksum`, if there is one.
    """
    origin = compute_image or ComputeImage(id="", folder_id="", source="", location="")
    _ADD.run(
        connection,
        id=operation.id,
        kind=str(operation.kind),
        description=operation.description,
        created_at=operation.created_at,
        created_by=operation.created_by,
        modified_at=operation.modified_at,
        done=operation.done,
        resource_id=operation.resource_id,
        folder_id=operation.folder_id,
        failure=None,
        result=None if operation.result is None else dict(operation.result),
        source=origin.source,
        location=origin.location,
        compute_image_id=origin.id,
        compute_image_folder_id=origin.folder_id,
        checksum=None if checksum is None else checksum.to_text(),
        workflow_id=workflow_id,
        priority=int(priority),
        epoch=0,
        attempts=0,
        **operation.progress.to_record(),
    )
    if not operation.done:
        _AWAIT_END.run(connection, operation_id=operation.id)


def add_done_operation(
    connection: sa.Connection,
    *,
    kind: OperationKind,
    description: str,
    subject_id: str,
    resource_id: str,
    folder_id: str,
    result: Mapping[str, Any] | None = None,
    idempotency: IdempotencyKey | None,
) -> Operation:
    """Insert an operation whose work is the caller's transaction, and remember its request."""
    now = datetime.now(tz=UTC)
    operation = Operation(
        id=new_id(Prefix.OPERATION),
        kind=kind,
        description=description,
        created_at=now,
        created_by=subject_id,
        modified_at=now,
        done=True,
        resource_id=resource_id,
        folder_id=folder_id,
        result=result,
        progress=Progress(phase=Phase.DONE),
    )
    add_operation(connection, operation)
    remember_request(connection, operation, idempotency=idempotency)
    return operation


def find_earlier_operation(
    connection: sa.Connection, *, subject_id: str, idempotency: IdempotencyKey | None
) -> Operation | None:
    """Find what an earlier request with this key has started; None without a key.

    Raises:
        IdempotencyKeyReusedError: that request was another one.
    """
    if idempotency is None:
        return None
    row = _FIND_REQUEST.first(connection, subject=subject_id, key=idempotency.key)
    if row is None:
        return None
    if row.request_digest != idempotency.request_digest:
        raise IdempotencyKeyReusedError(
            f"The idempotency key {idempotency.key} was used for another request.",
            remedy="Draw a new UUID for each new request.",
            facts={"operation_id": row.operation_id},
        )
    return get_operation(connection, row.operation_id)


def remember_request(
    connection: sa.Connection, operation: Operation, *, idempotency: IdempotencyKey | None
) -> None:
    """Keep the key of the request that started an operation; does nothing without one."""
    if idempotency is not None:
        _REMEMBER_REQUEST.run(
            connection,
            subject=operation.created_by,
            key=idempotency.key,
            request_digest=idempotency.request_digest,
            operation_id=operation.id,
            created_at=operation.created_at,
        )


def find_running_operation(connection: sa.Connection, resource_id: str) -> str | None:
    """Find the operation that is making a resource."""
    operation_id: str | None = connection.scalar(
        sa.select(operations.c.id).where(
            operations.c.resource_id == resource_id, operations.c.done.is_(False)
        )
    )
    return operation_id


def list_operations(
    connection: sa.Connection, resource_id: str, *, page_size: int, after: str | None = None
) -> list[Operation]:
    """List the operations on a resource, the latest first; those that come after `after`."""
    query = sa.select(operations).where(operations.c.resource_id == resource_id)
    if after is not None:
        position = sa.select(operations.c.created_at, operations.c.id).where(
            operations.c.id == after
        )
        query = query.where(
            sa.tuple_(operations.c.created_at, operations.c.id) < position.scalar_subquery()
        )
    latest_first = (operations.c.created_at.desc(), operations.c.id.desc())
    rows = connection.execute(query.order_by(*latest_first).limit(page_size))
    return [to_operation(row) for row in rows]


def list_unfinished(connection: sa.Connection) -> list[tuple[str, str]]:
    """List the operations that are not done, each with the workflow that should be running it."""
    rows = connection.execute(
        sa.select(operations.c.id, operations.c.workflow_id)
        .where(operations.c.done.is_(False), operations.c.workflow_id.is_not(None))
        .order_by(operations.c.created_at)
    )
    return [(row.id, row.workflow_id) for row in rows]


class Place(NamedTuple):
    """Where the workflow of an operation waits."""

    folder_id: str
    priority: Priority


def replace_workflow(
    connection: sa.Connection, operation_id: str, *, old: str, new: str
) -> Place | None:
    """Note that another workflow runs the operation from now on; None if it has ended since."""
    row = connection.execute(
        sa.update(operations)
        .where(
            operations.c.id == operation_id,
            operations.c.workflow_id == old,
            operations.c.done.is_(False),
        )
        .values(workflow_id=new, modified_at=datetime.now(tz=UTC))
        .returning(operations.c.folder_id, operations.c.priority)
    ).one_or_none()
    return None if row is None else Place(row.folder_id, Priority(row.priority))


def to_operation(row: Any) -> Operation:
    """Read the operation that a row of `operations` stands for."""
    return Operation(
        id=row.id,
        kind=OperationKind(row.kind),
        description=row.description,
        created_at=row.created_at,
        created_by=row.created_by,
        modified_at=row.modified_at,
        done=row.done,
        resource_id=row.resource_id,
        folder_id=row.folder_id,
        failure=None if row.failure is None else Failure.from_record(row.failure),
        result=row.result,
        progress=Progress(
            phase=Phase(row.phase),
            bytes_total=row.bytes_total,
            bytes_done=row.bytes_done,
            bytes_new=row.bytes_new,
            bytes_stored=row.bytes_stored,
            bytes_deduplicated=row.bytes_deduplicated,
            bytes_zero=row.bytes_zero,
        ),
    )
