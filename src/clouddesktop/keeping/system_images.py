"""System images: made of a folder's image, seen by everybody, and changed by nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import sqlalchemy as sa

from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.images import add_image, delete_image, get_image
from clouddesktop.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    PermissionDeniedError,
)
from clouddesktop.iam.access import Caller
from clouddesktop.ids import Prefix, new_id
from clouddesktop.model.access import Resource
from clouddesktop.model.folder import SYSTEM_FOLDER_ID
from clouddesktop.model.image import Image, ImageStatus
from clouddesktop.model.roles import Permission


class SystemImageError(PermissionDeniedError):
    """The image belongs to the whole installation: no role lets anybody change it."""

    reason = "SYSTEM_IMAGE"


class ImageNotReadyToPublishError(FailedPreconditionError):
    """The image has no content yet that could be published."""

    reason = "IMAGE_NOT_READY_TO_PUBLISH"


class NotASystemImageError(FailedPreconditionError):
    """The image belongs to a folder."""

    reason = "NOT_A_SYSTEM_IMAGE"


def check_is_changeable(image: Image) -> None:
    """See that an image belongs to a folder.

    Raises:
        SystemImageError: it belongs to the whole installation.
    """
    if image.is_system:
        raise SystemImageError(
            f"Image {image.id} is a system image, which is neither changed nor deleted.",
            remedy="An administrator can withdraw it (`clouddesktop image withdraw`), and publish"
            " another one.",
            facts={"resource_type": "Image", "resource_id": image.id},
        )


class SystemImages:
    """Publishes and withdraws system images, on behalf of callers who manage them.

    `cloud` is where the right to do that is given.
    """

    def __init__(self, *, database: Database, cloud: Resource) -> None:
        self._database = database
        self._cloud = cloud

    async def publish(self, image_id: str, *, name: str = "", caller: Caller) -> Image:
        """Make a system image with the content and the texts of a folder's image, which stays.

        It has its own id, and the same name if none is given. No byte is copied. A second call
        makes another one, so it fails for its name.

        Raises:
            NotFoundError: there is no such image, or none that the caller may see.
            PermissionDeniedError: the caller may not manage system images, or not read this one.
            ImageNotReadyToPublishError: the image is not ACTIVE.
            AlreadyExistsError: it is a system image, or there is one of the name.
        """
        caller.require(Permission.SYSTEM_IMAGES_MANAGE, self._cloud)
        return await self._database.awrite(_publish, image_id, name, caller)

    async def withdraw(self, image_id: str, *, caller: Caller) -> Image:
        """Remove a system image; what only it needed in the store is collected later.

        Raises:
            NotFoundError: there is no such image, or none that the caller may see.
            PermissionDeniedError: the caller may not manage system images.
            NotASystemImageError: it belongs to a folder.
        """
        caller.require(Permission.SYSTEM_IMAGES_MANAGE, self._cloud)
        return await self._database.awrite(_withdraw, image_id, caller)


def _publish(connection: sa.Connection, image_id: str, name: str, caller: Caller) -> Image:
    image = get_image(connection, image_id)
    caller.require(Permission.IMAGES_EXPORT, Resource.of_image(image_id, image.folder_id))
    if image.is_system:
        raise AlreadyExistsError(
            f"Image {image_id} is a system image already",
            remedy="Publish an image of a folder.",
            facts={"resource_type": "Image", "resource_id": image_id},
        )
    if image.status is not ImageStatus.ACTIVE:
        raise ImageNotReadyToPublishError(
            f"Image {image_id} is {image.status.name} and cannot be published.",
            remedy="Wait until its operation is done.",
            facts={"resource_type": "Image", "resource_id": image_id},
        )
    published = replace(
        image,
        id=new_id(Prefix.IMAGE),
        folder_id=SYSTEM_FOLDER_ID,
        name=name or image.name,
        created_at=datetime.now(tz=UTC),
    )
    add_image(connection, published)
    return published


def _withdraw(connection: sa.Connection, image_id: str, caller: Caller) -> Image:
    image = get_image(connection, image_id)
    if not image.is_system:
        caller.require(Permission.IMAGES_GET, Resource.of_image(image_id, image.folder_id))
        raise NotASystemImageError(
            f"Image {image_id} is no system image: it belongs to the folder {image.folder_id}.",
            remedy="`clouddesktop image delete` removes it.",
            facts={"resource_type": "Image", "resource_id": image_id},
        )
    delete_image(connection, image_id)
    return image
