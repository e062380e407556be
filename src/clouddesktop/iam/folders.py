"""Making, changing and deleting folders; each in one transaction, so operations come back done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import sqlalchemy as sa

from clouddesktop.catalog.bindings import remove_all_bindings
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import (
    add_folder,
    delete_folder,
    get_cloud,
    get_folder,
    update_folder,
)
from clouddesktop.catalog.operations import add_done_operation, find_earlier_operation
from clouddesktop.iam.access import Access, Caller
from clouddesktop.ids import Prefix, new_id
from clouddesktop.model.access import Resource
from clouddesktop.model.folder import Folder, FolderChanges
from clouddesktop.model.operation import IdempotencyKey, Operation, OperationKind
from clouddesktop.model.roles import Permission


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFolder:
    """The folder to make, and the cloud to make it in."""

    cloud_id: str
    name: str
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


class Folders:
    """Changes folders. Asked again with an idempotency key, each call returns its first answer."""

    def __init__(self, *, database: Database, access: Access) -> None:
        self._database = database
        self._access = access

    async def create(
        self, new: NewFolder, *, caller: Caller, idempotency: IdempotencyKey | None
    ) -> Operation:
        """Make a folder.

        Raises:
            NotFoundError: there is no such cloud, or none that the caller may see.
            PermissionDeniedError: the caller may not make folders in it.
            AlreadyExistsError: the cloud has a folder of this name.
        """
        return await self._database.awrite(_create, new, caller, idempotency)

    async def update(
        self,
        folder_id: str,
        changes: FolderChanges,
        *,
        caller: Caller,
        idempotency: IdempotencyKey | None,
    ) -> Operation:
        """Change what people say of a folder.

        Raises:
            NotFoundError: there is no such folder, or none that the caller may see.
            PermissionDeniedError: the caller may not change it.
            AlreadyExistsError: its cloud has another folder of the new name.
        """
        return await self._database.awrite(_update, folder_id, changes, caller, idempotency)

    async def delete(
        self, folder_id: str, *, caller: Caller, idempotency: IdempotencyKey | None
    ) -> Operation:
        """Delete an empty folder, and the roles that were bound on it.

        Raises:
            NotFoundError: there is no such folder, or none that the caller may see.
            PermissionDeniedError: the caller may not delete it.
            FolderNotEmptyError: something is in it.
        """
        operation = await self._database.awrite(_delete, folder_id, caller, idempotency)
        self._access.forget()
        return operation


def _create(
    connection: sa.Connection,
    new: NewFolder,
    caller: Caller,
    idempotency: IdempotencyKey | None,
) -> Operation:
    earlier = find_earlier_operation(connection, subject_id=caller.id, idempotency=idempotency)
    if earlier is not None:
        return earlier
    caller.require(Permission.FOLDERS_CREATE, Resource.of_cloud(new.cloud_id))
    get_cloud(connection, new.cloud_id)
    folder = Folder(
        id=new_id(Prefix.FOLDER),
        cloud_id=new.cloud_id,
        name=new.name,
        created_at=datetime.now(tz=UTC),
        description=new.description,
        labels=new.labels,
    )
    add_folder(connection, folder)
    return _note(connection, OperationKind.CREATE_FOLDER, folder, caller, idempotency)


def _update(
    connection: sa.Connection,
    folder_id: str,
    changes: FolderChanges,
    caller: Caller,
    idempotency: IdempotencyKey | None,
) -> Operation:
    earlier = find_earlier_operation(connection, subject_id=caller.id, idempotency=idempotency)
    if earlier is not None:
        return earlier
    caller.require(Permission.FOLDERS_UPDATE, Resource.of_folder(folder_id))
    folder = update_folder(connection, folder_id, changes)
    return _note(connection, OperationKind.UPDATE_FOLDER, folder, caller, idempotency)


def _delete(
    connection: sa.Connection,
    folder_id: str,
    caller: Caller,
    idempotency: IdempotencyKey | None,
) -> Operation:
    earlier = find_earlier_operation(connection, subject_id=caller.id, idempotency=idempotency)
    if earlier is not None:
        return earlier
    folder = get_folder(connection, folder_id)
    resource = Resource.of_folder(folder_id)
    caller.require(Permission.FOLDERS_DELETE, resource)
    delete_folder(connection, folder_id)
    remove_all_bindings(connection, [resource])
    return _note(connection, OperationKind.DELETE_FOLDER, folder, caller, idempotency)


_DESCRIPTIONS = {
    OperationKind.CREATE_FOLDER: "Create folder",
    OperationKind.UPDATE_FOLDER: "Update folder",
    OperationKind.DELETE_FOLDER: "Delete folder",
}


def _note(
    connection: sa.Connection,
    kind: OperationKind,
    folder: Folder,
    caller: Caller,
    idempotency: IdempotencyKey | None,
) -> Operation:
    return add_done_operation(
        connection,
        kind=kind,
        description=_DESCRIPTIONS[kind],
        subject_id=caller.id,
        resource_id=folder.id,
        folder_id=folder.id,
        result=None if kind is OperationKind.DELETE_FOLDER else folder.to_record(),
        idempotency=idempotency,
    )
