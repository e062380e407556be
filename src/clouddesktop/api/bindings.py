"""The three methods on access bindings, which every service has whose resources take roles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from yandex.cloud.access import access_pb2
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.api.calls import Answer, Call
from clouddesktop.api.idempotency import idempotency_of
from clouddesktop.api.messages import binding_to_message
from clouddesktop.api.packing import OperationPacker
from clouddesktop.api.paging import page_of
from clouddesktop.iam.bindings import BindingDelta, Bindings
from clouddesktop.model.access import AccessBinding, Resource

FindResource = Callable[[str], Awaitable[Resource]]
"""Finds the resource with an id, or the one that it would be if it existed."""


class BindingMethods:
    """Lists, sets and updates the bindings of one kind of resource."""

    def __init__(
        self, *, bindings: Bindings, operations: OperationPacker, find_resource: FindResource
    ) -> None:
        self._bindings = bindings
        self._operations = operations
        self._find_resource = find_resource

    @property
    def answers(self) -> Mapping[str, Answer]:
        return {
            "ListAccessBindings": self.list_on,
            "SetAccessBindings": self.set_on,
            "UpdateAccessBindings": self.update_on,
        }

    async def list_on(
        self, request: access_pb2.ListAccessBindingsRequest, call: Call
    ) -> access_pb2.ListAccessBindingsResponse:
        resource = await self._find_resource(request.resource_id)
        bindings = await self._bindings.list_on(resource, caller=call.caller)
        page, token = page_of(request, bindings, id_of=_id_of)
        return access_pb2.ListAccessBindingsResponse(
            access_bindings=map(binding_to_message, page), next_page_token=token
        )

    async def set_on(self, request: access_pb2.SetAccessBindingsRequest, call: Call) -> Operation:
        operation = await self._bindings.set_on(
            await self._find_resource(request.resource_id),
            [_to_binding(each) for each in request.access_bindings],
            caller=call.caller,
            idempotency=idempotency_of(request, call),
        )
        return self._operations.pack(operation)

    async def update_on(
        self, request: access_pb2.UpdateAccessBindingsRequest, call: Call
    ) -> Operation:
        operation = await self._bindings.update_on(
            await self._find_resource(request.resource_id),
            [
                BindingDelta(
                    is_added=each.action == access_pb2.ADD,
                    binding=_to_binding(each.access_binding),
                )
                for each in request.access_binding_deltas
            ],
            caller=call.caller,
            idempotency=idempotency_of(request, call),
        )
        return self._operations.pack(operation)


def _to_binding(message: access_pb2.AccessBinding) -> AccessBinding:
    return AccessBinding(
        role_id=message.role_id,
        subject_id=message.subject.id,
        subject_type=message.subject.type,
    )


def _id_of(binding: AccessBinding) -> str:
    return f"{binding.role_id}\0{binding.subject_id}\0{binding.subject_type}"
