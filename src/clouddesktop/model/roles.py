"""The role table: which permissions each role gives. Data, and nothing else.

The roles and what includes what are the public cloud's, as far as this server has resources for
them. It publishes no names of permissions for desktop images: those here follow the pattern of its
other services. docs/access.md shows the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from clouddesktop.model.access import ResourceKind


class Permission(StrEnum):
    """What a call needs on a resource."""

    CLOUDS_GET = "resource-manager.clouds.get"
    CLOUDS_LIST_BINDINGS = "resource-manager.clouds.listAccessBindings"
    CLOUDS_UPDATE_BINDINGS = "resource-manager.clouds.updateAccessBindings"
    FOLDERS_GET = "resource-manager.folders.get"
    FOLDERS_CREATE = "resource-manager.folders.create"
    FOLDERS_UPDATE = "resource-manager.folders.update"
    FOLDERS_DELETE = "resource-manager.folders.delete"
    FOLDERS_LIST_BINDINGS = "resource-manager.folders.listAccessBindings"
    FOLDERS_UPDATE_BINDINGS = "resource-manager.folders.updateAccessBindings"
    IMAGES_GET = "vdi.images.get"
    IMAGES_LIST = "vdi.images.list"
    IMAGES_EXPORT = "vdi.images.export"
    IMAGES_CREATE = "vdi.images.create"
    IMAGES_UPDATE = "vdi.images.update"
    IMAGES_DELETE = "vdi.images.delete"
    COMPUTE_IMAGES_GET = "compute.images.get"
    COMPUTE_IMAGES_LIST = "compute.images.list"
    COMPUTE_IMAGES_USE = "compute.images.use"
    COMPUTE_IMAGES_CREATE = "compute.images.create"
    COMPUTE_IMAGES_UPDATE = "compute.images.update"
    COMPUTE_IMAGES_DELETE = "compute.images.delete"
    COMPUTE_IMAGES_LIST_BINDINGS = "compute.images.listAccessBindings"
    COMPUTE_IMAGES_UPDATE_BINDINGS = "compute.images.updateAccessBindings"
    SERVICE_ACCOUNTS_GET = "iam.serviceAccounts.get"
    SERVICE_ACCOUNTS_CREATE = "iam.serviceAccounts.create"
    SERVICE_ACCOUNTS_UPDATE = "iam.serviceAccounts.update"
    SERVICE_ACCOUNTS_DELETE = "iam.serviceAccounts.delete"
    SERVICE_ACCOUNTS_LIST_BINDINGS = "iam.serviceAccounts.listAccessBindings"
    SERVICE_ACCOUNTS_UPDATE_BINDINGS = "iam.serviceAccounts.updateAccessBindings"
    KEYS_GET = "iam.keys.get"
    KEYS_CREATE = "iam.keys.create"
    KEYS_UPDATE = "iam.keys.update"
    KEYS_DELETE = "iam.keys.delete"
    QUOTAS_GET = "quota-manager.quotas.get"
    QUOTAS_UPDATE = "quota-manager.quotas.update"
    STORE_GET = "clouddesktop.store.get"
    STORE_MANAGE = "clouddesktop.store.manage"
    SYSTEM_IMAGES_MANAGE = "clouddesktop.systemImages.manage"


VIEW_PERMISSIONS: Mapping[ResourceKind, Permission] = {
    ResourceKind.CLOUD: Permission.CLOUDS_GET,
    ResourceKind.FOLDER: Permission.FOLDERS_GET,
    ResourceKind.IMAGE: Permission.IMAGES_GET,
    ResourceKind.COMPUTE_IMAGE: Permission.COMPUTE_IMAGES_GET,
    ResourceKind.SERVICE_ACCOUNT: Permission.SERVICE_ACCOUNTS_GET,
    ResourceKind.KEY: Permission.KEYS_GET,
    ResourceKind.OPERATION: Permission.FOLDERS_GET,
}
"""Without this permission on it, a resource is not there, as far as the caller can tell."""

SYSTEM_IMAGE_PERMISSIONS = frozenset(
    {Permission.IMAGES_GET, Permission.IMAGES_LIST, Permission.IMAGES_EXPORT}
)
"""What everybody with a token may do with images that belong to the whole installation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role: permissions of its own, and those of the roles that it includes."""

    description: str
    permissions: frozenset[Permission] = frozenset()
    includes: tuple[str, ...] = ()


def _role(description: str, *permissions: Permission, includes: tuple[str, ...] = ()) -> Role:
    return Role(description=description, permissions=frozenset(permissions), includes=includes)


_P = Permission
_PLACES = (_P.CLOUDS_GET, _P.FOLDERS_GET)

ROLES: Mapping[str, Role] = {
    "vdi.auditor": _role(
        "See desktop images, but not what they hold.", _P.IMAGES_GET, _P.IMAGES_LIST, *_PLACES
    ),
    "vdi.viewer": _role(
        "See and export desktop images.",
        _P.IMAGES_EXPORT,
        _P.QUOTAS_GET,
        includes=("vdi.auditor",),
    ),
    "vdi.editor": _role(
        "Make, change and delete desktop images.",
        _P.IMAGES_CREATE,
        _P.IMAGES_UPDATE,
        _P.IMAGES_DELETE,
        includes=("vdi.viewer",),
    ),
    "vdi.admin": _role(
        "All of desktop images, system images too.",
        _P.SYSTEM_IMAGES_MANAGE,
        includes=("vdi.editor",),
    ),
    "compute.images.user": _role(
        "See compute images, and copy from them.",
        _P.COMPUTE_IMAGES_GET,
        _P.COMPUTE_IMAGES_LIST,
        _P.COMPUTE_IMAGES_USE,
        *_PLACES,
    ),
    "compute.auditor": _role(
        "See compute images.", _P.COMPUTE_IMAGES_GET, _P.COMPUTE_IMAGES_LIST, *_PLACES
    ),
    "compute.viewer": _role(
        "See compute images and who may use them, and copy from them.",
        _P.COMPUTE_IMAGES_LIST_BINDINGS,
        includes=("compute.auditor", "compute.images.user"),
    ),
    "compute.editor": _role(
        "Make, change and delete compute images.",
        _P.COMPUTE_IMAGES_CREATE,
        _P.COMPUTE_IMAGES_UPDATE,
        _P.COMPUTE_IMAGES_DELETE,
        includes=("compute.viewer",),
    ),
    "compute.admin": _role(
        "All of compute images, and who may use them.",
        _P.COMPUTE_IMAGES_UPDATE_BINDINGS,
        includes=("compute.editor",),
    ),
    "resource-manager.auditor": _role("See clouds and folders.", *_PLACES),
    "resource-manager.viewer": _role(
        "See clouds and folders, and who may do what in them.",
        _P.CLOUDS_LIST_BINDINGS,
        _P.FOLDERS_LIST_BINDINGS,
        includes=("resource-manager.auditor",),
    ),
    "resource-manager.editor": _role(
        "Make, change and delete folders.",
        _P.FOLDERS_CREATE,
        _P.FOLDERS_UPDATE,
        _P.FOLDERS_DELETE,
        includes=("resource-manager.viewer",),
    ),
    "resource-manager.admin": _role(
        "All of folders, and who may do what in clouds and folders.",
        _P.CLOUDS_UPDATE_BINDINGS,
        _P.FOLDERS_UPDATE_BINDINGS,
        includes=("resource-manager.editor",),
    ),
    "iam.auditor": _role(
        "See service accounts and their keys.", _P.SERVICE_ACCOUNTS_GET, _P.KEYS_GET, *_PLACES
    ),
    "iam.viewer": _role(
        "See service accounts, their keys, and who may do what with them.",
        _P.SERVICE_ACCOUNTS_LIST_BINDINGS,
        includes=("iam.auditor",),
    ),
    "iam.serviceAccounts.keyAdmin": _role(
        "Make and revoke the keys of service accounts.",
        _P.SERVICE_ACCOUNTS_GET,
        _P.KEYS_GET,
        _P.KEYS_CREATE,
        _P.KEYS_UPDATE,
        _P.KEYS_DELETE,
        *_PLACES,
    ),
    "iam.admin": _role(
        "All of service accounts and their keys.",
        _P.SERVICE_ACCOUNTS_CREATE,
        _P.SERVICE_ACCOUNTS_UPDATE,
        _P.SERVICE_ACCOUNTS_DELETE,
        _P.SERVICE_ACCOUNTS_UPDATE_BINDINGS,
        includes=("iam.viewer", "iam.serviceAccounts.keyAdmin"),
    ),
    "quota-manager.viewer": _role("See quotas and what is used of them.", _P.QUOTAS_GET, *_PLACES),
    "quota-manager.admin": _role(
        "Set quotas.", _P.QUOTAS_UPDATE, includes=("quota-manager.viewer",)
    ),
    "auditor": _role(
        "See everything but what images hold.",
        includes=("vdi.auditor", "compute.auditor", "resource-manager.auditor", "iam.auditor"),
    ),
    "viewer": _role(
        "See everything.",
        _P.STORE_GET,
        includes=(
            "auditor",
            "vdi.viewer",
            "compute.viewer",
            "resource-manager.viewer",
            "iam.viewer",
            "quota-manager.viewer",
        ),
    ),
    "editor": _role(
        "Make, change and delete images and folders.",
        includes=("viewer", "vdi.editor", "compute.editor", "resource-manager.editor"),
    ),
    "admin": _role(
        "Everything.",
        _P.STORE_MANAGE,
        includes=(
            "editor",
            "vdi.admin",
            "compute.admin",
            "resource-manager.admin",
            "iam.admin",
            "quota-manager.admin",
        ),
    ),
}


def _expand(role_id: str) -> frozenset[Permission]:
    role = ROLES[role_id]
    return role.permissions.union(*map(_expand, role.includes))


ROLE_PERMISSIONS: Mapping[str, frozenset[Permission]] = {each: _expand(each) for each in ROLES}
"""Every permission of each role, those of included roles among them."""


def find_roles_with(permission: Permission) -> list[str]:
    """List the roles that give a permission, the least powerful first."""
    found = [each for each, permissions in ROLE_PERMISSIONS.items() if permission in permissions]
    return sorted(found, key=lambda each: (len(ROLE_PERMISSIONS[each]), each))
