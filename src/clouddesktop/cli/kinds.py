"""The kinds of resources that have the usual verbs, a description each.

A further kind takes a description here, and a page of verbs such as `folders`; what it alone can do
goes into actions of its own, such as `compute_actions`.
"""

from __future__ import annotations

from yandex.cloud.compute.v1 import image_service_pb2
from yandex.cloud.compute.v1.image_service_pb2_grpc import ImageServiceStub
from yandex.cloud.iam.v1 import key_service_pb2, role_service_pb2, service_account_service_pb2
from yandex.cloud.iam.v1.key_service_pb2_grpc import KeyServiceStub
from yandex.cloud.iam.v1.role_service_pb2_grpc import RoleServiceStub
from yandex.cloud.iam.v1.service_account_service_pb2_grpc import ServiceAccountServiceStub
from yandex.cloud.resourcemanager.v1 import cloud_service_pb2, folder_service_pb2
from yandex.cloud.resourcemanager.v1.cloud_service_pb2_grpc import CloudServiceStub
from yandex.cloud.resourcemanager.v1.folder_service_pb2_grpc import FolderServiceStub

from clouddesktop.cli.resources import Resource, anywhere, in_cloud

CLOUDS = Resource(
    service=cloud_service_pb2.DESCRIPTOR.services_by_name["CloudService"],
    stub=CloudServiceStub,
    columns={"ID": "id", "NAME": "name", "CREATED": "created_at"},
    id_field="cloud_id",
    items_field="clouds",
    place=anywhere,
    has_names=False,
)
FOLDERS = Resource(
    service=folder_service_pb2.DESCRIPTOR.services_by_name["FolderService"],
    stub=FolderServiceStub,
    columns={"ID": "id", "NAME": "name", "STATUS": "status", "CREATED": "created_at"},
    id_field="folder_id",
    items_field="folders",
    place=in_cloud,
)
ROLES = Resource(
    service=role_service_pb2.DESCRIPTOR.services_by_name["RoleService"],
    stub=RoleServiceStub,
    columns={"ID": "id", "DESCRIPTION": "description"},
    id_field="role_id",
    items_field="roles",
    place=anywhere,
    has_names=False,
)
ACCOUNTS = Resource(
    service=service_account_service_pb2.DESCRIPTOR.services_by_name["ServiceAccountService"],
    stub=ServiceAccountServiceStub,
    columns={"ID": "id", "NAME": "name", "CREATED": "created_at"},
    id_field="service_account_id",
    items_field="service_accounts",
    is_name_sent=True,
)
KEYS = Resource(
    service=key_service_pb2.DESCRIPTOR.services_by_name["KeyService"],
    stub=KeyServiceStub,
    columns={
        "ID": "id",
        "SERVICE ACCOUNT": "service_account_id",
        "CREATED": "created_at",
        "DESCRIPTION": "description",
    },
    id_field="key_id",
    items_field="keys",
    place=anywhere,
    has_names=False,
)
COMPUTE_IMAGES = Resource(
    service=image_service_pb2.DESCRIPTOR.services_by_name["ImageService"],
    stub=ImageServiceStub,
    columns={
        "ID": "id",
        "NAME": "name",
        "FAMILY": "family",
        "STATUS": "status",
        "DISK": "disk",
        "CREATED": "created_at",
    },
    id_field="image_id",
    items_field="images",
)
