"""FolderService."""

from __future__ import annotations

from datetime import UTC, datetime

from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.resourcemanager.v1 import folder_pb2
from yandex.cloud.resourcemanager.v1.folder_service_pb2 import (
    CreateFolderRequest,
    DeleteFolderRequest,
    GetFolderRequest,
    ListFolderOperationsRequest,
    ListFolderOperationsResponse,
    ListFoldersRequest,
    ListFoldersResponse,
    UpdateFolderRequest,
)

from clouddesktop.api.calls import Call
from clouddesktop.api.filters import parse_filter
from clouddesktop.api.idempotency import idempotency_of
from clouddesktop.api.masks import masked
from clouddesktop.api.messages import folder_to_message
from clouddesktop.api.operation_pages import operations_page
from clouddesktop.api.packing import OperationPacker
from clouddesktop.api.paging import page_of
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import get_folder, list_folders
from clouddesktop.errors import NotFoundError, UnimplementedError
from clouddesktop.iam.folders import Folders, NewFolder
from clouddesktop.model.access import Resource
from clouddesktop.model.folder import FolderChanges
from clouddesktop.model.roles import Permission

_UPDATABLE = ("name", "description", "labels")


class FolderServicer:
    """Makes, reads, lists, changes and deletes folders."""

    def __init__(
        self, *, database: Database, folders: Folders, operations: OperationPacker
    ) -> None:
        self._database = database
        self._folders = folders
        self._operations = operations

    async def get(self, request: GetFolderRequest, call: Call) -> folder_pb2.Folder:
        call.caller.require(Permission.FOLDERS_GET, Resource.of_folder(request.folder_id))
        return folder_to_message(await self._database.aread(get_folder, request.folder_id))

    async def list_page(self, request: ListFoldersRequest, call: Call) -> ListFoldersResponse:
        """List the cloud's folders that the caller may see."""
        conditions = parse_filter(request.filter)
        folders = await self._database.aread(list_folders, request.cloud_id)
        visible = [
            each
            for each in folders
            if call.caller.may(Permission.FOLDERS_GET, Resource.of_folder(each.id))
        ]
        if not visible and not call.caller.may(
            Permission.CLOUDS_GET, Resource.of_cloud(request.cloud_id)
        ):
            raise NotFoundError.of_resource("Cloud", request.cloud_id)
        found = [each for each in visible if all(one.is_met(each.name) for one in conditions)]
        page, token = page_of(request, found, id_of=lambda each: each.id)
        return ListFoldersResponse(folders=map(folder_to_message, page), next_page_token=token)

    async def create(self, request: CreateFolderRequest, call: Call) -> Operation:
        operation = await self._folders.create(
            NewFolder(
                cloud_id=request.cloud_id,
                name=request.name,
                description=request.description,
                labels=dict(request.labels),
            ),
            caller=call.caller,
            idempotency=idempotency_of(request, call),
        )
        return self._operations.pack(operation)

    async def update(self, request: UpdateFolderRequest, call: Call) -> Operation:
        operation = await self._folders.update(
            request.folder_id,
            FolderChanges(**masked(request, _UPDATABLE)),
            caller=call.caller,
            idempotency=idempotency_of(request, call),
        )
        return self._operations.pack(operation)

    async def delete(self, request: DeleteFolderRequest, call: Call) -> Operation:
        wanted_at = request.delete_after.ToDatetime(tzinfo=UTC)
        if request.HasField("delete_after") and wanted_at > datetime.now(tz=UTC):
            raise UnimplementedError(
                "The field delete_after is in the future: folders are deleted at once.",
                remedy="Leave it out.",
                facts={"field": "delete_after"},
            )
        operation = await self._folders.delete(
            request.folder_id, caller=call.caller, idempotency=idempotency_of(request, call)
        )
        return self._operations.pack(operation)

    async def list_operations(
        self, request: ListFolderOperationsRequest, call: Call
    ) -> ListFolderOperationsResponse:
        call.caller.require(Permission.FOLDERS_GET, Resource.of_folder(request.folder_id))
        return await operations_page(
            request,
            ListFolderOperationsResponse,
            resource_id=request.folder_id,
            database=self._database,
            operations=self._operations,
        )
