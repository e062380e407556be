"""What the verbs that all kinds of resources share do, once a server is to be talked to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from yandex.cloud.access import access_pb2
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.cli.following import check, follow
from clouddesktop.cli.options import Globals
from clouddesktop.cli.render import Columns, print_many, print_one, print_operation
from clouddesktop.cli.resources import Resource
from clouddesktop.cli.session import run_session
from clouddesktop.cli.subjects import parse_subject
from clouddesktop.client import Connection, to_record

_OPERATION_COLUMNS: Columns = {
    "ID": "id",
    "CREATED": "created_at",
    "CREATED BY": "created_by",
    "DONE": "done",
    "DESCRIPTION": "description",
}
_BINDING_COLUMNS: Columns = {
    "ROLE": "role_id", "SUBJECT TYPE": "subject_type", "SUBJECT ID": "subject_id",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ResourceActions:
    """The verbs on one kind of resource; each prints what it comes to."""

    resource: Resource

    def create(self, options: Globals, **fields: Any) -> None:
        async def work(connection: Connection) -> Message:
            place = self.resource.place(connection.profile)
            operation = await self.resource.call(connection, "Create", **place, **fields)
            return self.resource.response_of(await _end_of(connection, operation))

        self.print_one(options, run_session(options, work))

    def get(self, options: Globals, id_or_name: str) -> None:
        found = run_session(options, lambda server: self.resource.find(server, id_or_name))
        self.print_one(options, found)

    def list_(self, options: Globals) -> None:
        found = run_session(options, self.resource.list_all)
        print_many([to_record(each) for each in found], options.style, self.resource.columns)

    def update(self, options: Globals, id_or_name: str, changes: Mapping[str, Any]) -> None:
        """Set the fields in `changes`, and leave the others as they are."""

        async def work(connection: Connection) -> Message:
            found = await self.resource.find(connection, id_or_name)
            fields = {"name": found.name, **changes} if self.resource.is_name_sent else changes
            operation = await self.resource.call(
                connection,
                "Update",
                **{self.resource.id_field: found.id},
                **fields,
                update_mask=FieldMask(paths=list(changes)),
            )
            return self.resource.response_of(await _end_of(connection, operation))

        self.print_one(options, run_session(options, work))

    def delete(self, options: Globals, id_or_name: str) -> None:
        async def work(connection: Connection) -> Operation:
            resource_id = await self.resource.find_id(connection, id_or_name)
            operation = await self.resource.call(
                connection, "Delete", **{self.resource.id_field: resource_id}
            )
            return await _end_of(connection, operation)

        print_operation(run_session(options, work), options.style)

    def list_operations(self, options: Globals, id_or_name: str) -> None:
        async def work(connection: Connection) -> list[Operation]:
            resource_id = await self.resource.find_id(connection, id_or_name)
            return await self.resource.call_for_all(
                connection,
                "ListOperations",
                "operations",
                **{self.resource.id_field: resource_id},
            )

        found = run_session(options, work)
        print_many([to_record(each) for each in found], options.style, _OPERATION_COLUMNS)

    def list_bindings(self, options: Globals, id_or_name: str) -> None:
        async def work(connection: Connection) -> list[access_pb2.AccessBinding]:
            resource_id = await self.resource.find_id(connection, id_or_name)
            return await self.resource.call_for_all(
                connection, "ListAccessBindings", "access_bindings", resource_id=resource_id
            )

        records = [
            {
                "role_id": each.role_id,
                "subject_type": each.subject.type,
                "subject_id": each.subject.id,
            }
            for each in run_session(options, work)
        ]
        print_many(records, options.style, _BINDING_COLUMNS)

    def add_binding(self, options: Globals, id_or_name: str, role: str, subject: str) -> None:
        self._change_binding(options, id_or_name, access_pb2.ADD, role, subject)

    def remove_binding(self, options: Globals, id_or_name: str, role: str, subject: str) -> None:
        self._change_binding(options, id_or_name, access_pb2.REMOVE, role, subject)

    def print_one(self, options: Globals, message: Message) -> None:
        print_one(to_record(message), options.style, self.resource.columns)

    def _change_binding(
        self,
        options: Globals,
        id_or_name: str,
        action: access_pb2.AccessBindingAction.ValueType,
        role: str,
        subject: str,
    ) -> None:
        binding = access_pb2.AccessBinding(role_id=role, subject=parse_subject(subject))
        delta = access_pb2.AccessBindingDelta(action=action, access_binding=binding)

        async def work(connection: Connection) -> Operation:
            resource_id = await self.resource.find_id(connection, id_or_name)
            operation = await self.resource.call(
                connection,
                "UpdateAccessBindings",
                resource_id=resource_id,
                access_binding_deltas=[delta],
            )
            return await _end_of(connection, operation)

        print_operation(run_session(options, work), options.style)


async def _end_of(connection: Connection, operation: Operation) -> Operation:
    """Wait for the operation if it takes time, and raise its error if it ended with one."""
    check(operation)
    if operation.done:
        return operation
    return await follow(connection, operation.id, timeout_seconds=None)
