"""DesktopImageService."""

from __future__ import annotations

from functools import partial
from typing import Any

from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageRequest,
    DeleteDesktopImageRequest,
    GetDesktopImageRequest,
    ListDesktopImagesRequest,
    ListDesktopImagesResponse,
    UpdateDesktopImageRequest,
)
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.api.calls import Call
from clouddesktop.api.filters import parse_filter
from clouddesktop.api.idempotency import idempotency_of
from clouddesktop.api.masks import masked
from clouddesktop.api.messages import fill_image, image_to_message
from clouddesktop.api.orders import parse_order
from clouddesktop.api.packing import OperationPacker
from clouddesktop.api.page_tokens import PageTokens
from clouddesktop.api.paging import DEFAULT_PAGE_SIZE, page_size_of
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import get_folder
from clouddesktop.catalog.image_lists import list_images
from clouddesktop.catalog.images import get_image_with_verification
from clouddesktop.copying.start import CopyRequest, CopyStarter
from clouddesktop.errors import FieldViolation, InvalidArgumentError
from clouddesktop.keeping.deletion import Deletions
from clouddesktop.keeping.updating import Updates
from clouddesktop.model.access import Resource
from clouddesktop.model.checksum import Checksum
from clouddesktop.model.image import Image, ImageChanges
from clouddesktop.model.listing import Position
from clouddesktop.model.operation import Priority
from clouddesktop.model.roles import Permission

VERIFIED_AT_KEY = "x-image-verified-at"
"""Trailing metadata of Get: when a scrub last found all of the image right, RFC 3339."""

CHECKSUM_KEY = "x-clouddesktop-checksum"
PRIORITY_KEY = "x-clouddesktop-priority"

_UPDATABLE = ("name", "description", "labels")

_MOST_PAGE_BYTES = 3 << 20
"""A page ends here, whatever was asked for: clients take 4 MiB in a message by default."""


class DesktopImageServicer:
    """Copies, reads, lists, changes and deletes desktop images."""

    def __init__(
        self,
        *,
        database: Database,
        copies: CopyStarter,
        deletions: Deletions,
        updates: Updates,
        operations: OperationPacker,
    ) -> None:
        self._database = database
        self._copies = copies
        self._deletions = deletions
        self._updates = updates
        self._operations = operations
        self._page_tokens = PageTokens(database=database)

    async def copy(self, request: CopyDesktopImageRequest, call: Call) -> Operation:
        operation = await self._copies.start(
            CopyRequest(
                folder_id=request.folder_id,
                name=request.name,
                compute_image_id=request.image_id,
                labels=dict(request.labels),
                description=request.description,
                checksum=_checksum_of(call),
                priority=_priority_of(call),
            ),
            caller=call.caller,
            idempotency=idempotency_of(request, call, call.find_metadata(CHECKSUM_KEY) or ""),
        )
        return self._operations.pack(operation)

    async def delete(self, request: DeleteDesktopImageRequest, call: Call) -> Operation:
        operation = await self._deletions.delete(
            request.image_id, caller=call.caller, idempotency=idempotency_of(request, call)
        )
        return self._operations.pack(operation)

    async def update(self, request: UpdateDesktopImageRequest, call: Call) -> Operation:
        operation = await self._updates.update(
            request.image_id,
            ImageChanges(**masked(request, _UPDATABLE)),
            caller=call.caller,
            idempotency=idempotency_of(request, call),
        )
        return self._operations.pack(operation)

    async def get(self, request: GetDesktopImageRequest, call: Call) -> DesktopImage:
        image, verified_at = await self._database.aread_few(
            get_image_with_verification, request.image_id
        )
        call.caller.require(Permission.IMAGES_GET, Resource.of_image(image.id, image.folder_id))
        if verified_at is not None:
            call.trailing[VERIFIED_AT_KEY] = verified_at.isoformat().replace("+00:00", "Z")
        return image_to_message(image)

    async def list_page(
        self, request: ListDesktopImagesRequest, call: Call
    ) -> ListDesktopImagesResponse:
        conditions, order = parse_filter(request.filter), parse_order(request.order_by)
        raw = await self._page_tokens.read(request, request.page_token)
        page_size = page_size_of(request.page_size)
        call.caller.require(Permission.IMAGES_LIST, Resource.of_folder(request.folder_id))
        # One more than asked for tells whether there is a next page.
        query = partial(
            _list_in_folder,
            folder_id=request.folder_id,
            page_size=page_size + 1,
            after=None if raw is None else Position.from_bytes(raw, order),
            conditions=conditions,
            order=order,
        )
        # A page is found by an index; a filter may have to look at all of the folder.
        is_short = not conditions and page_size <= DEFAULT_PAGE_SIZE
        read = self._database.aread_few if is_short else self._database.aread
        images = await read(query)
        page = _to_page(images, page_size=page_size)
        if len(page.desktop_images) < len(images):
            last = images[len(page.desktop_images) - 1]
            position = Position.of_image(last, order).to_bytes()
            page.next_page_token = await self._page_tokens.make(request, position)
        return page


def _list_in_folder(connection: Any, /, folder_id: str, **options: Any) -> list[Image]:
    """Tell an empty folder from one that does not exist, in one transaction."""
    get_folder(connection, folder_id)
    return list_images(connection, folder_id=folder_id, **options)


def _to_page(images: list[Image], *, page_size: int) -> ListDesktopImagesResponse:
    page = ListDesktopImagesResponse()
    page_bytes = 0
    for image in images[:page_size]:
        page_bytes += fill_image(page.desktop_images.add(), image).ByteSize()
        if page_bytes > _MOST_PAGE_BYTES and len(page.desktop_images) > 1:
            page.desktop_images.pop()
            break
    return page


def _checksum_of(call: Call) -> Checksum | None:
    """Read the metadata `x-clouddesktop-checksum`, an addition of ours to the public API."""
    text = call.find_metadata(CHECKSUM_KEY)
    if text is None:
        return None
    try:
        return Checksum.parse(text)
    except ValueError as error:
        violation = FieldViolation(field=CHECKSUM_KEY, description=str(error))
        raise InvalidArgumentError.of_fields([violation]) from error


def _priority_of(call: Call) -> Priority:
    """Read the metadata `x-clouddesktop-priority`, an addition of ours to the public API."""
    text = call.find_metadata(PRIORITY_KEY) or "normal"
    try:
        return Priority[text.upper()]
    except KeyError:
        known = ", ".join(each.name.lower() for each in Priority)
        violation = FieldViolation(field=PRIORITY_KEY, description=f"{text!r} is none of {known}.")
        raise InvalidArgumentError.of_fields([violation]) from None
