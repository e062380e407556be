"""The transaction that accepts a copy or an import: known content at once, new as a workflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import sqlalchemy as sa

from clouddesktop.catalog.contents import KnownContent
from clouddesktop.catalog.operations import (
    add_operation,
    find_earlier_operation,
    remember_request,
)
from clouddesktop.copying.workflow import COPY_IMAGE
from clouddesktop.ids import Prefix, new_id
from clouddesktop.model.checksum import Checksum
from clouddesktop.model.compute import ComputeImageStatus, ImportedImage
from clouddesktop.model.image import ComputeImage, Image, ImageStatus, min_disk_size_of
from clouddesktop.model.operation import (
    IdempotencyKey,
    Operation,
    OperationKind,
    Phase,
    Priority,
    Progress,
)
from clouddesktop.workflow.queue import WorkflowQueue

Made = TypeVar("Made", Image, ImportedImage)


@dataclass(frozen=True, slots=True)
class Origin:
    """What an image is made of; `find_content` finds it in the store, if it is there.

    The copy verifies `checksum`, if there is one.
    """

    find_content: Callable[[sa.Connection], KnownContent | None]
    compute_image: ComputeImage | None = None
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Making(Generic[Made]):
    """An image that is to be made for somebody.

    `image` has the status CREATING, and `ready` once it has its content. `add` inserts its row.
    """

    image: Made
    ready: ImageStatus | ComputeImageStatus
    origin: Origin
    kind: OperationKind
    description: str
    subject_id: str
    idempotency: IdempotencyKey | None
    add: Callable[[sa.Connection, Made], None]
    priority: Priority = Priority.NORMAL


def accept(connection: sa.Connection, making: Making[Made], queue: WorkflowQueue) -> Operation:
    """Add the image with its operation, done if the store has the content, else as a workflow's.

    Gives the earlier operation, and adds nothing, where the idempotency key was used before.

    Raises:
        IdempotencyKeyReusedError: the key came with another request before.
        CloudDesktopError: `add` refuses, or the content cannot be used.
    """
    earlier = find_earlier_operation(
        connection, subject_id=making.subject_id, idempotency=making.idempotency
    )
    if earlier is not None:
        return earlier
    known = making.origin.find_content(connection)
    image = making.image if known is None else _filled(making, known)
    making.add(connection, image)
    operation = Operation(
        id=new_id(Prefix.OPERATION),
        kind=making.kind,
        description=making.description,
        created_at=image.created_at,
        created_by=making.subject_id,
        modified_at=image.created_at,
        done=known is not None,
        resource_id=image.id,
        folder_id=image.folder_id,
        result=None if known is None else image.to_record(),
        progress=Progress() if known is None else Progress(phase=Phase.DONE),
    )
    workflow_id = f"{operation.id}-1" if known is None else None
    if workflow_id is not None:
        queue.enqueue(
            connection,
            COPY_IMAGE,
            operation.id,
            workflow_id=workflow_id,
            partition=image.folder_id,
            priority=making.priority,
        )
    add_operation(
        connection,
        operation,
        compute_image=making.origin.compute_image,
        checksum=making.origin.checksum,
        workflow_id=workflow_id,
        priority=making.priority,
    )
    remember_request(connection, operation, idempotency=making.idempotency)
    return operation


def _filled(making: Making[Made], known: KnownContent) -> Made:
    return replace(
        making.image,
        status=making.ready,  # type: ignore[arg-type]  # of its own kind
        manifest=known.manifest,
        storage_size=known.storage_size,
        min_disk_size=min_disk_size_of(known.disk_size),
    )
