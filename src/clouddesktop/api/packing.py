"""Operations as the API's messages, with the types that each kind's method names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import empty_pb2  # noqa: F401  (options name its type, nothing imports it)
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from yandex.cloud.api import operation_pb2 as options
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import DESCRIPTOR as IMAGES
from yandex.cloud.compute.v1.image_service_pb2 import DESCRIPTOR as COMPUTE_IMAGES
from yandex.cloud.iam.v1.key_service_pb2 import DESCRIPTOR as KEYS
from yandex.cloud.iam.v1.service_account_service_pb2 import DESCRIPTOR as ACCOUNTS
from yandex.cloud.operation import operation_pb2
from yandex.cloud.resourcemanager.v1.cloud_service_pb2 import DESCRIPTOR as CLOUDS
from yandex.cloud.resourcemanager.v1.folder_service_pb2 import DESCRIPTOR as FOLDERS

from clouddesktop.api.messages import (
    deltas_to_message,
    folder_to_message,
    image_to_message,
    imported_to_message,
    key_to_message,
    service_account_to_message,
    to_timestamp,
)
from clouddesktop.api.status import to_status
from clouddesktop.model.access import AuthorizedKey
from clouddesktop.model.compute import ImportedImage
from clouddesktop.model.folder import Folder
from clouddesktop.model.image import Image
from clouddesktop.model.operation import Operation, OperationKind
from clouddesktop.model.service_account import ServiceAccount

ToMessage = Callable[[Mapping[str, Any]], Message]
"""Makes the response of a record that an operation has kept."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How operations of one kind are packed: as its method's option says.

    `respond` is None where the response has nothing in it.
    """

    method: MethodDescriptor
    respond: ToMessage | None = None


def _image_of(record: Mapping[str, Any]) -> Message:
    return image_to_message(Image.from_record(record))


def _folder_of(record: Mapping[str, Any]) -> Message:
    return folder_to_message(Folder.from_record(record))


def _imported_of(record: Mapping[str, Any]) -> Message:
    return imported_to_message(ImportedImage.from_record(record))


def _account_of(record: Mapping[str, Any]) -> Message:
    return service_account_to_message(ServiceAccount.from_record(record))


def _key_of(record: Mapping[str, Any]) -> Message:
    return key_to_message(AuthorizedKey.from_record(record))


_ACCOUNT_METHODS = ACCOUNTS.services_by_name["ServiceAccountService"].methods_by_name
_KEY_METHODS = KEYS.services_by_name["KeyService"].methods_by_name
_COMPUTE_METHODS = COMPUTE_IMAGES.services_by_name["ImageService"].methods_by_name
_IMAGE_METHODS = IMAGES.services_by_name["DesktopImageService"].methods_by_name
_FOLDER_METHODS = FOLDERS.services_by_name["FolderService"].methods_by_name
_CLOUD_METHODS = CLOUDS.services_by_name["CloudService"].methods_by_name
_PACKINGS = {
    OperationKind.COPY_IMAGE: Packing(_IMAGE_METHODS["Copy"], _image_of),
    OperationKind.DELETE_IMAGE: Packing(_IMAGE_METHODS["Delete"]),
    OperationKind.UPDATE_IMAGE: Packing(_IMAGE_METHODS["Update"], _image_of),
    OperationKind.CREATE_FOLDER: Packing(_FOLDER_METHODS["Create"], _folder_of),
    OperationKind.UPDATE_FOLDER: Packing(_FOLDER_METHODS["Update"], _folder_of),
    OperationKind.DELETE_FOLDER: Packing(_FOLDER_METHODS["Delete"]),
    OperationKind.SET_FOLDER_BINDINGS: Packing(
        _FOLDER_METHODS["SetAccessBindings"], deltas_to_message
    ),
    OperationKind.UPDATE_FOLDER_BINDINGS: Packing(
        _FOLDER_METHODS["UpdateAccessBindings"], deltas_to_message
    ),
    OperationKind.CREATE_COMPUTE_IMAGE: Packing(_COMPUTE_METHODS["Create"], _imported_of),
    OperationKind.UPDATE_COMPUTE_IMAGE: Packing(_COMPUTE_METHODS["Update"], _imported_of),
    OperationKind.DELETE_COMPUTE_IMAGE: Packing(_COMPUTE_METHODS["Delete"]),
    OperationKind.SET_COMPUTE_IMAGE_BINDINGS: Packing(
        _COMPUTE_METHODS["SetAccessBindings"], deltas_to_message
    ),
    OperationKind.UPDATE_COMPUTE_IMAGE_BINDINGS: Packing(
        _COMPUTE_METHODS["UpdateAccessBindings"], deltas_to_message
    ),
    OperationKind.CREATE_SERVICE_ACCOUNT: Packing(_ACCOUNT_METHODS["Create"], _account_of),
    OperationKind.UPDATE_SERVICE_ACCOUNT: Packing(_ACCOUNT_METHODS["Update"], _account_of),
    OperationKind.DELETE_SERVICE_ACCOUNT: Packing(_ACCOUNT_METHODS["Delete"]),
    OperationKind.SET_SERVICE_ACCOUNT_BINDINGS: Packing(
        _ACCOUNT_METHODS["SetAccessBindings"], deltas_to_message
    ),
    OperationKind.UPDATE_SERVICE_ACCOUNT_BINDINGS: Packing(
        _ACCOUNT_METHODS["UpdateAccessBindings"], deltas_to_message
    ),
    OperationKind.UPDATE_KEY: Packing(_KEY_METHODS["Update"], _key_of),
    OperationKind.DELETE_KEY: Packing(_KEY_METHODS["Delete"]),
    OperationKind.SET_CLOUD_BINDINGS: Packing(
        _CLOUD_METHODS["SetAccessBindings"], deltas_to_message
    ),
    OperationKind.UPDATE_CLOUD_BINDINGS: Packing(
        _CLOUD_METHODS["UpdateAccessBindings"], deltas_to_message
    ),
}


@dataclass(frozen=True, slots=True)
class _Types:
    method: MethodDescriptor
    metadata: type[Message]
    response: type[Message]
    resource_field: str
    respond: ToMessage | None


class OperationPacker:
    """Packs operations as the `yandex.cloud.api.operation` option of each kind's method says."""

    def __init__(self, packings: Mapping[OperationKind, Packing] = _PACKINGS) -> None:
        """Look up the types of each kind's metadata and response.

        Raises:
            LookupError: an option names a type that does not exist.
        """
        self._types = {kind: _types_of(packing) for kind, packing in packings.items()}

    def method_of(self, kind: OperationKind) -> MethodDescriptor:
        """Find the method that starts operations of one kind."""
        return self._types[kind].method

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
            created_at=to_timestamp(operation.created_at),
            modified_at=to_timestamp(operation.modified_at),
        )
        message.metadata.Pack(types.metadata(**{types.resource_field: operation.resource_id}))
        if operation.failure is not None:
            message.error.CopyFrom(to_status(operation.failure, operation.id))
        elif operation.done:
            message.response.Pack(_response_of(operation, types), deterministic=True)
        return message


