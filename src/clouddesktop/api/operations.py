"""OperationService."""

from __future__ import annotations

import json

from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.operation.operation_service_pb2 import (
    CancelOperationRequest,
    GetOperationRequest,
)

from clouddesktop.api.calls import Call
from clouddesktop.api.packing import OperationPacker
from clouddesktop.catalog.cancelling import cancel_operation
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.operations import get_operation
from clouddesktop.errors import OperationCancelledError
from clouddesktop.iam.access import Caller
from clouddesktop.model import operation as model
from clouddesktop.model.access import Resource, ResourceKind
from clouddesktop.model.roles import Permission

PROGRESS_KEY = "x-operation-progress"
"""Trailing metadata of Get: JSON, so that clients that don't know it are undisturbed."""

_CANCEL_PERMISSIONS = {
    model.OperationKind.COPY_IMAGE: Permission.IMAGES_CREATE,
    model.OperationKind.CREATE_COMPUTE_IMAGE: Permission.COMPUTE_IMAGES_CREATE,
}
"""What a caller who did not start it needs in its folder; others are done when they are made."""


class OperationServicer:
    """Reads and cancels operations."""

    def __init__(self, *, database: Database, operations: OperationPacker) -> None:
        self._database = database
        self._operations = operations

    async def get(self, request: GetOperationRequest, call: Call) -> Operation:
        operation = await self._get(request.operation_id, call.caller)
        call.trailing[PROGRESS_KEY] = json.dumps(operation.progress.to_record())
        return self._operations.pack(operation)

    async def cancel(self, request: CancelOperationRequest, call: Call) -> Operation:
        operation = await self._get(request.operation_id, call.caller)
        if operation.created_by != call.caller.id:
            permission = _CANCEL_PERMISSIONS.get(operation.kind, Permission.FOLDERS_GET)
            call.caller.require(permission, _resource_of(operation))
        reason = OperationCancelledError(
            f"The operation {request.operation_id} was cancelled.",
            facts={"operation_id": request.operation_id, "cancelled_by": call.caller.id},
        )
        operation = await self._database.awrite(
            cancel_operation, request.operation_id, failure=reason.failure
        )
        return self._operations.pack(operation)

    async def _get(self, operation_id: str, caller: Caller) -> model.Operation:
        """Get an operation that the caller has started, or whose folder it may see."""
        found = await self._database.aread_few(get_operation, operation_id)
        if found.created_by != caller.id:
            caller.require(Permission.FOLDERS_GET, _resource_of(found))
        return found


def _resource_of(found: model.Operation) -> Resource:
    return Resource(ResourceKind.OPERATION, found.id, found.folder_id)
