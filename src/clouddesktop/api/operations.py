"""OperationService."""

from __future__ import annotations

import json

from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.operation.operation_service_pb2 import GetOperationRequest

from clouddesktop.api.calls import Call
from clouddesktop.api.packing import OperationPacker
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.operations import get_operation

PROGRESS_KEY = "x-operation-progress"
"""Trailing metadata of Get: JSON, so that clients that don't know it are undisturbed."""


class OperationServicer:
    """Reads operations."""

    def __init__(self, *, database: Database, operations: OperationPacker) -> None:
        self._database = database
        self._operations = operations

    async def get(self, request: GetOperationRequest, call: Call) -> Operation:
        operation = await self._database.aread(get_operation, request.operation_id)
        call.trailing[PROGRESS_KEY] = json.dumps(operation.progress.to_record())
        return self._operations.pack(operation)
