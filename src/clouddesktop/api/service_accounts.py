"""ServiceAccountService."""

from __future__ import annotations

from yandex.cloud.iam.v1 import service_account_pb2
from yandex.cloud.iam.v1 import service_account_service_pb2 as service
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.api.calls import Call
from clouddesktop.api.filters import parse_filter
from clouddesktop.api.idempotency import idempotency_of
from clouddesktop.api.masks import masked
from clouddesktop.api.messages import service_account_to_message
from clouddesktop.api.operation_pages import operations_page
from clouddesktop.api.packing import OperationPacker
from clouddesktop.api.paging import page_of
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.service_accounts import get_service_account, list_service_accounts
from clouddesktop.errors import UnimplementedError
from clouddesktop.iam.accounts import Accounts, NewServiceAccount, resource_of
from clouddesktop.model.access import Resource
from clouddesktop.model.roles import Permission
from clouddesktop.model.service_account import ServiceAccountChanges

_UPDATABLE = ("name", "description", "labels")


class ServiceAccountServicer:
    """Makes, reads, lists, changes and deletes service accounts."""

    def __init__(
        self, *, database: Database, accounts: Accounts, operations: OperationPacker
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._operations = operations

    async def get(
        self, request: service.GetServiceAccountRequest, call: Call
    ) -> service_account_pb2.ServiceAccount:
        account = await self._database.aread(get_service_account, request.service_account_id)
        if account.id != call.caller.id:  # everybody may see itself
            call.caller.require(Permission.SERVICE_ACCOUNTS_GET, resource_of(account))
        return service_account_to_message(account)

    async def list_page(
        self, request: service.ListServiceAccountsRequest, call: Call
    ) -> service.ListServiceAccountsResponse:
        conditions = parse_filter(request.filter)
        folder = Resource.of_folder(request.folder_id)
        call.caller.require(Permission.SERVICE_ACCOUNTS_GET, folder)
        accounts = await self._database.aread(list_service_accounts, request.folder_id)
        found = [each for each in accounts if all(one.is_met(each.name) for one in conditions)]
        page, token = page_of(request, found, id_of=lambda each: each.id)
        return service.ListServiceAccountsResponse(
            service_accounts=map(service_account_to_message, page), next_page_token=token
        )

    async def create(self, request: service.CreateServiceAccountRequest, call: Call) -> Operation:
        _check_served(request)
        operation = await self._accounts.create(
            NewServiceAccount(
                folder_id=request.folder_id,
                name=request.name,
                description=request.description,
                labels=dict(request.labels),
            ),
            caller=call.caller,
            idempotency=idempotency_of(request, call),
        )
        return self._operations.pack(operation)

    async def update(self, request: service.UpdateServiceAccountRequest, call: Call) -> Operation:
        _check_served(request)
        operation = await self._accounts.update(
            request.service_account_id,
            ServiceAccountChanges(**masked(request, _UPDATABLE)),
            caller=call.caller,
            idempotency=idempotency_of(request, call),
        )
        return self._operations.pack(operation)

    async def delete(self, request: service.DeleteServiceAccountRequest, call: Call) -> Operation:
        operation = await self._accounts.delete(
            request.service_account_id,
            caller=call.caller,
            idempotency=idempotency_of(request, call),
        )
        return self._operations.pack(operation)

    async def list_operations(
        self, request: service.ListServiceAccountOperationsRequest, call: Call
    ) -> service.ListServiceAccountOperationsResponse:
        account = await self._database.aread(get_service_account, request.service_account_id)
        call.caller.require(Permission.SERVICE_ACCOUNTS_GET, resource_of(account))
        return await operations_page(
            request,
            service.ListServiceAccountOperationsResponse,
            resource_id=account.id,
            database=self._database,
            operations=self._operations,
        )

    async def find_resource(self, service_account_id: str) -> Resource:
        """Find an account as what roles are bound on.

        Raises:
            NotFoundError: there is none with this id.
        """
        return resource_of(await self._database.aread(get_service_account, service_account_id))


def _check_served(
    request: service.CreateServiceAccountRequest | service.UpdateServiceAccountRequest,
) -> None:
    if request.HasField("expires_at"):
        raise UnimplementedError(
            "The field expires_at is not served: service accounts live until they are deleted.",
            remedy="Leave it out.",
            facts={"field": "expires_at"},
        )
