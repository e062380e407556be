"""Who may call what: every served method, a request for it, and the roles that may make it.

Written by hand. Tests that go through every method take their requests from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from google.protobuf.message import Message
from yandex.cloud.access import access_pb2
from yandex.cloud.clouddesktop.v1 import desktop_image_service_pb2 as images
from yandex.cloud.compute.v1 import image_service_pb2 as compute
from yandex.cloud.iam.v1 import key_service_pb2 as keys
from yandex.cloud.iam.v1 import role_service_pb2 as roles
from yandex.cloud.iam.v1 import service_account_service_pb2 as accounts
from yandex.cloud.operation import operation_service_pb2 as operations
from yandex.cloud.quotamanager.v1 import quota_limit_service_pb2 as quotas
from yandex.cloud.quotamanager.v1 import resource_pb2 as quota_resource_pb2
from yandex.cloud.resourcemanager.v1 import cloud_service_pb2 as clouds
from yandex.cloud.resourcemanager.v1 import folder_service_pb2 as folders

from clouddesktop.model.roles import ROLES
from unit.api.access_world import Place

SEE_IMAGES = {
    "vdi.auditor", "vdi.viewer", "vdi.editor", "vdi.admin", "auditor", "viewer", "editor", "admin",
}  # fmt: skip
SEE_QUOTAS = {
    "vdi.viewer", "vdi.editor", "vdi.admin", "quota-manager.viewer", "quota-manager.admin",
    "viewer", "editor", "admin",
}  # fmt: skip
EDIT_IMAGES = {"vdi.editor", "vdi.admin", "editor", "admin"}
USE_COMPUTE_IMAGES = {
    "compute.images.user", "compute.viewer", "compute.editor", "compute.admin",
    "viewer", "editor", "admin",
}  # fmt: skip
SEE_COMPUTE_IMAGES = USE_COMPUTE_IMAGES | {"compute.auditor", "auditor"}
EDIT_COMPUTE_IMAGES = {"compute.editor", "compute.admin", "editor", "admin"}
SEE_ACCOUNTS = {
    "iam.auditor", "iam.viewer", "iam.serviceAccounts.keyAdmin", "iam.admin",
    "auditor", "viewer", "editor", "admin",
}  # fmt: skip
EDIT_ACCOUNTS = {"iam.admin", "admin"}
EDIT_KEYS = {"iam.serviceAccounts.keyAdmin", "iam.admin", "admin"}
EDIT_FOLDERS = {"resource-manager.editor", "resource-manager.admin", "editor", "admin"}
SEE_BINDINGS = {"resource-manager.viewer", "viewer"} | EDIT_FOLDERS
CHANGE_BINDINGS = {"resource-manager.admin", "admin"}
EVERY_ROLE = set(ROLES)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Who may call a method on a resource.

    `request` makes the request for a folder and what is in it; `allowed` may call the method, and
    those in `visible` alone hear that they may not: for all others the resource is not there.
    """

    request: Callable[[Place], Message]
    allowed: set[str]
    visible: set[str] = field(default_factory=lambda: EVERY_ROLE)
    is_for_cloud: bool = False
    is_for_all: bool = False


def a_binding(role_id: str = "viewer") -> access_pb2.AccessBinding:
    subject = access_pb2.Subject(id="ajesomebody", type="serviceAccount")
    return access_pb2.AccessBinding(role_id=role_id, subject=subject)


def add_delta(resource_id: str) -> Message:
    delta = access_pb2.AccessBindingDelta(action=access_pb2.ADD, access_binding=a_binding())
    return access_pb2.UpdateAccessBindingsRequest(
        resource_id=resource_id, access_binding_deltas=[delta]
    )


def set_admin(resource_id: str) -> Message:
    return access_pb2.SetAccessBindingsRequest(
        resource_id=resource_id, access_bindings=[a_binding("admin")]
    )


