"""Which methods are served, and by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.api import (  # type: ignore[import-untyped, unused-ignore]  # ships no types
    annotations_pb2,
)
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from yandex.cloud.clouddesktop.v1 import (
    desktop_group_service_pb2,
    desktop_image_service_pb2,
    desktop_service_pb2,
)
from yandex.cloud.compute.v1 import image_service_pb2
from yandex.cloud.endpoint import api_endpoint_service_pb2
from yandex.cloud.iam.v1 import (
    iam_token_service_pb2,
    key_service_pb2,
    role_service_pb2,
    service_account_service_pb2,
)
from yandex.cloud.operation import operation_service_pb2
from yandex.cloud.quotamanager.v1 import quota_limit_service_pb2
from yandex.cloud.resourcemanager.v1 import cloud_service_pb2, folder_service_pb2

from clouddesktop.api.audit_events import event_type_of
from clouddesktop.api.bindings import BindingMethods, FindResource
from clouddesktop.api.calls import Answer, Method
from clouddesktop.api.clouds import CloudServicer
from clouddesktop.api.compute_images import ComputeImageServicer
from clouddesktop.api.desktop_images import DesktopImageServicer
from clouddesktop.api.endpoints import ApiEndpointServicer
from clouddesktop.api.folders import FolderServicer
from clouddesktop.api.iam_tokens import IamTokenServicer
from clouddesktop.api.keys import KeyServicer
from clouddesktop.api.operations import OperationServicer
from clouddesktop.api.packing import OperationPacker
from clouddesktop.api.parts import ApiParts
from clouddesktop.api.quotas import QuotaLimitServicer
from clouddesktop.api.roles import RoleServicer
from clouddesktop.api.service_accounts import ServiceAccountServicer
from clouddesktop.model.access import Resource

NOT_SERVED: tuple[ServiceDescriptor, ...] = (
    desktop_group_service_pb2.DESCRIPTOR.services_by_name["DesktopGroupService"],
    desktop_service_pb2.DESCRIPTOR.services_by_name["DesktopService"],
)
"""Services of the Cloud Desktop API that this server knows and does not serve."""

_OPERATION = "yandex.cloud.operation.Operation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The served methods of one service, by the API's names; `is_open` means without a token."""

    descriptor: ServiceDescriptor
    answers: Mapping[str, Answer]
    is_open: bool = False

    @property
    def methods(self) -> list[Method]:
        return [self._method(name, answer) for name, answer in self.answers.items()]

    def _method(self, name: str, answer: Answer) -> Method:
        descriptor = self.descriptor.methods_by_name[name]
        is_get = bool(descriptor.GetOptions().Extensions[annotations_pb2.http].get)
        # The published Cancel is bound to GET too: what it returns tells it from a read.
        is_work = descriptor.output_type.full_name == _OPERATION and name != "Get"
        return Method(
            path=f"/{self.descriptor.full_name}/{name}",
            request_class=GetMessageClass(descriptor.input_type),
            answer=answer,
            is_open=self.is_open,
            is_change=is_work or not (is_get or self.is_open),
            event_type=event_type_of(descriptor),
        )


def build_services(parts: ApiParts) -> list[Service]:
    """Say what is served."""
    packer = OperationPacker()
    return [
        _desktop_images(parts, packer),
        _compute_images(parts, packer),
        _operations(parts, packer),
        _quotas(parts),
        _folders(parts, packer),
        _clouds(parts, packer),
        _service_accounts(parts, packer),
        _keys(parts, packer),
        _roles(),
        _endpoints(parts),
        _iam_tokens(parts),
    ]


def _desktop_images(parts: ApiParts, packer: OperationPacker) -> Service:
    images = DesktopImageServicer(
        database=parts.database,
        copies=parts.copies,
        deletions=parts.deletions,
        updates=parts.updates,
        operations=packer,
    )
    return Service(
        descriptor=_find(desktop_image_service_pb2, "DesktopImageService"),
        answers={
            "Copy": images.copy,
            "Delete": images.delete,
            "Get": images.get,
            "List": images.list_page,
            "Update": images.update,
        },
    )


def _quotas(parts: ApiParts) -> Service:
    quotas = QuotaLimitServicer(database=parts.database)
    return Service(
        descriptor=_find(quota_limit_service_pb2, "QuotaLimitService"),
        answers={
            "Get": quotas.get,
            "List": quotas.list_page,
            "ListServices": quotas.list_services,
        },
    )


