"""ImageService of the compute API: the images that desktop images are copied from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from yandex.cloud.compute.v1 import image_pb2
from yandex.cloud.compute.v1 import image_service_pb2 as service
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.api.calls import Call
from clouddesktop.api.filters import parse_filter
from clouddesktop.api.idempotency import idempotency_of
from clouddesktop.api.masks import masked
from clouddesktop.api.messages import imported_to_message, source_image_to_message
from clouddesktop.api.operation_pages import operations_page
from clouddesktop.api.packing import OperationPacker
from clouddesktop.api.page_tokens import PageTokens
from clouddesktop.api.paging import page_size_of
from clouddesktop.catalog.compute_images import (
    find_imported_image,
    find_latest_of_family,
    list_imported_images,
)
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import get_folder
from clouddesktop.copying.importing import ImportRequest, ImportStarter
from clouddesktop.errors import NotFoundError, UnimplementedError
from clouddesktop.keeping.compute_images import ComputeImages
from clouddesktop.model.access import Resource
from clouddesktop.model.compute import ComputeImageChanges
from clouddesktop.model.roles import Permission
from clouddesktop.source.catalogue import SourceCatalogue

_UPDATABLE = ("name", "description", "labels", "min_disk_size")


class ComputeImageServicer:
    """Imports, reads, lists, changes and deletes compute images."""

    def __init__(
        self,
        *,
        database: Database,
        sources: SourceCatalogue,
        imports: ImportStarter,
        images: ComputeImages,
        operations: OperationPacker,
    ) -> None:
        self._database = database
        self._sources = sources
        self._imports = imports
        self._images = images
        self._operations = operations
        self._page_tokens = PageTokens(database=database)

    async def get(self, request: service.GetImageRequest, call: Call) -> image_pb2.Image:
        imported = await self._database.aread(find_imported_image, request.image_id)
        if imported is not None:
            resource = Resource.of_compute_image(imported.id, imported.folder_id)
            call.caller.require(Permission.COMPUTE_IMAGES_GET, resource)
            return imported_to_message(imported)
        found = await asyncio.to_thread(self._sources.get_compute_image, request.image_id)
        resource = Resource.of_compute_image(found.id, found.folder_id)
        call.caller.require(Permission.COMPUTE_IMAGES_GET, resource)
        return source_image_to_message(found)

    async def get_latest_by_family(
        self, request: service.GetImageLatestByFamilyRequest, call: Call
    ) -> image_pb2.Image:
        folder = Resource.of_folder(request.folder_id)
        call.caller.require(Permission.COMPUTE_IMAGES_GET, folder)
        await self._database.aread(get_folder, request.folder_id)
        found = await self._database.aread(find_latest_of_family, request.folder_id, request.family)
        if found is None:
            raise NotFoundError.of_resource("Image family", request.family)
        return imported_to_message(found)

    async def list_page(
        self, request: service.ListImagesRequest, call: Call
    ) -> service.ListImagesResponse:
        """List by id, imported images and those in sources together."""
        if request.order_by not in ("", "id", "id asc"):
            raise UnimplementedError(
                "The field order_by is not served: images come in the order of their ids.",
                remedy="Leave it out.",
                facts={"field": "order_by"},
            )
        conditions = parse_filter(request.filter)
        folder = Resource.of_folder(request.folder_id)
        call.caller.require(Permission.COMPUTE_IMAGES_LIST, folder)
        await self._database.aread(get_folder, request.folder_id)
        found = [
            each
            for each in await self._all_in(request.folder_id)
            if all(one.is_met(each.name) for one in conditions)
        ]
        after = await self._page_tokens.read(request, request.page_token)
        left = found if after is None else [each for each in found if each.id.encode() > after]
        page = service.ListImagesResponse(images=left[: page_size_of(request.page_size)])
        if len(page.images) < len(left):
            # Ids are files' names: one may be longer than a token.
            last_id = page.images[-1].id.encode()
            page.next_page_token = await self._page_tokens.make(request, last_id)
        return page

    async def _all_in(self, folder_id: str) -> Sequence[image_pb2.Image]:
        imported = await self._database.aread(list_imported_images, folder_id)
        in_sources = await asyncio.to_thread(list, self._sources.iter_compute_images())
        by_id = {
            each.id: source_image_to_message(each)
            for each in in_sources
            if each.folder_id == folder_id
        }
        by_id.update((each.id, imported_to_message(each)) for each in imported)
        return [by_id[image_id] for image_id in sorted(by_id)]

    async def create(self, request: service.CreateImageRequest, call: Call) -> Operation:
        kind = request.WhichOneof("source")
        if kind in ("disk_id", "snapshot_id"):
            raise UnimplementedError(
                f"The field {kind} is not served: this server has no disks and no snapshots.",
                remedy="Give a uri or an image_id.",
                facts={"field": kind},
            )
        operation = await self._imports.start(
            ImportRequest(
                folder_id=request.folder_id,
                name=request.name,
                description=request.description,
                labels=dict(request.labels),
                family=request.family,
                os_type=request.os.type,
                uri=request.uri,
                image_id=request.image_id,
            ),
            caller=call.caller,
            idempotency=idempotency_of(request, call),
        )
        return self._operations.pack(operation)

    async def update(self, request: service.UpdateImageRequest, call: Call) -> Operation:
        operation = await self._images.update(
            request.image_id,
            ComputeImageChanges(**masked(request, _UPDATABLE)),
            caller=call.caller,
            idempotency=idempotency_of(request, call),
        )
        return self._operations.pack(operation)

    async def delete(self, request: service.DeleteImageRequest, call: Call) -> Operation:
        operation = await self._images.delete(
            request.image_id, caller=call.caller, idempotency=idempotency_of(request, call)
        )
        return self._operations.pack(operation)

    async def list_operations(
        self, request: service.ListImageOperationsRequest, call: Call
    ) -> service.ListImageOperationsResponse:
        resource = await self.find_resource(request.image_id)
        call.caller.require(Permission.COMPUTE_IMAGES_GET, resource)
        return await operations_page(
            request,
            service.ListImageOperationsResponse,
            resource_id=request.image_id,
            database=self._database,
            operations=self._operations,
        )

    async def find_resource(self, image_id: str) -> Resource:
        """Find an image, imported or in a source, as what roles are bound on.

        Raises:
            NotFoundError: there is neither.
        """
        imported = await self._database.aread(find_imported_image, image_id)
        if imported is not None:
            return Resource.of_compute_image(image_id, imported.folder_id)
        found = await asyncio.to_thread(self._sources.get_compute_image, image_id)
        return Resource.of_compute_image(image_id, found.folder_id)
