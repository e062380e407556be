"""KeyService: the authorised keys of service accounts."""

from __future__ import annotations

from yandex.cloud.iam.v1 import key_pb2
from yandex.cloud.iam.v1 import key_service_pb2 as service
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.api.calls import Call
from clouddesktop.api.idempotency import idempotency_of
from clouddesktop.api.masks import masked
from clouddesktop.api.messages import key_to_message
from clouddesktop.api.operation_pages import operations_page
from clouddesktop.api.packing import OperationPacker
from clouddesktop.api.paging import page_of
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.keys import list_keys
from clouddesktop.catalog.service_accounts import get_service_account
from clouddesktop.errors import UnimplementedError
from clouddesktop.iam.accounts import Accounts, find_key_of, resource_of
from clouddesktop.model.roles import Permission


class KeyServicer:
    """Makes, reads, lists, describes and revokes keys; everybody may, with its own ones."""

    def __init__(
        self, *, database: Database, accounts: Accounts, operations: OperationPacker
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._operations = operations

    async def get(self, request: service.GetKeyRequest, call: Call) -> key_pb2.Key:
        key, _ = await self._database.aread(
            find_key_of, request.key_id, call.caller, Permission.KEYS_GET
        )
        return key_to_message(key)

    async def list_page(
        self, request: service.ListKeysRequest, call: Call
    ) -> service.ListKeysResponse:
        """List the keys of an account, the caller's own if none is named."""
        account = await self._database.aread(
            get_service_account, request.service_account_id or call.caller.id
        )
        if account.id != call.caller.id:
            call.caller.require(Permission.KEYS_GET, resource_of(account))
        keys = await self._database.aread(list_keys, account.id)
        page, token = page_of(request, keys, id_of=lambda each: each.id)
        return service.ListKeysResponse(keys=map(key_to_message, page), next_page_token=token)

    async def create(
        self, request: service.CreateKeyRequest, call: Call
    ) -> service.CreateKeyResponse:
        if request.key_algorithm == key_pb2.Key.RSA_4096:
            raise UnimplementedError(
                "Keys of 4096 bits are not made: JWTs are signed with RSA_2048 here.",
                remedy="Leave key_algorithm out.",
                facts={"field": "key_algorithm"},
            )
        key, private_key = await self._accounts.create_key(
            request.service_account_id, request.description, caller=call.caller
        )
        return service.CreateKeyResponse(key=key_to_message(key), private_key=private_key)

    async def update(self, request: service.UpdateKeyRequest, call: Call) -> Operation:
        operation = await self._accounts.update_key(
            request.key_id,
            masked(request, ("description",))["description"],
            caller=call.caller,
            idempotency=idempotency_of(request, call),
        )
        return self._operations.pack(operation)

    async def delete(self, request: service.DeleteKeyRequest, call: Call) -> Operation:
        operation = await self._accounts.delete_key(
            request.key_id, caller=call.caller, idempotency=idempotency_of(request, call)
        )
        return self._operations.pack(operation)

    async def list_operations(
        self, request: service.ListKeyOperationsRequest, call: Call
    ) -> service.ListKeyOperationsResponse:
        key, _ = await self._database.aread(
            find_key_of, request.key_id, call.caller, Permission.KEYS_GET
        )
        return await operations_page(
            request,
            service.ListKeyOperationsResponse,
            resource_id=key.id,
            database=self._database,
            operations=self._operations,
        )
