"""What a caller may do: its roles on a resource, on the resource's folder, or on that one's cloud.

    authorization header -> Subject -> Access.find_caller -> Caller.require(permission, resource)

What a caller may not see answers exactly like what does not exist.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from clouddesktop.catalog.bindings import Grant, list_grants
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import find_cloud_id, list_cloud_ids
from clouddesktop.errors import NotFoundError, PermissionDeniedError
from clouddesktop.model.access import ALL_AUTHENTICATED_USERS, Resource, ResourceKind, Subject
from clouddesktop.model.roles import (
    ROLE_PERMISSIONS,
    SYSTEM_IMAGE_PERMISSIONS,
    VIEW_PERMISSIONS,
    Permission,
    find_roles_with,
)

GRANTS_SECONDS = 5.0
"""How long a change of bindings by another process may go unnoticed; one of this process is not."""

_MISSING_SECONDS = 1.0
"""How long a folder that another process has just made may go unnoticed, once asked for in vain."""

_CACHED_SUBJECTS = 10_000
_CACHED_MISSING = 10_000
_NOTHING: frozenset[Permission] = frozenset()

Permissions = Mapping[tuple[ResourceKind, str], frozenset[Permission]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and what it may do; good for one call. Thread-safe."""

    subject: Subject
    _permissions: Permissions
    _find_cloud_id: Callable[[str], str | None] = field(repr=False, compare=False)
    checks: list[tuple[Permission, Resource, bool]] = field(
        default_factory=list, repr=False, compare=False
    )
    """What `require` was asked for, and whether it was given; for the audit log."""

    @property
    def id(self) -> str:
        """The subject's id."""
        return self.subject.id

    def may(self, permission: Permission, resource: Resource) -> bool:
        """Tell whether a role on the resource, its folder or its cloud gives the permission."""
        permissions = self._permissions
        if permission in permissions.get((resource.kind, resource.id), _NOTHING):
            return True
        folder_id = resource.folder_id
        if folder_id is None:
            return False
        if permission in permissions.get((ResourceKind.FOLDER, folder_id), _NOTHING):
            return True
        cloud_id = self._find_cloud_id(folder_id)
        return cloud_id is not None and permission in permissions.get(
            (ResourceKind.CLOUD, cloud_id), _NOTHING
        )

    def require(self, permission: Permission, resource: Resource) -> None:
        """Let the caller through, or say why not.

        Raises:
            NotFoundError: it may not even see the resource.
            PermissionDeniedError: it may see it, and not do this.
        """
        is_granted = self.may(permission, resource)
        self.checks.append((permission, resource, is_granted))
        if is_granted:
            return
        if not self.may(VIEW_PERMISSIONS[resource.kind], resource):
            raise NotFoundError.of_resource(resource.kind.word, resource.id)
        raise PermissionDeniedError(
            f"The permission {permission} is needed on {resource.kind.word} {resource.id}.",
            remedy=f"Ask an administrator for a role that has it, such as "
            f"{find_roles_with(permission)[0]}, on it, its folder or its cloud.",
            facts={
                "permission": permission,
                "resource_type": resource.kind.word,
                "resource_id": resource.id,
            },
        )


class Access:
    """Knows what every subject may do; thread-safe."""

    def __init__(self, *, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        """Read bindings from `database`; `clock` gives seconds."""
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._version = 0
        self._known: OrderedDict[str, tuple[Permissions, float]] = OrderedDict()
        self._cloud_ids: dict[str, str] = {}
        self._has_clouds = False
        self._missing: dict[str, float] = {}  # folders that are not there, and until when

    async def find_caller(self, subject: Subject, *, folder_id: str = "") -> Caller:
        """Say what a subject may do now.

        `folder_id` is that of the request, if it has one: what `Caller` needs to know of it is read
        here, since a database that hangs must not hold the event loop up.
        """
        await self._learn_clouds(folder_id)
        with self._lock:
            version = self._version
            permissions, fresh_until = self._known.get(subject.id, ({}, 0.0))
        if fresh_until <= self._clock():
            fresh_until = self._clock() + GRANTS_SECONDS
            subject_ids = (subject.id, ALL_AUTHENTICATED_USERS)
            permissions = _to_permissions(await self._database.aread(list_grants, subject_ids))
            with self._lock:
                if version == self._version:
                    self._known[subject.id] = (permissions, fresh_until)
                    self._known.move_to_end(subject.id)
                    if len(self._known) > _CACHED_SUBJECTS:
                        self._known.popitem(last=False)
        return Caller(subject, permissions, self.find_cloud_id)

    def forget(self) -> None:
        """Read everything anew, since bindings have changed."""
        with self._lock:
            self._version += 1
            self._known.clear()

    def find_cloud_id(self, folder_id: str) -> str | None:
        """Find the cloud of a folder, which never changes; None if there is no such folder.

        Asks the database for a folder that another process has made since this one started.
        """
        cloud_id = self._cloud_ids.get(folder_id)
        if cloud_id is None and not self._is_missing(folder_id):
            cloud_id = self._database.read(find_cloud_id, folder_id)
            self._note_cloud(folder_id, cloud_id)
        return cloud_id

    async def _learn_clouds(self, folder_id: str) -> None:
        if not self._has_clouds:
            self._cloud_ids.update(await self._database.aread(list_cloud_ids))
            self._has_clouds = True
        if folder_id and folder_id not in self._cloud_ids and not self._is_missing(folder_id):
            self._note_cloud(folder_id, await self._database.aread_few(find_cloud_id, folder_id))

    def _is_missing(self, folder_id: str) -> bool:
        return self._clock() < self._missing.get(folder_id, 0.0)

    def _note_cloud(self, folder_id: str, cloud_id: str | None) -> None:
        if cloud_id is not None:
            self._cloud_ids[folder_id] = cloud_id
            return
        if len(self._missing) >= _CACHED_MISSING:
            self._missing.clear()
        self._missing[folder_id] = self._clock() + _MISSING_SECONDS


def _to_permissions(grants: list[Grant]) -> Permissions:
    permissions = {(ResourceKind.FOLDER, ""): SYSTEM_IMAGE_PERMISSIONS}
    for kind, resource_id, role_id in grants:
        key = (kind, resource_id)
        # A role of a later version gives nothing here.
        given = ROLE_PERMISSIONS.get(role_id, _NOTHING)
        permissions[key] = permissions.get(key, _NOTHING) | given
    return permissions
