"""From model values to the API's messages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from yandex.cloud.access import access_pb2
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.compute.v1 import image_pb2
from yandex.cloud.iam.v1 import key_pb2, service_account_pb2
from yandex.cloud.resourcemanager.v1 import folder_pb2

from clouddesktop.model.access import AccessBinding, AuthorizedKey
from clouddesktop.model.compute import ImportedImage
from clouddesktop.model.folder import Folder
from clouddesktop.model.image import ComputeImage, Image
from clouddesktop.model.service_account import ServiceAccount

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS = 86400


def to_timestamp(instant: datetime) -> Timestamp:
    return _fill_timestamp(Timestamp(), instant)


def _fill_timestamp(message: Timestamp, instant: datetime) -> Timestamp:
    """Do as `Timestamp.FromDatetime`, which takes four times as long."""
    since = instant - _EPOCH
    message.seconds = since.days * _DAY_SECONDS + since.seconds
    message.nanos = since.microseconds * 1000
    return message


def image_to_message(image: Image) -> DesktopImage:
    return fill_image(DesktopImage(), image)


def fill_image(message: DesktopImage, image: Image) -> DesktopImage:
    """Fill an empty message, such as a list has just added: nothing is copied, as `append` does."""
    message.id = image.id
    message.folder_id = image.folder_id
    message.status = DesktopImage.Status.ValueType(int(image.status))
    message.name = image.name
    message.labels.update(image.labels)
    message.storage_size = image.storage_size
    message.min_disk_size = image.min_disk_size
    message.description = image.description
    _fill_timestamp(message.created_at, image.created_at)
    return message


def folder_to_message(folder: Folder) -> folder_pb2.Folder:
    message = folder_pb2.Folder(
        id=folder.id,
        cloud_id=folder.cloud_id,
        name=folder.name,
        description=folder.description,
        labels=folder.labels,
        status=folder_pb2.Folder.ACTIVE,
    )
    message.created_at.FromDatetime(folder.created_at)
    return message


def imported_to_message(image: ImportedImage) -> image_pb2.Image:
    message = image_pb2.Image(
        id=image.id,
        folder_id=image.folder_id,
        name=image.name,
        description=image.description,
        labels=image.labels,
        family=image.family,
        storage_size=image.storage_size,
        min_disk_size=image.min_disk_size,
        status=image_pb2.Image.Status.ValueType(int(image.status)),
    )
    message.created_at.FromDatetime(image.created_at)
    if image.os_type:
        message.os.type = image_pb2.Os.Type.ValueType(image.os_type)
    return message


def source_image_to_message(image: ComputeImage) -> image_pb2.Image:
    """Tell what is known of a file without opening it: its sizes are not."""
    return image_pb2.Image(
        id=image.id,
        folder_id=image.folder_id,
        name=image.id,
        description=f"{image.location} in the source {image.source}",
        status=image_pb2.Image.READY,
    )


def service_account_to_message(account: ServiceAccount) -> service_account_pb2.ServiceAccount:
    message = service_account_pb2.ServiceAccount(
        id=account.id,
        folder_id=account.folder_id,
        name=account.name,
        description=account.description,
        labels=account.labels,
        status=service_account_pb2.ServiceAccount.ACTIVE,
    )
    message.created_at.FromDatetime(account.created_at)
    return message


def key_to_message(key: AuthorizedKey) -> key_pb2.Key:
    message = key_pb2.Key(
        id=key.id,
        service_account_id=key.service_account_id,
        description=key.description,
        key_algorithm=key_pb2.Key.RSA_2048,
        public_key=key.public_key,
    )
    message.created_at.FromDatetime(key.created_at)
    return message


def binding_to_message(binding: AccessBinding) -> access_pb2.AccessBinding:
    return access_pb2.AccessBinding(
        role_id=binding.role_id,
        subject=access_pb2.Subject(id=binding.subject_id, type=binding.subject_type),
    )


def deltas_to_message(record: Mapping[str, Any]) -> access_pb2.AccessBindingsOperationResult:
    """Pack what a change of bindings came to."""
    return access_pb2.AccessBindingsOperationResult(
        effective_deltas=[
            access_pb2.AccessBindingDelta(
                action=access_pb2.ADD if each["is_added"] else access_pb2.REMOVE,
                access_binding=access_pb2.AccessBinding(
                    role_id=each["role_id"],
                    subject=access_pb2.Subject(id=each["subject_id"], type=each["subject_type"]),
                ),
            )
            for each in record["effective_deltas"]
        ]
    )
