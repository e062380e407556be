"""A kind of resource as its service has it: what the verbs that all kinds share need to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.cli.render import Columns
from clouddesktop.client import CallError, Code, Connection, Profile

_PAGE_SIZE = 1000


def in_folder(profile: Profile) -> Mapping[str, str]:
    """Name the folder that List and Create are about."""
    return {"folder_id": profile.folder_id}


def in_cloud(profile: Profile) -> Mapping[str, str]:
    """Name the cloud that List and Create are about."""
    return {"cloud_id": profile.cloud_id}


def anywhere(_: Profile) -> Mapping[str, str]:
    """Name no place: List is about all that the caller may see."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind of resource, and the calls of its service."""

    service: ServiceDescriptor
    stub: Callable[[Any], Any]
    """Its official class of stubs."""

    columns: Columns
    """Of its tables."""

    id_field: str
    """How Get, Update, Delete and ListOperations name the resource."""

    items_field: str
    """Where the answer of List has the resources."""

    place: Callable[[Profile], Mapping[str, str]] = in_folder
    """The fields of List and Create that say where."""

    has_names: bool = True
    """Whether people may say a name where an id is wanted."""

    is_name_sent: bool = False
    """Whether the API wants a name in every Update; the mask tells whether it counts."""

    async def call(self, connection: Connection, method: str, **fields: Any) -> Any:
        """Call a method of the service with a request of these fields."""
        request = GetMessageClass(self.service.methods_by_name[method].input_type)(**fields)
        return await connection.call(getattr(self.stub(connection.channel), method), request)

    async def call_for_all(
        self, connection: Connection, method: str, items_field: str, **fields: Any
    ) -> list[Any]:
        """Call a method that lists, page by page."""
        found: list[Any] = []
        token = ""
        while True:
            page = await self.call(
                connection, method, **fields, page_size=_PAGE_SIZE, page_token=token
            )
            found += getattr(page, items_field)
            token = page.next_page_token
            if not token:
                return found

    async def list_all(self, connection: Connection, **fields: Any) -> list[Any]:
        place = self.place(connection.profile)
        return await self.call_for_all(connection, "List", self.items_field, **place, **fields)

    async def find(self, connection: Connection, id_or_name: str) -> Any:
        """Get a resource by its id, or else by its name.

        Raises:
            CallError: there is neither; in the server's words about the id.
        """
        try:
            return await self.call(connection, "Get", **{self.id_field: id_or_name})
        except CallError as error:
            # A name may be no valid id.
            if not self.has_names or error.code not in {Code.NOT_FOUND, Code.INVALID_ARGUMENT}:
                raise
            named = [each for each in await self.list_all(connection) if each.name == id_or_name]
            if not named:
                raise
            return named[0]

    async def find_id(self, connection: Connection, id_or_name: str) -> str:
        """Get the id; of a kind without names it is what was given."""
        if not self.has_names:
            return id_or_name
        return str((await self.find(connection, id_or_name)).id)

    def response_of(self, operation: Operation) -> Message:
        """Take the resource out of an operation that made or changed it."""
        resource = GetMessageClass(self.service.methods_by_name["Get"].output_type)()
        operation.response.Unpack(resource)
        return resource
