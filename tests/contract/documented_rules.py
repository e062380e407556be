"""Rules that the public API documents in words only: its descriptors do not carry them.

By a field's full name, in the form in which other descriptors carry theirs; from the reference of
the Compute API, for the parts of it that are served.
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
    pattern="[-_0-9a-z]*",
    map_key=options.MapKeySpec(length="1-63", pattern="[a-z][-_0-9a-z]*"),
)

RULES: dict[str, FieldOptions] = {
    f"{_IMAGES}.CreateImageRequest.folder_id": _rules(required=True, length="<=50"),
    f"{_IMAGES}.CreateImageRequest.name": _rules(pattern=_NAME),
    f"{_IMAGES}.CreateImageRequest.description": _rules(length="<=256"),
    f"{_IMAGES}.CreateImageRequest.labels": _LABELS,
    f"{_IMAGES}.GetImageRequest.image_id": _rules(required=True, length="<=50"),
    f"{_IMAGES}.DeleteImageRequest.image_id": _rules(required=True, length="<=50"),
}

EXACTLY_ONE = {f"{_IMAGES}.CreateImageRequest.source"}
"""Oneofs of which a field must be set."""
