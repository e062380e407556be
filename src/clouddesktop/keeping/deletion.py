"""Deleting an image: one transaction, whatever its size; its content is left to the collector."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.images import delete_image, get_image
from clouddesktop.catalog.operations import (
    add_done_operation,
    find_earlier_operation,
    find_running_operation,
)
from clouddesktop.errors import FailedPreconditionError
from clouddesktop.iam.access import Caller
from clouddesktop.keeping.system_images import check_is_changeable
from clouddesktop.model.access import Resource
from clouddesktop.model.image import ImageStatus
from clouddesktop.model.operation import (
    IdempotencyKey,
    Operation,
    OperationKind,
)
from clouddesktop.model.roles import Permission

_DESCRIPTION = "Delete desktop image"


class ImageBeingMadeError(FailedPreconditionError):
    """A copy is making the image: it cannot be deleted before that has ended."""

    reason = "IMAGE_BEING_MADE"


class Deletions:
    """Deletes images. `failpoint` is called at named places."""

    def __init__(self, *, database: Database, failpoint: Callable[[str], None]) -> None:
        self._database = database
        self._failpoint = failpoint

    async def delete(
        self, image_id: str, *, caller: Caller, idempotency: IdempotencyKey | None
    ) -> Operation:
        """Delete an image; it is gone on return, and the operation is done.

        Asked again with an idempotency key, it returns the first call's operation.

        Raises:
            NotFoundError: there is no such image, or none that the caller may see.
            SystemImageError: it belongs to the whole installation.
            PermissionDeniedError: the caller may not delete it.
            ImageBeingMadeError: a copy is making it.
            IdempotencyKeyReusedError: the key came with another request before.
        """
        self._failpoint("delete-begin")
        operation = await self._database.awrite(_delete, image_id, caller, idempotency)
        self._failpoint("delete-end")
        return operation


def _delete(
    connection: sa.Connection,
    image_id: str,
    caller: Caller,
    idempotency: IdempotencyKey | None,
) -> Operation:
    earlier = find_earlier_operation(connection, subject_id=caller.id, idempotency=idempotency)
    if earlier is not None:
        return earlier
    image = get_image(connection, image_id)
    check_is_changeable(image)
    caller.require(Permission.IMAGES_DELETE, Resource.of_image(image_id, image.folder_id))
    if image.status is ImageStatus.CREATING:
        operation_id = find_running_operation(connection, image_id)
        raise ImageBeingMadeError(
            f"Image {image_id} is being made by the operation {operation_id}.",
            remedy=f"Cancel it (`clouddesktop operation cancel {operation_id}`), which removes the"
            " image; or wait until it is done, then delete the image.",
            facts={
                "resource_type": "Image",
                "resource_id": image_id,
                "operation_id": operation_id or "",
            },
        )
    delete_image(connection, image_id)
    return add_done_operation(
        connection,
        kind=OperationKind.DELETE_IMAGE,
        description=_DESCRIPTION,
        subject_id=caller.id,
        resource_id=image_id,
        folder_id=image.folder_id,
        idempotency=idempotency,
    )
