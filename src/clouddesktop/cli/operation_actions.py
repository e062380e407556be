"""What the verbs of `clouddesktop operation` do, once a server is to be talked to."""

from __future__ import annotations

import typer
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.cli.following import follow
from clouddesktop.cli.options import Globals
from clouddesktop.cli.render import print_operation
from clouddesktop.cli.session import run_session
from clouddesktop.client import Connection
from clouddesktop.client.operations import WAIT_SECONDS
from clouddesktop.errors import Code


def get(options: Globals, operation_id: str) -> None:
    view = run_session(options, lambda connection: connection.get_operation(operation_id))
    print_operation(view.operation, options.style, progress=view.progress)


def wait(options: Globals, operation_id: str, *, timeout_seconds: float | None) -> None:
    operation = run_session(
        options,
        lambda connection: follow(connection, operation_id, timeout_seconds=timeout_seconds),
    )
    print_operation(operation, options.style)


def cancel(
    options: Globals, operation_id: str, *, is_async: bool, timeout_seconds: float | None
) -> None:
    async def cancel_and_wait(connection: Connection) -> Operation:
        operation = await connection.cancel_operation(operation_id)
        if operation.done or is_async:
            return operation
        return await connection.wait_operation(
            operation_id,
            timeout_seconds=WAIT_SECONDS if timeout_seconds is None else timeout_seconds,
        )

    operation = run_session(options, cancel_and_wait)
    if operation.error.code != Code.CANCELLED:
        typer.echo("It had ended already: there was nothing to cancel.", err=True)
    print_operation(operation, options.style)
