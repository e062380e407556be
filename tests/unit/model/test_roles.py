"""The role table, whole: written out here by hand, so that no role changes unnoticed."""

from __future__ import annotations

import pytest

from clouddesktop.model.access import ResourceKind
from clouddesktop.model.roles import (
    ROLE_PERMISSIONS,
    ROLES,
    VIEW_PERMISSIONS,
    Permission,
    find_roles_with,
)

PLACES = {"resource-manager.clouds.get", "resource-manager.folders.get"}
VDI_AUDITOR = PLACES | {"vdi.images.get", "vdi.images.list"}
VDI_VIEWER = VDI_AUDITOR | {"vdi.images.export", "quota-manager.quotas.get"}
VDI_EDITOR = VDI_VIEWER | {"vdi.images.create", "vdi.images.update", "vdi.images.delete"}
VDI_ADMIN = VDI_EDITOR | {"clouddesktop.systemImages.manage"}
COMPUTE_AUDITOR = PLACES | {"compute.images.get", "compute.images.list"}
COMPUTE_USER = COMPUTE_AUDITOR | {"compute.images.use"}
COMPUTE_VIEWER = COMPUTE_USER | {"compute.images.listAccessBindings"}
COMPUTE_EDITOR = COMPUTE_VIEWER | {
    "compute.images.create",
    "compute.images.update",
    "compute.images.delete",
}
COMPUTE_ADMIN = COMPUTE_EDITOR | {"compute.images.updateAccessBindings"}
MANAGER_VIEWER = PLACES | {
    "resource-manager.clouds.listAccessBindings",
    "resource-manager.folders.listAccessBindings",
}
MANAGER_EDITOR = MANAGER_VIEWER | {
    "resource-manager.folders.create",
    "resource-manager.folders.update",
    "resource-manager.folders.delete",
}
MANAGER_ADMIN = MANAGER_EDITOR | {
    "resource-manager.clouds.updateAccessBindings",
    "resource-manager.folders.updateAccessBindings",
}
IAM_AUDITOR = PLACES | {"iam.serviceAccounts.get", "iam.keys.get"}
IAM_VIEWER = IAM_AUDITOR | {"iam.serviceAccounts.listAccessBindings"}
KEY_ADMIN = IAM_AUDITOR | {"iam.keys.create", "iam.keys.update", "iam.keys.delete"}
IAM_ADMIN = (
    IAM_VIEWER
    | KEY_ADMIN
    | {
        "iam.serviceAccounts.create",
        "iam.serviceAccounts.update",
        "iam.serviceAccounts.delete",
        "iam.serviceAccounts.updateAccessBindings",
    }
)
QUOTA_VIEWER = PLACES | {"quota-manager.quotas.get"}
QUOTA_ADMIN = QUOTA_VIEWER | {"quota-manager.quotas.update"}
AUDITOR = VDI_AUDITOR | COMPUTE_AUDITOR | IAM_AUDITOR
VIEWER = VDI_VIEWER | COMPUTE_VIEWER | MANAGER_VIEWER | IAM_VIEWER | {"clouddesktop.store.get"}
EDITOR = VIEWER | VDI_EDITOR | COMPUTE_EDITOR | MANAGER_EDITOR

EXPECTED = {
    "vdi.auditor": VDI_AUDITOR,
    "vdi.viewer": VDI_VIEWER,
    "vdi.editor": VDI_EDITOR,
    "vdi.admin": VDI_ADMIN,
    "compute.images.user": COMPUTE_USER,
    "compute.auditor": COMPUTE_AUDITOR,
    "compute.viewer": COMPUTE_VIEWER,
    "compute.editor": COMPUTE_EDITOR,
    "compute.admin": COMPUTE_ADMIN,
    "resource-manager.auditor": PLACES,
    "resource-manager.viewer": MANAGER_VIEWER,
    "resource-manager.editor": MANAGER_EDITOR,
    "resource-manager.admin": MANAGER_ADMIN,
    "iam.auditor": IAM_AUDITOR,
    "iam.viewer": IAM_VIEWER,
    "iam.serviceAccounts.keyAdmin": KEY_ADMIN,
    "iam.admin": IAM_ADMIN,
    "quota-manager.viewer": QUOTA_VIEWER,
    "quota-manager.admin": QUOTA_ADMIN,
    "auditor": AUDITOR,
    "viewer": VIEWER,
    "editor": EDITOR,
    "admin": {str(each) for each in Permission},
}


def test_every_role_is_listed_here() -> None:
    """A new role has to be written down here too."""
    assert set(EXPECTED) == set(ROLES)


@pytest.mark.parametrize("role_id", sorted(EXPECTED))
def test_a_role_gives_exactly_this(role_id: str) -> None:
    """No permission more, none less."""
    assert {str(each) for each in ROLE_PERMISSIONS[role_id]} == EXPECTED[role_id]


@pytest.mark.parametrize("permission", list(Permission))
def test_every_permission_is_given_by_some_role(permission: Permission) -> None:
    """And the error that names a role names one that is not more powerful than needed."""
    roles = find_roles_with(permission)
    assert roles[-1] == "admin"
    sizes = [len(ROLE_PERMISSIONS[each]) for each in roles]
    assert sizes == sorted(sizes)


def test_everything_has_a_permission_to_see_it() -> None:
    """Else `require` could not tell what a caller may not know of."""
    assert set(VIEW_PERMISSIONS) == set(ResourceKind)
