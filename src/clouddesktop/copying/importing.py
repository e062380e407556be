"""Accepting imports: compute images made of a file at a URL, or of another compute image."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

from clouddesktop.catalog.compute_images import (
    add_imported_image,
    find_imported_image,
    get_imported_content,
)
from clouddesktop.catalog.contents import find_known_content
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import get_folder
from clouddesktop.catalog.operations import (
    find_earlier_operation,
)
from clouddesktop.copying.accepting import Making, Origin, accept
from clouddesktop.copying.usable import check_usable
from clouddesktop.errors import FieldViolation, InvalidArgumentError
from clouddesktop.iam.access import Caller
from clouddesktop.ids import Prefix, new_id
from clouddesktop.model.access import Resource
from clouddesktop.model.compute import ComputeImageStatus, ImportedImage
from clouddesktop.model.image import ComputeImage
from clouddesktop.model.operation import (
    IdempotencyKey,
    Operation,
    OperationKind,
)
from clouddesktop.model.roles import Permission
from clouddesktop.source.catalogue import SourceCatalogue
from clouddesktop.source.uploads import Uploads
from clouddesktop.source.uri import URI_SOURCE, check_uri
from clouddesktop.workflow.queue import WorkflowQueue

_DESCRIPTION = "Create image"
_IN_SOURCES = ("file:", "s3:")
_UPLOAD = re.compile(rf"/upload/v1/files/({Prefix.UPLOAD}[a-z0-9]{{17}})\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """The compute image to make, and what of: `uri` or `image_id`."""

    folder_id: str
    name: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    family: str = ""
    os_type: int = 0
    uri: str = ""
    image_id: str = ""


class ImportStarter:
    """Accepts imports; the copy's workflow does them."""

    def __init__(
        self,
        *,
        database: Database,
        sources: SourceCatalogue,
        uploads: Uploads,
        queue: WorkflowQueue,
    ) -> None:
        self._database = database
        self._sources = sources
        self._uploads = uploads
        self._queue = queue

    async def start(
        self, request: ImportRequest, *, caller: Caller, idempotency: IdempotencyKey | None
    ) -> Operation:
        """Accept an import; the image exists on return, READY if the store has its content.

        Asked again with an idempotency key, it returns the first call's operation as it is now.

        Raises:
            NotFoundError: the folder or the other image does not exist, or not for the caller.
            PermissionDeniedError: the caller may not make images there, or not use the other one.
            InvalidArgumentError: the URI is none that anything is fetched from.
            AlreadyExistsError: the folder has a compute image of this name.
            ComputeImageNotReadyError: the other image has no content yet.
        """
        return await asyncio.to_thread(self._start, request, caller, idempotency)

    def _start(
        self, request: ImportRequest, caller: Caller, idempotency: IdempotencyKey | None
    ) -> Operation:
        earlier = self._database.read(
            find_earlier_operation, subject_id=caller.id, idempotency=idempotency
        )
        if earlier is not None:
            return earlier
        self._database.read(get_folder, request.folder_id)
        caller.require(Permission.COMPUTE_IMAGES_CREATE, Resource.of_folder(request.folder_id))
        making = _making_of(request, self._find_origin(request, caller), caller, idempotency)
        return self._database.write(accept, making, self._queue)

    def _find_origin(self, request: ImportRequest, caller: Caller) -> Origin:
        upload_id = _find_upload_id(request.uri)
        if upload_id:
            # Its own server's: whatever name the URL has for that.
            upload = self._uploads.get(upload_id, owner=caller.id)
            return Origin(lambda _: None, self._uploads.to_compute_image(upload))
        if request.uri and not request.uri.startswith(_IN_SOURCES):
            check_uri(request.uri)
            image = ComputeImage(
                id="", folder_id=request.folder_id, source=URI_SOURCE, location=request.uri
            )
            return Origin(lambda _: None, image)  # found out when it is fetched
        if request.uri:
            return self._use(self._find_in_sources(request.uri), caller)
        imported = self._database.read(find_imported_image, request.image_id)
        if imported is None:
            return self._use(self._sources.get_compute_image(request.image_id), caller)
        check_usable(imported, caller)
        return Origin(partial(get_imported_content, image_id=imported.id))

    def _use(self, image: ComputeImage, caller: Caller) -> Origin:
        resource = Resource.of_compute_image(image.id, image.folder_id)
        caller.require(Permission.COMPUTE_IMAGES_USE, resource)
        fingerprint = self._sources.fingerprint(image).to_text()
        find_content = partial(find_known_content, compute_image=image, fingerprint=fingerprint)
        return Origin(find_content, image)

    def _find_in_sources(self, uri: str) -> ComputeImage:
        image = self._sources.find_at(uri)
        if image is None:
            description = "There is no such file in a source of this server"
            raise InvalidArgumentError.of_fields(
                [FieldViolation(field="uri", description=description)]
            )
        return image


def _find_upload_id(uri: str) -> str:
    """Give the id of the upload that a URL is the Location of; empty if it is of none."""
    found = _UPLOAD.search(urlsplit(uri).path)
    return "" if found is None else found[1]


def _making_of(
    request: ImportRequest, origin: Origin, caller: Caller, idempotency: IdempotencyKey | None
) -> Making[ImportedImage]:
    return Making(
        image=ImportedImage(
            id=new_id(Prefix.COMPUTE_IMAGE),
            folder_id=request.folder_id,
            name=request.name,
            description=request.description,
            labels=request.labels,
            family=request.family,
            os_type=request.os_type,
            status=ComputeImageStatus.CREATING,
            created_at=datetime.now(tz=UTC),
        ),
        ready=ComputeImageStatus.READY,
        origin=origin,
        kind=OperationKind.CREATE_COMPUTE_IMAGE,
        description=_DESCRIPTION,
        subject_id=caller.id,
        idempotency=idempotency,
        add=add_imported_image,
    )
