"""Where a field's rules come from: its descriptor, or the documentation where that has none.

The compute API's published descriptors carry no rules; those below are what the comments in its
definition say of images (yandex/cloud/compute/v1/image_service.proto).
"""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.descriptor import FieldDescriptor, OneofDescriptor
from google.protobuf.descriptor_pb2 import FieldOptions
from yandex.cloud import validation_pb2 as options

_PACKAGE = "yandex.cloud.compute.v1"
_NAME = "|[a-z]([-_a-z0-9]{0,61}[a-z0-9])?"
_FAMILY = "|[a-z][-a-z0-9]{1,61}[a-z0-9]"
_DISK_SIZE = "0,4194304-4398046511104"


def _rules(
    *, required: bool = False, length: str = "", pattern: str = "", value: str = ""
) -> FieldOptions:
    rules = FieldOptions()
    if required:
        rules.Extensions[options.required] = True
    if length:
        rules.Extensions[options.length] = length
    if pattern:
        rules.Extensions[options.pattern] = pattern
    if value:
        rules.Extensions[options.value] = value
    return rules


def _label_rules() -> FieldOptions:
    rules = _rules(length="<=63", pattern=r"[-_./\\@0-9a-z]*")
    rules.Extensions[options.size] = "<=64"
    rules.Extensions[options.map_key].length = "1-63"
    rules.Extensions[options.map_key].pattern = r"[a-z][-_./\\@0-9a-z]*"
    return rules


_ID = _rules(required=True, length="<=50")
# The comment has no lower end; those of other services' lists are the rules that we serve.
_PAGE = {"page_size": _rules(value="0-1000"), "page_token": _rules(length="<=100")}

DOCUMENTED: Mapping[str, FieldOptions] = {
    f"{_PACKAGE}.{message}.{field}": rules
    for message, fields in {
        "GetImageRequest": {"image_id": _ID},
        "GetImageLatestByFamilyRequest": {
            "folder_id": _ID,
            "family": _rules(pattern=_FAMILY),
        },
        "ListImagesRequest": {
            "folder_id": _ID,
            **_PAGE,
            "filter": _rules(length="<=1000"),
            "order_by": _rules(length="<=100"),
        },
        "CreateImageRequest": {
            "folder_id": _ID,
            "name": _rules(pattern=_NAME),
            "description": _rules(length="<=256"),
            "labels": _label_rules(),
            "family": _rules(pattern=_FAMILY),
            "min_disk_size": _rules(value=_DISK_SIZE),
            "product_ids": _rules(length="<=50"),
            "image_id": _rules(length="<=50"),
            "disk_id": _rules(length="<=50"),
            "snapshot_id": _rules(length="<=50"),
            "uri": _rules(length="<=2048"),
        },
        "UpdateImageRequest": {
            "image_id": _ID,
            "name": _rules(pattern=_NAME),
            "description": _rules(length="<=256"),
            "min_disk_size": _rules(value=_DISK_SIZE),
            "labels": _label_rules(),
        },
        "DeleteImageRequest": {"image_id": _ID},
        "ListImageOperationsRequest": {"image_id": _ID, **_PAGE},
    }.items()
    for field, rules in fields.items()
}

_EXACTLY_ONE = frozenset({f"{_PACKAGE}.CreateImageRequest.source"})


def rules_of(field: FieldDescriptor) -> FieldOptions:
    """Give the options that hold a field's rules."""
    documented = DOCUMENTED.get(field.full_name)
    return field.GetOptions() if documented is None else documented


def is_exactly_one(oneof: OneofDescriptor) -> bool:
    """Tell whether one of the fields must be set."""
    return (
        bool(oneof.GetOptions().Extensions[options.exactly_one]) or oneof.full_name in _EXACTLY_ONE
    )
