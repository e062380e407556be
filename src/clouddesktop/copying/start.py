"""Accepting copies: from a request to the image that is to be made, and of what."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import sqlalchemy as sa

from clouddesktop.catalog.compute_images import find_imported_image, get_imported_content
from clouddesktop.catalog.contents import find_known_content
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import get_folder
from clouddesktop.catalog.images import add_image
from clouddesktop.catalog.operations import (
    find_earlier_operation,
)
from clouddesktop.catalog.quotas import check_quotas
from clouddesktop.copying.accepting import Making, Origin, accept
from clouddesktop.copying.usable import check_usable
from clouddesktop.errors import InvalidArgumentError
from clouddesktop.iam.access import Caller
from clouddesktop.ids import Prefix, new_id
from clouddesktop.model.access import Resource
from clouddesktop.model.checksum import Checksum
from clouddesktop.model.compute import ImportedImage
from clouddesktop.model.image import ComputeImage, Image, ImageStatus
from clouddesktop.model.operation import (
    IdempotencyKey,
    Operation,
    OperationKind,
    Priority,
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
    `priority` counts among the copies that wait in the folder.
    """

    folder_id: str
    name: str
    compute_image_id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    checksum: Checksum | None = None
    priority: Priority = Priority.NORMAL


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
        earlier, imported = await self._database.aread_few(
            _look_up, request, subject_id=caller.id, idempotency=idempotency
        )
        if earlier is not None:
            return earlier
        caller.require(Permission.IMAGES_CREATE, Resource.of_folder(request.folder_id))
        if imported is not None:
            origin = _origin_of_imported(imported, request, caller)
        else:
            origin = await asyncio.to_thread(self._find_origin, request, caller)
        making = _making_of(request, origin, caller, idempotency)
        return await self._database.awrite(accept, making, self._queue)

    def _find_origin(self, request: CopyRequest, caller: Caller) -> Origin:
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
        return Origin(find_content, compute_image, checksum)


def _origin_of_imported(imported: ImportedImage, request: CopyRequest, caller: Caller) -> Origin:
    check_usable(imported, caller)
    if request.checksum is not None:
        raise InvalidArgumentError(
            f"The compute image {imported.id} was imported: there is no file to compare with a"
            " checksum any more.",
            remedy="Leave the checksum out.",
        )
    image = ComputeImage(id=imported.id, folder_id=imported.folder_id, source="", location="")
    return Origin(partial(get_imported_content, image_id=imported.id), image)


def _look_up(
    connection: sa.Connection,
    request: CopyRequest,
    *,
    subject_id: str,
    idempotency: IdempotencyKey | None,
) -> tuple[Operation | None, ImportedImage | None]:
    """Find what an earlier request has started, or the image to copy, if it was imported.

    Raises:
        NotFoundError: this is the first request, and its folder is not there.
    """
    earlier = find_earlier_operation(connection, subject_id=subject_id, idempotency=idempotency)
    if earlier is not None:
        return earlier, None
    get_folder(connection, request.folder_id)
    return None, find_imported_image(connection, request.compute_image_id)


def _making_of(
    request: CopyRequest, origin: Origin, caller: Caller, idempotency: IdempotencyKey | None
) -> Making[Image]:
    return Making(
        image=Image(
            id=new_id(Prefix.IMAGE),
            folder_id=request.folder_id,
            name=request.name,
            description=request.description,
            labels=request.labels,
            status=ImageStatus.CREATING,
            created_at=datetime.now(tz=UTC),
        ),
        ready=ImageStatus.ACTIVE,
        origin=origin,
        kind=OperationKind.COPY_IMAGE,
        description=_DESCRIPTION,
        subject_id=caller.id,
        idempotency=idempotency,
        add=_add,
        priority=request.priority,
    )


def _add(connection: sa.Connection, image: Image) -> None:
    add_image(connection, image)
    # What is not known yet has its size checked when the plan is made.
    added = {QuotaId.IMAGES_COUNT: 1, QuotaId.IMAGES_SIZE: image.storage_size}
    check_quotas(connection, image.folder_id, added)
