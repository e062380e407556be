"""Changing what people say of an image: its name, description and labels, in one transaction."""

from __future__ import annotations

import sqlalchemy as sa

from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.images import get_image, update_image
from clouddesktop.catalog.operations import (
    add_done_operation,
    find_earlier_operation,
)
from clouddesktop.iam.access import Caller
from clouddesktop.keeping.system_images import check_is_changeable
from clouddesktop.model.access import Resource
from clouddesktop.model.image import ImageChanges
from clouddesktop.model.operation import (
    IdempotencyKey,
    Operation,
    OperationKind,
)
from clouddesktop.model.roles import Permission

_DESCRIPTION = "Update desktop image"


class Updates:
    """Changes images."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def update(
        self,
        image_id: str,
        changes: ImageChanges,
        *,
        caller: Caller,
        idempotency: IdempotencyKey | None,
    ) -> Operation:
        """Change an image, whatever its status; the operation is done on return.

        Asked again with an idempotency key, it returns the first call's operation.

        Raises:
            NotFoundError: there is no such image, or none that the caller may see.
            SystemImageError: it belongs to the whole installation.
            PermissionDeniedError: the caller may not change it.
            AlreadyExistsError: its folder has another image of the new name.
            IdempotencyKeyReusedError: the key came with another request before.
        """
        return await self._database.awrite(_update, image_id, changes, caller, idempotency)


def _update(
    connection: sa.Connection,
    image_id: str,
    changes: ImageChanges,
    caller: Caller,
    idempotency: IdempotencyKey | None,
) -> Operation:
    earlier = find_earlier_operation(connection, subject_id=caller.id, idempotency=idempotency)
    if earlier is not None:
        return earlier
    image = get_image(connection, image_id)
    check_is_changeable(image)
    caller.require(Permission.IMAGES_UPDATE, Resource.of_image(image_id, image.folder_id))
    image = update_image(connection, image_id, changes)
    return add_done_operation(
        connection,
        kind=OperationKind.UPDATE_IMAGE,
        description=_DESCRIPTION,
        subject_id=caller.id,
        resource_id=image_id,
        folder_id=image.folder_id,
        result=image.to_record(),
        idempotency=idempotency,
    )
