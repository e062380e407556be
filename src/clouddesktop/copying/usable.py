"""Whether a caller may make something of an imported compute image, and whether it has content."""

from __future__ import annotations

from clouddesktop.errors import FailedPreconditionError
from clouddesktop.iam.access import Caller
from clouddesktop.model.access import Resource
from clouddesktop.model.compute import ComputeImageStatus, ImportedImage
from clouddesktop.model.roles import Permission


class ComputeImageNotReadyError(FailedPreconditionError):
    """The compute image is still being imported."""

    reason = "COMPUTE_IMAGE_NOT_READY"


def check_usable(image: ImportedImage, caller: Caller) -> None:
    """See that a caller may make something of an imported image, and that there is something.

    Raises:
        NotFoundError: the caller may not see it.
        PermissionDeniedError: the caller may not use it.
        ComputeImageNotReadyError: it has no content yet.
    """
    resource = Resource.of_compute_image(image.id, image.folder_id)
    caller.require(Permission.COMPUTE_IMAGES_USE, resource)
    if image.status is not ComputeImageStatus.READY or image.manifest is None:
        raise ComputeImageNotReadyError(
            f"The compute image {image.id} is {image.status.name}.",
            remedy="Wait until the operation that makes it is done.",
            facts={"resource_type": "Image", "resource_id": image.id},
        )
