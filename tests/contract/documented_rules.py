"""Rules that the public API documents in words only: its descriptors do not carry them.

By a field's full name, in the form in which other descriptors carry theirs.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FieldOptions
from yandex.cloud import validation_pb2 as options

_IMAGES = "yandex.cloud.compute.v1"
_NAME = "|[a-z]([-_a-z0-9]{0,61}[a-z0-9])?"


def _rules(**values: Any) -> FieldOptions:
    """Write rules as a descriptor would have them."""
    rules = FieldOptions()
    for name, value in values.items():
        if name == "map_key":
            rules.Extensions[options.map_key].CopyFrom(value)
        else:
            rules.Extensions[getattr(options, name)] = value
    return rules


_LABELS = _rules(
    size="<=64",
    length="<=63",
    pattern=r"[-_./\\@0-9a-z]*",
    map_key=options.MapKeySpec(length="1-63", pattern=r"[a-z][-_./\\@0-9a-z]*"),
)
_REQUIRED_ID, _ID = _rules(required=True, length="<=50"), _rules(length="<=50")
_FAMILY = _rules(pattern="|[a-z][-a-z0-9]{1,61}[a-z0-9]")
_DISK_SIZE = _rules(value="4194304-4398046511104")
_PAGE = {
    # It says "less than or equal to 1000"; other services say from 0, and fewer than none is none.
    "page_size": _rules(value="0-1000"),
    "page_token": _rules(length="<=100"),
}
_CHANGED = {
    "name": _rules(pattern=_NAME),
    "description": _rules(length="<=256"),
    "labels": _LABELS,
    "min_disk_size": _DISK_SIZE,
}

RULES: dict[str, FieldOptions] = {
    f"{_IMAGES}.{message}.{field}": rules
    for message, fields in {
        "GetImageRequest": {"image_id": _REQUIRED_ID},
        "GetImageLatestByFamilyRequest": {"folder_id": _REQUIRED_ID, "family": _FAMILY},
        "ListImagesRequest": {
            "folder_id": _REQUIRED_ID,
            **_PAGE,
            "filter": _rules(length="<=1000"),
            "order_by": _rules(length="<=100"),
        },
        "CreateImageRequest": {
            "folder_id": _REQUIRED_ID,
            **_CHANGED,
            "family": _FAMILY,
            "product_ids": _ID,
            "image_id": _ID,
            "disk_id": _ID,
            "snapshot_id": _ID,
        },
        "UpdateImageRequest": {"image_id": _REQUIRED_ID, **_CHANGED},
        "DeleteImageRequest": {"image_id": _REQUIRED_ID},
        "ListImageOperationsRequest": {"image_id": _REQUIRED_ID, **_PAGE},
    }.items()
    for field, rules in fields.items()
}
"""What the comments in yandex/cloud/compute/v1/image_service.proto say."""

EXACTLY_ONE = {f"{_IMAGES}.CreateImageRequest.source"}
"""Oneofs of which a field must be set."""