def _compute_images(parts: ApiParts, packer: OperationPacker) -> Service:
    images = ComputeImageServicer(
        database=parts.database,
        sources=parts.sources,
        imports=parts.imports,
        images=parts.compute_images,
        operations=packer,
    )
    return Service(
        descriptor=_find(image_service_pb2, "ImageService"),
        answers={
            "Create": images.create,
            "Delete": images.delete,
            "Get": images.get,
            "GetLatestByFamily": images.get_latest_by_family,
            "List": images.list_page,
            "ListOperations": images.list_operations,
            "Update": images.update,
            **_binding_answers(parts, packer, images.find_resource),
        },
    )


def _operations(parts: ApiParts, packer: OperationPacker) -> Service:
    operations = OperationServicer(database=parts.database, operations=packer)
    return Service(
        descriptor=_find(operation_service_pb2, "OperationService"),
        answers={"Cancel": operations.cancel, "Get": operations.get},
    )


def _folders(parts: ApiParts, packer: OperationPacker) -> Service:
    folders = FolderServicer(database=parts.database, folders=parts.folders, operations=packer)
    return Service(
        descriptor=_find(folder_service_pb2, "FolderService"),
        answers={
            "Create": folders.create,
            "Delete": folders.delete,
            "Get": folders.get,
            "List": folders.list_page,
            "ListOperations": folders.list_operations,
            "Update": folders.update,
            **_binding_answers(parts, packer, _found_by(Resource.of_folder)),
        },
    )


def _clouds(parts: ApiParts, packer: OperationPacker) -> Service:
    clouds = CloudServicer(database=parts.database)
    return Service(
        descriptor=_find(cloud_service_pb2, "CloudService"),
        answers={
            "Get": clouds.get,
            "List": clouds.list_page,
            **_binding_answers(parts, packer, _found_by(Resource.of_cloud)),
        },
    )


def _service_accounts(parts: ApiParts, packer: OperationPacker) -> Service:
    accounts = ServiceAccountServicer(
        database=parts.database, accounts=parts.accounts, operations=packer
    )
    return Service(
        descriptor=_find(service_account_service_pb2, "ServiceAccountService"),
        answers={
            "Create": accounts.create,
            "Delete": accounts.delete,
            "Get": accounts.get,
            "List": accounts.list_page,
            "ListOperations": accounts.list_operations,
            "Update": accounts.update,
            **_binding_answers(parts, packer, accounts.find_resource),
        },
    )


def _keys(parts: ApiParts, packer: OperationPacker) -> Service:
    keys = KeyServicer(database=parts.database, accounts=parts.accounts, operations=packer)
    return Service(
        descriptor=_find(key_service_pb2, "KeyService"),
        answers={
            "Create": keys.create,
            "Delete": keys.delete,
            "Get": keys.get,
            "List": keys.list_page,
            "ListOperations": keys.list_operations,
            "Update": keys.update,
        },
    )


def _roles() -> Service:
    roles = RoleServicer()
    return Service(
        descriptor=_find(role_service_pb2, "RoleService"),
        answers={"Get": roles.get, "List": roles.list_page},
    )


def _endpoints(parts: ApiParts) -> Service:
    endpoints = ApiEndpointServicer(advertised=parts.advertised)
    return Service(
        descriptor=_find(api_endpoint_service_pb2, "ApiEndpointService"),
        answers={"Get": endpoints.get, "List": endpoints.list_all},
        is_open=True,
    )


def _iam_tokens(parts: ApiParts) -> Service:
    iam_tokens = IamTokenServicer(tokens=parts.tokens)
    return Service(
        descriptor=_find(iam_token_service_pb2, "IamTokenService"),
        answers={"Create": iam_tokens.create},
        is_open=True,
    )


def _binding_answers(
    parts: ApiParts, packer: OperationPacker, find_resource: FindResource
) -> Mapping[str, Answer]:
    return BindingMethods(
        bindings=parts.bindings, operations=packer, find_resource=find_resource
    ).answers


def _found_by(to_resource: Callable[[str], Resource]) -> FindResource:
    """Find a resource whose id alone tells where it lies."""

    async def find_resource(resource_id: str) -> Resource:
        return to_resource(resource_id)

    return find_resource


def _find(module: Any, name: str) -> ServiceDescriptor:
    descriptor: ServiceDescriptor = module.DESCRIPTOR.services_by_name[name]
    return descriptor
