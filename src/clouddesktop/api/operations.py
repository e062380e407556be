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

PROGRESS_KEY = "x-operation-progress"
"""Trailing metadata of Get: JSON, so that clients that don't know it are undisturbed."""


class OperationServicer:
    """Reads and cancels operations."""

    def __init__(self, *, database: Database, operations: OperationPacker) -> None:
        self._database = database
        self._operations = operations

    async def get(self, request: GetOperationRequest, call: Call) -> Operation:
        operation = await self._database.aread(get_operation, request.operation_id)
        call.trailing[PROGRESS_KEY] = json.dumps(operation.progress.to_record())
        return self._operations.pack(operation)

    async def cancel(self, request: CancelOperationRequest, call: Call) -> Operation:
        reason = OperationCancelledError(
            f"The operation {request.operation_id} was cancelled.",
            facts={"operation_id": request.operation_id, "cancelled_by": call.subject.id},
        )
        operation = await self._database.awrite(
            cancel_operation, request.operation_id, failure=reason.failure
        )
        return self._operations.pack(operation)