def list_bindings(resource_id: str) -> Message:
    return access_pb2.ListAccessBindingsRequest(resource_id=resource_id)


def the_cloud(at: Place) -> quota_resource_pb2.Resource:
    return quota_resource_pb2.Resource(id=at.cloud_id, type="resource-manager.cloud")


DESKTOP_IMAGES = "/yandex.cloud.clouddesktop.v1.api.DesktopImageService"
COMPUTE_IMAGES = "/yandex.cloud.compute.v1.ImageService"
OPERATIONS = "/yandex.cloud.operation.OperationService"
QUOTAS = "/yandex.cloud.quotamanager.v1.QuotaLimitService"
FOLDERS = "/yandex.cloud.resourcemanager.v1.FolderService"
CLOUDS = "/yandex.cloud.resourcemanager.v1.CloudService"
ACCOUNTS = "/yandex.cloud.iam.v1.ServiceAccountService"
KEYS = "/yandex.cloud.iam.v1.KeyService"
ROLE_SERVICE = "/yandex.cloud.iam.v1.RoleService"

TABLE = {
    f"{DESKTOP_IMAGES}/Get": Row(
        request=lambda at: images.GetDesktopImageRequest(image_id=at.image_id),
        allowed=SEE_IMAGES,
        visible=SEE_IMAGES,
    ),
    f"{DESKTOP_IMAGES}/List": Row(
        request=lambda at: images.ListDesktopImagesRequest(folder_id=at.folder_id),
        allowed=SEE_IMAGES,
    ),
    # The compute image lies in the own folder: one needs to make images and to use that one.
    f"{DESKTOP_IMAGES}/Copy": Row(
        request=lambda at: images.CopyDesktopImageRequest(
            folder_id=at.folder_id, image_id=at.compute_image_id, name="new"
        ),
        allowed=EDIT_IMAGES & USE_COMPUTE_IMAGES,
        visible=EVERY_ROLE - {"vdi.editor", "vdi.admin"},  # for them the compute image is not there
    ),
    f"{DESKTOP_IMAGES}/Update": Row(
        request=lambda at: images.UpdateDesktopImageRequest(image_id=at.image_id, name="new"),
        allowed=EDIT_IMAGES,
        visible=SEE_IMAGES,
    ),
    f"{DESKTOP_IMAGES}/Delete": Row(
        request=lambda at: images.DeleteDesktopImageRequest(image_id=at.image_id),
        allowed=EDIT_IMAGES,
        visible=SEE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/Get": Row(
        request=lambda at: compute.GetImageRequest(image_id=at.imported_id),
        allowed=SEE_COMPUTE_IMAGES,
        visible=SEE_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/GetLatestByFamily": Row(
        request=lambda at: compute.GetImageLatestByFamilyRequest(
            folder_id=at.folder_id, family="golden"
        ),
        allowed=SEE_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/List": Row(
        request=lambda at: compute.ListImagesRequest(folder_id=at.folder_id),
        allowed=SEE_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/Create": Row(
        request=lambda at: compute.CreateImageRequest(
            folder_id=at.folder_id, image_id=at.compute_image_id, name="new"
        ),
        allowed=EDIT_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/Update": Row(
        request=lambda at: compute.UpdateImageRequest(image_id=at.imported_id, name="new"),
        allowed=EDIT_COMPUTE_IMAGES,
        visible=SEE_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/Delete": Row(
        request=lambda at: compute.DeleteImageRequest(image_id=at.imported_id),
        allowed=EDIT_COMPUTE_IMAGES,
        visible=SEE_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/ListOperations": Row(
        request=lambda at: compute.ListImageOperationsRequest(image_id=at.imported_id),
        allowed=SEE_COMPUTE_IMAGES,
        visible=SEE_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/ListAccessBindings": Row(
        request=lambda at: list_bindings(at.imported_id),
        allowed=SEE_COMPUTE_IMAGES - {"compute.images.user", "compute.auditor", "auditor"},
        visible=SEE_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/SetAccessBindings": Row(
        request=lambda at: set_admin(at.imported_id),
        allowed={"compute.admin", "admin"},
        visible=SEE_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/UpdateAccessBindings": Row(
        request=lambda at: add_delta(at.imported_id),
        allowed={"compute.admin", "admin"},
        visible=SEE_COMPUTE_IMAGES,
    ),
    f"{OPERATIONS}/Get": Row(
        request=lambda at: operations.GetOperationRequest(operation_id=at.operation_id),
        allowed=EVERY_ROLE,
    ),
    f"{OPERATIONS}/Cancel": Row(
        request=lambda at: operations.CancelOperationRequest(operation_id=at.operation_id),
        allowed=EDIT_IMAGES,
    ),
    f"{QUOTAS}/Get": Row(
        request=lambda at: quotas.GetQuotaLimitRequest(
            resource=the_cloud(at), quota_id="vdi.desktopImages.count"
        ),
        allowed=SEE_QUOTAS,
        is_for_cloud=True,
    ),
    f"{QUOTAS}/List": Row(
        request=lambda at: quotas.ListQuotaLimitsRequest(resource=the_cloud(at), service="vdi"),
        allowed=SEE_QUOTAS,
        is_for_cloud=True,
    ),
    f"{QUOTAS}/ListServices": Row(
        request=lambda _: quotas.ListServicesRequest(resource_type="resource-manager.cloud"),
        allowed=EVERY_ROLE,
        is_for_all=True,
    ),
    f"{FOLDERS}/Get": Row(
        request=lambda at: folders.GetFolderRequest(folder_id=at.folder_id), allowed=EVERY_ROLE
    ),
    f"{FOLDERS}/List": Row(
        request=lambda at: folders.ListFoldersRequest(cloud_id=at.cloud_id),
        allowed=EVERY_ROLE,
        is_for_cloud=True,
    ),
    f"{FOLDERS}/Create": Row(
        request=lambda at: folders.CreateFolderRequest(cloud_id=at.cloud_id, name="new"),
        allowed=EDIT_FOLDERS,
        is_for_cloud=True,
    ),
    f"{FOLDERS}/Update": Row(
        request=lambda at: folders.UpdateFolderRequest(folder_id=at.folder_id, description="x"),
        allowed=EDIT_FOLDERS,
    ),
    f"{FOLDERS}/Delete": Row(
        request=lambda at: folders.DeleteFolderRequest(folder_id=at.empty_folder_id),
        allowed=EDIT_FOLDERS,
    ),
    f"{FOLDERS}/ListOperations": Row(
        request=lambda at: folders.ListFolderOperationsRequest(folder_id=at.folder_id),
        allowed=EVERY_ROLE,
    ),
    f"{FOLDERS}/ListAccessBindings": Row(
        request=lambda at: list_bindings(at.folder_id), allowed=SEE_BINDINGS
    ),
    f"{FOLDERS}/SetAccessBindings": Row(
        request=lambda at: set_admin(at.folder_id), allowed=CHANGE_BINDINGS
    ),
    f"{FOLDERS}/UpdateAccessBindings": Row(
        request=lambda at: add_delta(at.folder_id), allowed=CHANGE_BINDINGS
    ),
    f"{CLOUDS}/Get": Row(
        request=lambda at: clouds.GetCloudRequest(cloud_id=at.cloud_id),
        allowed=EVERY_ROLE,
        is_for_cloud=True,
    ),
    f"{CLOUDS}/List": Row(
        request=lambda _: clouds.ListCloudsRequest(),
        allowed=EVERY_ROLE,
        is_for_cloud=True,
        is_for_all=True,
    ),
    f"{CLOUDS}/ListAccessBindings": Row(
        request=lambda at: list_bindings(at.cloud_id), allowed=SEE_BINDINGS, is_for_cloud=True
    ),
    f"{CLOUDS}/SetAccessBindings": Row(
        request=lambda at: set_admin(at.cloud_id), allowed=CHANGE_BINDINGS, is_for_cloud=True
    ),
    f"{CLOUDS}/UpdateAccessBindings": Row(
        request=lambda at: add_delta(at.cloud_id), allowed=CHANGE_BINDINGS, is_for_cloud=True
    ),
    f"{ACCOUNTS}/Get": Row(
        request=lambda at: accounts.GetServiceAccountRequest(service_account_id=at.account_id),
        allowed=SEE_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{ACCOUNTS}/List": Row(
        request=lambda at: accounts.ListServiceAccountsRequest(folder_id=at.folder_id),
        allowed=SEE_ACCOUNTS,
    ),
    f"{ACCOUNTS}/Create": Row(
        request=lambda at: accounts.CreateServiceAccountRequest(folder_id=at.folder_id, name="new"),
        allowed=EDIT_ACCOUNTS,
    ),
    f"{ACCOUNTS}/Update": Row(
        request=lambda at: accounts.UpdateServiceAccountRequest(
            service_account_id=at.account_id, name="new"
        ),
        allowed=EDIT_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{ACCOUNTS}/Delete": Row(
        request=lambda at: accounts.DeleteServiceAccountRequest(service_account_id=at.account_id),
        allowed=EDIT_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{ACCOUNTS}/ListOperations": Row(
        request=lambda at: accounts.ListServiceAccountOperationsRequest(
            service_account_id=at.account_id
        ),
        allowed=SEE_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{ACCOUNTS}/ListAccessBindings": Row(
        request=lambda at: list_bindings(at.account_id),
        allowed={"iam.viewer", "iam.admin", "viewer", "editor", "admin"},
        visible=SEE_ACCOUNTS,
    ),
    f"{ACCOUNTS}/SetAccessBindings": Row(
        request=lambda at: set_admin(at.account_id),
        allowed=EDIT_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{ACCOUNTS}/UpdateAccessBindings": Row(
        request=lambda at: add_delta(at.account_id),
        allowed=EDIT_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{KEYS}/Get": Row(
        request=lambda at: keys.GetKeyRequest(key_id=at.key_id),
        allowed=SEE_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{KEYS}/List": Row(
        request=lambda at: keys.ListKeysRequest(service_account_id=at.account_id),
        allowed=SEE_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{KEYS}/Create": Row(
        request=lambda at: keys.CreateKeyRequest(service_account_id=at.account_id),
        allowed=EDIT_KEYS,
        visible=SEE_ACCOUNTS,
    ),
    f"{KEYS}/Update": Row(
        request=lambda at: keys.UpdateKeyRequest(key_id=at.key_id, description="x"),
        allowed=EDIT_KEYS,
        visible=SEE_ACCOUNTS,
    ),
    f"{KEYS}/Delete": Row(
        request=lambda at: keys.DeleteKeyRequest(key_id=at.key_id),
        allowed=EDIT_KEYS,
        visible=SEE_ACCOUNTS,
    ),
    f"{KEYS}/ListOperations": Row(
        request=lambda at: keys.ListKeyOperationsRequest(key_id=at.key_id),
        allowed=SEE_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{ROLE_SERVICE}/Get": Row(
        request=lambda _: roles.GetRoleRequest(role_id="viewer"),
        allowed=EVERY_ROLE,
        is_for_all=True,
    ),
    f"{ROLE_SERVICE}/List": Row(
        request=lambda _: roles.ListRolesRequest(), allowed=EVERY_ROLE, is_for_all=True
    ),
}

OPEN = {
    "/yandex.cloud.endpoint.ApiEndpointService/Get",
    "/yandex.cloud.endpoint.ApiEndpointService/List",
    "/yandex.cloud.iam.v1.IamTokenService/Create",
}
"""Methods that need no token."""
