"""Changing and deleting imported compute images; those in sources are what their source says."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa

from clouddesktop.catalog.bindings import remove_all_bindings
from clouddesktop.catalog.compute_images import (
    delete_imported_image,
    find_imported_image,
    get_imported_image,
    update_imported_image,
)
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.operations import (
    add_done_operation,
    find_earlier_operation,
    find_running_operation,
)
from clouddesktop.errors import FailedPreconditionError
from clouddesktop.iam.access import Caller
from clouddesktop.keeping.deletion import ImageBeingMadeError
from clouddesktop.model.access import Resource
from clouddesktop.model.compute import ComputeImageChanges, ComputeImageStatus, ImportedImage
from clouddesktop.model.operation import IdempotencyKey, Operation, OperationKind
from clouddesktop.model.roles import Permission
from clouddesktop.source.catalogue import SourceCatalogue


class ComputeImageInSourceError(FailedPreconditionError):
    """The compute image is a file of a source, which is changed where it lies."""

    reason = "COMPUTE_IMAGE_IN_SOURCE"


class ComputeImages:
    """Changes compute images. Asked again with a key, each call returns its first answer."""

    def __init__(self, *, database: Database, sources: SourceCatalogue) -> None:
        self._database = database
        self._sources = sources

    async def update(
        self,
        image_id: str,
        changes: ComputeImageChanges,
        *,
        caller: Caller,
        idempotency: IdempotencyKey | None,
    ) -> Operation:
        """Change what people say of an image.

        Raises:
            NotFoundError: there is no such image, or none that the caller may see.
            PermissionDeniedError: the caller may not change it.
            ComputeImageInSourceError: it lies in a source.
            AlreadyExistsError: its folder has another one of the new name.
        """

        def change(connection: sa.Connection) -> Operation:
            earlier = _find_earlier(connection, caller, idempotency)
            if earlier is not None:
                return earlier
            image = _get(connection, image_id, Permission.COMPUTE_IMAGES_UPDATE, caller)
            changed = update_imported_image(connection, image, changes)
            return add_done_operation(
                connection,
                kind=OperationKind.UPDATE_COMPUTE_IMAGE,
                description="Update image",
                subject_id=caller.id,
                resource_id=image_id,
                folder_id=image.folder_id,
                result=changed.to_record(),
                idempotency=idempotency,
            )

        await self._refuse_in_source(image_id, Permission.COMPUTE_IMAGES_UPDATE, caller)
        return await self._database.awrite(change)

    async def delete(
        self, image_id: str, *, caller: Caller, idempotency: IdempotencyKey | None
    ) -> Operation:
        """Delete an image; desktop images that were copied from it stay.

        Raises:
            NotFoundError: there is no such image, or none that the caller may see.
            PermissionDeniedError: the caller may not delete it.
            ComputeImageInSourceError: it lies in a source.
            ImageBeingMadeError: it is being imported.
        """

        def change(connection: sa.Connection) -> Operation:
            earlier = _find_earlier(connection, caller, idempotency)
            if earlier is not None:
                return earlier
            image = _get(connection, image_id, Permission.COMPUTE_IMAGES_DELETE, caller)
            _check_made(connection, image)
            delete_imported_image(connection, image_id)
            resource = Resource.of_compute_image(image_id, image.folder_id)
            remove_all_bindings(connection, [resource])
            return add_done_operation(
                connection,
                kind=OperationKind.DELETE_COMPUTE_IMAGE,
                description="Delete image",
                subject_id=caller.id,
                resource_id=image_id,
                folder_id=image.folder_id,
                idempotency=idempotency,
            )

        await self._refuse_in_source(image_id, Permission.COMPUTE_IMAGES_DELETE, caller)
        return await self._database.awrite(change)

    async def _refuse_in_source(
        self, image_id: str, permission: Permission, caller: Caller
    ) -> None:
        """Say so if the image lies in a source; before the write, for finding out may take long."""
        if await self._database.aread(find_imported_image, image_id) is not None:
            return
        in_source = await asyncio.to_thread(self._sources.find_compute_image, image_id)
        if in_source is None:
            return
        caller.require(permission, Resource.of_compute_image(image_id, in_source.folder_id))
        raise ComputeImageInSourceError(
            f"The compute image {image_id} is the file {in_source.location} in the source "
            f"{in_source.source}.",
            remedy="Change or remove the file there.",
            facts={"resource_type": "Image", "resource_id": image_id, "source": in_source.source},
        )


def _get(
    connection: sa.Connection, image_id: str, permission: Permission, caller: Caller
) -> ImportedImage:
    image = get_imported_image(connection, image_id)
    caller.require(permission, Resource.of_compute_image(image_id, image.folder_id))
    return image


def _find_earlier(
    connection: sa.Connection, caller: Caller, idempotency: IdempotencyKey | None
) -> Operation | None:
    return find_earlier_operation(connection, subject_id=caller.id, idempotency=idempotency)


def _check_made(connection: sa.Connection, image: ImportedImage) -> None:
    if image.status is not ComputeImageStatus.CREATING:
        return
    operation_id = find_running_operation(connection, image.id)
    raise ImageBeingMadeError(
        f"Image {image.id} is being made by the operation {operation_id}.",
        remedy=f"Cancel it (`clouddesktop operation cancel {operation_id}`), which removes the"
        " image; or wait until it is done, then delete the image.",
        facts={
            "resource_type": "Image",
            "resource_id": image.id,
            "operation_id": operation_id or "",
        },
    )
