"""What the verbs on keys and tokens do that no other kind of resource has."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import typer
from yandex.cloud.iam.v1.key_pb2 import Key
from yandex.cloud.iam.v1.key_service_pb2 import CreateKeyResponse

from clouddesktop.cli.kinds import ACCOUNTS, KEYS
from clouddesktop.cli.options import Globals
from clouddesktop.cli.render import print_many, print_one
from clouddesktop.cli.session import run_session
from clouddesktop.client import Connection, ProfileError, to_record
from clouddesktop.errors import AlreadyExistsError


def create_key(options: Globals, id_or_name: str, *, output: Path, description: str) -> None:
    async def create(connection: Connection) -> CreateKeyResponse:
        account = await _account_fields(connection, id_or_name)
        response: CreateKeyResponse
        response = await KEYS.call(connection, "Create", **account, description=description)
        return response

    with _NewFile(output) as file:
        made = run_session(options, create)
        document = {
            **to_record(made.key),
            "private_key": made.private_key,
        }
        file.write(json.dumps(document, indent=2).encode())
    print_one(to_record(made.key), options.style, KEYS.columns)


def list_keys(options: Globals, id_or_name: str) -> None:
    async def list_them(connection: Connection) -> list[Key]:
        account = await _account_fields(connection, id_or_name)
        return await KEYS.list_all(connection, **account)

    found = run_session(options, list_them)
    print_many([to_record(each) for each in found], options.style, KEYS.columns)


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


async def _account_fields(connection: Connection, id_or_name: str) -> dict[str, str]:
    """Name the service account that a request on keys is about: the caller's own by default."""
    if not id_or_name:
        return {}
    return {"service_account_id": await ACCOUNTS.find_id(connection, id_or_name)}
