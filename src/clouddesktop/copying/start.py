"""Accepting a copy: known content at once, new content as a workflow, each in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

import sqlalchemy as sa

from clouddesktop.catalog.compute_images import find_imported_image, get_imported_content
from clouddesktop.catalog.contents import KnownContent, find_known_content
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import get_folder
from clouddesktop.catalog.images import add_image
from clouddesktop.catalog.operations import (
    add_operation,
    find_earlier_operation,
    remember_request,
)
from clouddesktop.catalog.quotas import check_quotas
from clouddesktop.copying.usable import check_usable
from clouddesktop.copying.workflow import COPY_IMAGE
from clouddesktop.errors import InvalidArgumentError
from clouddesktop.iam.access import Caller
from clouddesktop.ids import Prefix, new_id
from clouddesktop.model.access import Resource
from clouddesktop.model.checksum import Checksum
from clouddesktop.model.compute import ImportedImage
from clouddesktop.model.image import ComputeImage, Image, ImageStatus, min_disk_size_of
from clouddesktop.model.operation import (
    IdempotencyKey,
    Operation,
    OperationKind,
    Phase,
    Progress,
)
from clouddesktop.model.quota import QuotaId
from clouddesktop.model.roles import Permission
from clouddesktop.source.catalogue import SourceCatalogue
from clouddesktop.workflow.queue import WorkflowQueue

_DESCRIPTION = "Copy desktop image"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRequest:
    """What to copy (`compute_image_id`), and the folder, name and text of the image to make.

    `checksum` is what the file's bytes should come to; without it, the source may know one.
    """

    folder_id: str
    name: str
    compute_image_id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True)
class _Origin:
    """What a copy is made of; `find_content` finds it in the store, if it is there."""

    compute_image: ComputeImage
    find_content: Callable[[sa.Connection], KnownContent | None]
    checksum: Checksum | None = None


class CopyStarter:
    """Accepts copies."""

    def __init__(
        self, *, database: Database, sources: SourceCatalogue, queue: WorkflowQueue
    ) -> None:
        self._database = database
        self._sources = sources
        self._queue = queue

    async def start(
        self, request: CopyRequest, *, caller: Caller, idempotency: IdempotencyKey | None
    ) -> Operation:
        """Accept a copy; the image exists on return, ACTIVE if the store knew its content.

        Asked again with an idempotency key, it returns the first call's operation as it is now.

        Raises:
            NotFoundError: the folder or the compute image does not exist, or not for the caller.
            PermissionDeniedError: the caller may not make images there, or not use this one.
            AlreadyExistsError: the folder has an image of this name.
            QuotaExceededError: the folder's cloud has as many images, or bytes, as it may.
            IdempotencyKeyReusedError: the key came with another request before.
        """
        earlier = await self._database.aread_few(
            _look_up, request.folder_id, subject_id=caller.id, idempotency=idempotency
        )
        if earlier is not None:
            return earlier
        caller.require(Permission.IMAGES_CREATE, Resource.of_folder(request.folder_id))
        imported = await self._database.aread_few(find_imported_image, request.compute_image_id)
        if imported is not None:
            origin = _origin_of_imported(imported, request, caller)
        else:
            origin = await asyncio.to_thread(self._find_origin, request, caller)
        return await self._database.awrite(self._accept, request, caller, idempotency, origin)

    def _find_origin(self, request: CopyRequest, caller: Caller) -> _Origin:
        compute_image = self._sources.get_compute_image(request.compute_image_id)
        caller.require(
            Permission.COMPUTE_IMAGES_USE,
            Resource.of_compute_image(compute_image.id, compute_image.folder_id),
        )
        fingerprint = self._sources.fingerprint(compute_image).to_text()
        checksum = request.checksum or self._sources.find_checksum(compute_image)
        find_content = partial(
            find_known_content,
            compute_image=compute_image,
            fingerprint=fingerprint,
            checksum=checksum,
        )
        return _Origin(compute_image, find_content, checksum)

    def _accept(
        self,
        connection: sa.Connection,
        request: CopyRequest,
        caller: Caller,
        idempotency: IdempotencyKey | None,
        origin: _Origin,
    ) -> Operation:
        earlier = find_earlier_operation(connection, subject_id=caller.id, idempotency=idempotency)
        if earlier is not None:
            return earlier
        image, operation = _new_copy(request, caller)
        known = origin.find_content(connection)
        if known is not None:
            image, operation = _already_done(image, operation, known)
        add_image(connection, image)
        # What is not known yet has its size checked when the plan is made.
        added = {QuotaId.IMAGES_COUNT: 1, QuotaId.IMAGES_SIZE: image.storage_size}
        check_quotas(connection, request.folder_id, added)
        workflow_id = None if known is not None else f"{operation.id}-1"
        if workflow_id is not None:
            self._queue.enqueue(
                connection,
                COPY_IMAGE,
                operation.id,
                workflow_id=workflow_id,
                partition=request.folder_id,
            )
        add_operation(
            connection,
            operation,
            compute_image=origin.compute_image,
            checksum=origin.checksum,
            workflow_id=workflow_id,
        )
        remember_request(connection, operation, idempotency=idempotency)
        return operation


def _origin_of_imported(imported: ImportedImage, request: CopyRequest, caller: Caller) -> _Origin:
    check_usable(imported, caller)
    if request.checksum is not None:
        raise InvalidArgumentError(
            f"The compute image {imported.id} was imported: there is no file to compare with a"
            " checksum any more.",
            remedy="Leave the checksum out.",
        )
    image = ComputeImage(id=imported.id, folder_id=imported.folder_id, source="", location="")
    return _Origin(image, partial(get_imported_content, image_id=imported.id))


def _look_up(
    connection: sa.Connection,
    folder_id: str,
    *,
    subject_id: str,
    idempotency: IdempotencyKey | None,
) -> Operation | None:
    """Find what an earlier request has started; if there was none, the folder must be there."""
    earlier = find_earlier_operation(connection, subject_id=subject_id, idempotency=idempotency)
    if earlier is None:
        get_folder(connection, folder_id)
    return earlier


def _new_copy(request: CopyRequest, caller: Caller) -> tuple[Image, Operation]:
    now = datetime.now(tz=UTC)
    image = Image(
        id=new_id(Prefix.IMAGE),
        folder_id=request.folder_id,
        name=request.name,
        description=request.description,
        labels=request.labels,
        status=ImageStatus.CREATING,
        created_at=now,
    )
    operation = Operation(
        id=new_id(Prefix.OPERATION),
        kind=OperationKind.COPY_IMAGE,
        description=_DESCRIPTION,
        created_at=now,
        created_by=caller.id,
        modified_at=now,
        done=False,
        resource_id=image.id,
        folder_id=image.folder_id,
    )
    return image, operation


def _already_done(
    image: Image, operation: Operation, known: KnownContent
) -> tuple[Image, Operation]:
    image = replace(
        image,
        status=ImageStatus.ACTIVE,
        manifest=known.manifest,
        storage_size=known.storage_size,
        min_disk_size=min_disk_size_of(known.disk_size),
    )
    return image, replace(
        operation, done=True, result=image.to_record(), progress=Progress(phase=Phase.DONE)
    )
