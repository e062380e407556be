"""From model values to the API's messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from yandex.cloud.api import operation_pb2 as options
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import DESCRIPTOR as IMAGES
from yandex.cloud.operation import operation_pb2

from clouddesktop.api.status import to_status
from clouddesktop.model.image import Image
from clouddesktop.model.operation import Operation, OperationKind

_IMAGE_METHODS = IMAGES.services_by_name["DesktopImageService"].methods_by_name
_METHODS = {
    OperationKind.COPY_IMAGE: _IMAGE_METHODS["Copy"],
    OperationKind.DELETE_IMAGE: _IMAGE_METHODS["Delete"],
    OperationKind.UPDATE_IMAGE: _IMAGE_METHODS["Update"],
}


def image_to_message(image: Image) -> DesktopImage:
    message = DesktopImage(
        id=image.id,
        folder_id=image.folder_id,
        status=DesktopImage.Status.ValueType(int(image.status)),
        name=image.name,
        labels=image.labels,
        storage_size=image.storage_size,
        min_disk_size=image.min_disk_size,
        description=image.description,
    )
    message.created_at.FromDatetime(image.created_at)
    return message


@dataclass(frozen=True, slots=True)
class _Types:
    metadata: type[Message]
    response: type[Message]


class OperationPacker:
    """Packs operations as the `yandex.cloud.api.operation` option of each kind's method says."""

    def __init__(self, methods: Mapping[OperationKind, MethodDescriptor] = _METHODS) -> None:
        """Look up the types of each kind's metadata and response.

        Raises:
            LookupError: an option names a type that does not exist.
        """
        self._types = {kind: _types_of(method) for kind, method in methods.items()}

    def pack(self, operation: Operation) -> operation_pb2.Operation:
        """Pack an operation as it is now.

        The request id in its error is its own id: that is what finds the error in the log, since
        the request that started it is long over.
        """
        types = self._types[operation.kind]
        message = operation_pb2.Operation(
            id=operation.id,
            description=operation.description,
            created_by=operation.created_by,
            done=operation.done,
        )
        message.created_at.FromDatetime(operation.created_at)
        message.modified_at.FromDatetime(operation.modified_at)
        message.metadata.Pack(_fill(types.metadata, {"image_id": operation.image_id}))
        if operation.failure is not None:
            message.error.CopyFrom(to_status(operation.failure, operation.id))
        elif operation.done:
            message.response.Pack(_response_of(operation, types.response))
        return message


def _types_of(method: MethodDescriptor) -> _Types:
    option = method.GetOptions().Extensions[options.operation]
    return _Types(
        metadata=GetMessageClass(_find_type(method, option.metadata)),
        response=GetMessageClass(_find_type(method, option.response)),
    )


def _find_type(method: MethodDescriptor, name: str) -> Descriptor:
    """Find a type by its full name, or by its name in the package of the method's service."""
    file = method.containing_service.file
    for full_name in (f"{file.package}.{name}", name):
        try:
            return file.pool.FindMessageTypeByName(full_name)
        except KeyError:
            continue
    raise LookupError(f"{method.full_name} names the type {name}, which does not exist.")


def _fill(message_class: type[Message], values: Mapping[str, Any]) -> Message:
    return message_class(
        **{name: values[name] for name in message_class.DESCRIPTOR.fields_by_name if name in values}
    )


def _response_of(operation: Operation, response_class: type[Message]) -> Message:
    if response_class is DesktopImage and operation.image is not None:
        return image_to_message(operation.image)
    if response_class is Empty:
        return Empty()
    raise AssertionError(f"The operation {operation.id} is done without a result.")