def _types_of(packing: Packing) -> _Types:
    method = packing.method
    option = method.GetOptions().Extensions[options.operation]
    metadata = _find_type(method, option.metadata)
    return _Types(
        method=method,
        metadata=GetMessageClass(metadata),
        response=GetMessageClass(_find_type(method, option.response)),
        resource_field=_find_resource_field(metadata),
        respond=packing.respond,
    )


def _find_resource_field(metadata: Descriptor) -> str:
    """Find the field that names the resource: in this API the first whose name says so."""
    for field in metadata.fields:
        if field.name.endswith("_id"):
            return field.name
    raise LookupError(f"{metadata.full_name} has no field for the resource's id.")


def _find_type(method: MethodDescriptor, name: str) -> Descriptor:
    """Find a type by its full name, or by its name in the service's package or one around it."""
    file = method.containing_service.file
    parts = file.package.split(".")
    packages = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    for full_name in (*(f"{package}.{name}" for package in packages), name):
        try:
            return file.pool.FindMessageTypeByName(full_name)
        except KeyError:
            continue
    raise LookupError(f"{method.full_name} names the type {name}, which does not exist.")


def _response_of(operation: Operation, types: _Types) -> Message:
    if types.respond is None:
        return types.response()
    if operation.result is None:
        raise AssertionError(f"The operation {operation.id} is done without a result.")
    return types.respond(operation.result)
