"""What copies and imports make: the same content, in rows of different tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from clouddesktop.catalog.compute_images import get_imported_image
from clouddesktop.catalog.images import get_image
from clouddesktop.catalog.tables import compute_images, images
from clouddesktop.model.operation import OperationKind

TARGETS: Mapping[OperationKind, sa.Table] = {
    OperationKind.COPY_IMAGE: images,
    OperationKind.CREATE_COMPUTE_IMAGE: compute_images,
}
"""The table of what an operation of each kind makes; their columns of content are the same."""


def get_record(connection: sa.Connection, kind: OperationKind, resource_id: str) -> dict[str, Any]:
    """Give the record of what an operation has made, for its result."""
    if kind is OperationKind.COPY_IMAGE:
        return get_image(connection, resource_id).to_record()
    return get_imported_image(connection, resource_id).to_record()
