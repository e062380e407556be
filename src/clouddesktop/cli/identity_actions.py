"""What the verbs on service accounts, keys and tokens do, once a server is to be talked to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from yandex.cloud.iam.v1 import key_service_pb2 as keys
from yandex.cloud.iam.v1 import service_account_service_pb2 as accounts
from yandex.cloud.iam.v1.key_service_pb2_grpc import KeyServiceStub
from yandex.cloud.iam.v1.service_account_pb2 import ServiceAccount
from yandex.cloud.iam.v1.service_account_service_pb2_grpc import ServiceAccountServiceStub
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.cli.options import Globals
from clouddesktop.cli.render import Columns, print_many, print_one, print_operation
from clouddesktop.cli.session import run_session
from clouddesktop.client import CallError, Code, Connection, ProfileError, to_record
from clouddesktop.errors import AlreadyExistsError

_ACCOUNT_COLUMNS: Columns = {"ID": "id", "NAME": "name", "CREATED": "created_at"}
_KEY_COLUMNS: Columns = {
    "ID": "id",
    "SERVICE ACCOUNT": "service_account_id",
    "CREATED": "created_at",
    "DESCRIPTION": "description",
}


def create_account(
    options: Globals, *, name: str, description: str, labels: Mapping[str, str]
) -> None:
    async def create(connection: Connection) -> ServiceAccount:
        request = accounts.CreateServiceAccountRequest(
            folder_id=connection.profile.folder_id,
            name=name,
            description=description,
            labels=labels,
        )
        return _account_of(await connection.call(_accounts(connection).Create, request))

    print_one(to_record(run_session(options, create)), options.style, _ACCOUNT_COLUMNS)


def get_account(options: Globals, id_or_name: str) -> None:
    account = run_session(options, lambda connection: _find(connection, id_or_name))
    print_one(to_record(account), options.style, _ACCOUNT_COLUMNS)


def list_accounts(options: Globals) -> None:
    found = run_session(options, _list)
    print_many([to_record(each) for each in found], options.style, _ACCOUNT_COLUMNS)


def update_account(
    options: Globals,
    id_or_name: str,
    *,
    name: str | None,
    description: str | None,
    labels: Mapping[str, str] | None,
) -> None:
    async def update(connection: Connection) -> ServiceAccount:
        account = await _find(connection, id_or_name)
        request = accounts.UpdateServiceAccountRequest(
            service_account_id=account.id,
            # The API's rule wants a name in every request; the mask tells whether it counts.
            name=name or account.name,
            description=description or "",
            labels=labels or {},
        )
        given = {"name": name, "description": description, "labels": labels}
        request.update_mask.paths.extend(key for key, value in given.items() if value is not None)
        return _account_of(await connection.call(_accounts(connection).Update, request))

    print_one(to_record(run_session(options, update)), options.style, _ACCOUNT_COLUMNS)


def delete_account(options: Globals, id_or_name: str) -> None:
    async def delete(connection: Connection) -> Operation:
        account = await _find(connection, id_or_name)
        request = accounts.DeleteServiceAccountRequest(service_account_id=account.id)
        operation: Operation = await connection.call(_accounts(connection).Delete, request)
        return operation

    print_operation(run_session(options, delete), options.style)


def create_key(options: Globals, id_or_name: str, *, output: Path, description: str) -> None:
    async def create(connection: Connection) -> keys.CreateKeyResponse:
        account_id = (await _find(connection, id_or_name)).id if id_or_name else ""
        request = keys.CreateKeyRequest(service_account_id=account_id, description=description)
        response: keys.CreateKeyResponse = await connection.call(_keys(connection).Create, request)
        return response

    with _NewFile(output) as file:
        made = run_session(options, create)
        document = {
            **to_record(made.key),
            "private_key": made.private_key,
        }
        file.write(json.dumps(document, indent=2).encode())
    print_one(to_record(made.key), options.style, _KEY_COLUMNS)


def get_key(options: Globals, key_id: str) -> None:
    request = keys.GetKeyRequest(key_id=key_id)
    key = run_session(options, lambda connection: connection.call(_keys(connection).Get, request))
    print_one(to_record(key), options.style, _KEY_COLUMNS)


def list_keys(options: Globals, id_or_name: str) -> None:
    async def list_them(connection: Connection) -> list[Any]:
        account_id = (await _find(connection, id_or_name)).id if id_or_name else ""
        request = keys.ListKeysRequest(service_account_id=account_id, page_size=1000)
        page = await connection.call(_keys(connection).List, request)
        return list(page.keys)

    found = run_session(options, list_them)
    print_many([to_record(each) for each in found], options.style, _KEY_COLUMNS)


def delete_key(options: Globals, key_id: str) -> None:
    request = keys.DeleteKeyRequest(key_id=key_id)
    operation = run_session(
        options, lambda connection: connection.call(_keys(connection).Delete, request)
    )
    print_operation(operation, options.style)


def create_token(options: Globals) -> None:
    async def create(connection: Connection) -> str:
        if connection.tokens is None:
            raise ProfileError(
                "The profile has no key, so there is nothing to get a token by.",
                remedy="Name the file of an authorised key as `key` in it.",
            )
        return await connection.tokens.get()

    typer.echo(run_session(options, create))


class _NewFile:
    """A file that its owner alone can read; gone again when what should fill it fails."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Any:
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError as error:
            raise AlreadyExistsError(
                f"The file {self._path} is there already.", remedy="Name a new one."
            ) from error
        self._file = os.fdopen(fd, "wb")
        return self._file

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._file.close()
        if error is not None:
            self._path.unlink()


def _accounts(connection: Connection) -> Any:
    return ServiceAccountServiceStub(connection.channel)


def _keys(connection: Connection) -> Any:
    return KeyServiceStub(connection.channel)


def _account_of(operation: Operation) -> ServiceAccount:
    account = ServiceAccount()
    operation.response.Unpack(account)
    return account


async def _list(connection: Connection) -> list[ServiceAccount]:
    found: list[ServiceAccount] = []
    request = accounts.ListServiceAccountsRequest(
        folder_id=connection.profile.folder_id, page_size=1000
    )
    while True:
        page = await connection.call(_accounts(connection).List, request)
        found += page.service_accounts
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def _find(connection: Connection, id_or_name: str) -> ServiceAccount:
    try:
        account: ServiceAccount = await connection.call(
            _accounts(connection).Get,
            accounts.GetServiceAccountRequest(service_account_id=id_or_name),
        )
    except CallError as error:
        if error.code not in {Code.NOT_FOUND, Code.INVALID_ARGUMENT}:
            raise
        named = [each for each in await _list(connection) if each.name == id_or_name]
        if not named:
            raise
        return named[0]
    return account
