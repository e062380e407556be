"""Making, changing and deleting service accounts and their keys; operations come back done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import sqlalchemy as sa

from clouddesktop.catalog.bindings import remove_all_bindings, remove_bindings_of
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import get_folder
from clouddesktop.catalog.keys import add_key, delete_key, get_key, update_key
from clouddesktop.catalog.operations import add_done_operation, find_earlier_operation
from clouddesktop.catalog.service_accounts import (
    add_service_account,
    delete_service_account,
    get_service_account,
    update_service_account,
)
from clouddesktop.iam.access import Access, Caller
from clouddesktop.iam.bindings import check_admin_left
from clouddesktop.iam.keys import make_authorized_key
from clouddesktop.iam.tokens import TokenService
from clouddesktop.ids import Prefix, new_id
from clouddesktop.model.access import AuthorizedKey, Resource
from clouddesktop.model.operation import IdempotencyKey, Operation, OperationKind
from clouddesktop.model.roles import Permission
from clouddesktop.model.service_account import ServiceAccount, ServiceAccountChanges


@dataclass(frozen=True, slots=True, kw_only=True)
class NewServiceAccount:
    """The service account to make, and the folder to make it in."""

    folder_id: str
    name: str
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


class Accounts:
    """Changes service accounts and keys. With an idempotency key, calls return their first answer.

    What is revoked or deleted counts at once in this process, and within seconds in others.
    """

    def __init__(self, *, database: Database, access: Access, tokens: TokenService) -> None:
        self._database = database
        self._access = access
        self._tokens = tokens

    async def create(
        self, new: NewServiceAccount, *, caller: Caller, idempotency: IdempotencyKey | None
    ) -> Operation:
        """Make a service account, which may do nothing before it is given a role.

        Raises:
            NotFoundError: there is no such folder, or none that the caller may see.
            PermissionDeniedError: the caller may not make accounts in it.
            AlreadyExistsError: the folder has one of this name.
        """

        def change(connection: sa.Connection) -> Operation:
            get_folder(connection, new.folder_id)
            caller.require(Permission.SERVICE_ACCOUNTS_CREATE, Resource.of_folder(new.folder_id))
            account = ServiceAccount(
                id=new_id(Prefix.SERVICE_ACCOUNT),
                folder_id=new.folder_id,
                name=new.name,
                created_at=datetime.now(tz=UTC),
                description=new.description,
                labels=new.labels,
            )
            add_service_account(connection, account)
            return _note_account(connection, OperationKind.CREATE_SERVICE_ACCOUNT, account, order)

        order = _Order(caller, idempotency)
        return await self._write(change, order)

    async def update(
        self,
        service_account_id: str,
        changes: ServiceAccountChanges,
        *,
        caller: Caller,
        idempotency: IdempotencyKey | None,
    ) -> Operation:
        """Change what people say of a service account.

        Raises:
            NotFoundError: there is no such account, or none that the caller may see.
            PermissionDeniedError: the caller may not change it.
            AlreadyExistsError: its folder has another one of the new name.
        """

        def change(connection: sa.Connection) -> Operation:
            account = get_service_account(connection, service_account_id)
            caller.require(Permission.SERVICE_ACCOUNTS_UPDATE, resource_of(account))
            account = update_service_account(connection, account, changes)
            return _note_account(connection, OperationKind.UPDATE_SERVICE_ACCOUNT, account, order)

        order = _Order(caller, idempotency)
        return await self._write(change, order)

    async def delete(
        self, service_account_id: str, *, caller: Caller, idempotency: IdempotencyKey | None
    ) -> Operation:
        """Delete a service account, its keys and its roles; its tokens end at once.

        Raises:
            NotFoundError: there is no such account, or none that the caller may see.
            PermissionDeniedError: the caller may not delete it.
            LastAdminError: its cloud would have no administrator left.
        """

        def change(connection: sa.Connection) -> Operation:
            account = get_service_account(connection, service_account_id)
            caller.require(Permission.SERVICE_ACCOUNTS_DELETE, resource_of(account))
            delete_service_account(connection, service_account_id)
            remove_bindings_of(connection, service_account_id)
            remove_all_bindings(connection, [resource_of(account)])
            cloud_id = get_folder(connection, account.folder_id).cloud_id
            check_admin_left(connection, Resource.of_cloud(cloud_id))
            return _note_account(connection, OperationKind.DELETE_SERVICE_ACCOUNT, account, order)

        order = _Order(caller, idempotency)
        operation = await self._write(change, order)
        self._access.forget()
        self._tokens.forget_keys()
        return operation

    async def create_key(
        self, service_account_id: str, description: str, *, caller: Caller
    ) -> tuple[AuthorizedKey, str]:
        """Make a key for an account, the caller's own if the id is empty.

        Returns:
            The key, and its private half in PEM behind a guard line, which is kept nowhere.

        Raises:
            NotFoundError: there is no such account, or none that the caller may see.
            PermissionDeniedError: the caller may not make keys for it.
        """
        account = await self._database.aread(get_service_account, service_account_id or caller.id)
        if account.id != caller.id:
            caller.require(Permission.KEYS_CREATE, resource_of(account))
        key, document = await asyncio.to_thread(
            make_authorized_key, account.id, now=datetime.now(tz=UTC), description=description
        )
        await self._database.awrite(add_key, key)
        return key, document["private_key"]

    async def update_key(
        self,
        key_id: str,
        description: str | None,
        *,
        caller: Caller,
        idempotency: IdempotencyKey | None,
    ) -> Operation:
        """Describe a key anew.

        Raises:
            NotFoundError: there is no such key, or none that the caller may see.
            PermissionDeniedError: the caller may not change it.
        """

        def change(connection: sa.Connection) -> Operation:
            key, account = find_key_of(connection, key_id, caller, Permission.KEYS_UPDATE)
            if description is not None:
                key = update_key(connection, key, description)
            return _note_key(connection, OperationKind.UPDATE_KEY, key, account, order)

        order = _Order(caller, idempotency)
        return await self._write(change, order)

    async def delete_key(
        self, key_id: str, *, caller: Caller, idempotency: IdempotencyKey | None
    ) -> Operation:
        """Revoke a key: neither it nor a token that was got by it is good for anything.

        Raises:
            NotFoundError: there is no such key, or none that the caller may see.
            PermissionDeniedError: the caller may not revoke it.
        """

        def change(connection: sa.Connection) -> Operation:
            key, account = find_key_of(connection, key_id, caller, Permission.KEYS_DELETE)
            delete_key(connection, key_id)
            return _note_key(connection, OperationKind.DELETE_KEY, key, account, order)

        order = _Order(caller, idempotency)
        operation = await self._write(change, order)
        self._tokens.forget_keys()
        return operation

    async def _write(
        self, change: Callable[[sa.Connection], Operation], order: _Order
    ) -> Operation:
        def change_once(connection: sa.Connection) -> Operation:
            earlier = find_earlier_operation(
                connection, subject_id=order.caller.id, idempotency=order.idempotency
            )
            return change(connection) if earlier is None else earlier

        return await self._database.awrite(change_once)


def resource_of(account: ServiceAccount) -> Resource:
    """Give a service account as what roles are bound on."""
    return Resource.of_service_account(account.id, account.folder_id)


def find_key_of(
    connection: sa.Connection, key_id: str, caller: Caller, permission: Permission
) -> tuple[AuthorizedKey, ServiceAccount]:
    """Find a key that the caller may do something with; with its own ones it may do anything.

    Raises:
        NotFoundError: there is no such key, or none that the caller may see.
        PermissionDeniedError: the caller may see it, and not do this.
    """
    key = get_key(connection, key_id)
    account = get_service_account(connection, key.service_account_id)
    if account.id != caller.id:
        caller.require(permission, Resource.of_key(key_id, account.folder_id))
    return key, account


@dataclass(frozen=True, slots=True)
class _Order:
    caller: Caller
    idempotency: IdempotencyKey | None


_DESCRIPTIONS = {
    OperationKind.CREATE_SERVICE_ACCOUNT: "Create service account",
    OperationKind.UPDATE_SERVICE_ACCOUNT: "Update service account",
    OperationKind.DELETE_SERVICE_ACCOUNT: "Delete service account",
    OperationKind.UPDATE_KEY: "Update key",
    OperationKind.DELETE_KEY: "Delete key",
}


def _note_account(
    connection: sa.Connection, kind: OperationKind, account: ServiceAccount, order: _Order
) -> Operation:
    is_gone = kind is OperationKind.DELETE_SERVICE_ACCOUNT
    return add_done_operation(
        connection,
        kind=kind,
        description=_DESCRIPTIONS[kind],
        subject_id=order.caller.id,
        resource_id=account.id,
        folder_id=account.folder_id,
        result=None if is_gone else account.to_record(),
        idempotency=order.idempotency,
    )


def _note_key(
    connection: sa.Connection,
    kind: OperationKind,
    key: AuthorizedKey,
    account: ServiceAccount,
    order: _Order,
) -> Operation:
    return add_done_operation(
        connection,
        kind=kind,
        description=_DESCRIPTIONS[kind],
        subject_id=order.caller.id,
        resource_id=key.id,
        folder_id=account.folder_id,
        result=None if kind is OperationKind.DELETE_KEY else key.to_record(),
        idempotency=order.idempotency,
    )
