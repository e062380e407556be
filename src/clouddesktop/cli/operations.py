"""The verbs of `clouddesktop operation`."""

from __future__ import annotations

from typing import Annotated

import typer

from clouddesktop.cli.options import AsyncOption, Globals, TimeoutOption
from clouddesktop.cli.verbs import with_globals_of_server

app = typer.Typer(no_args_is_help=True)

OperationArgument = Annotated[str, typer.Argument(metavar="ID", help="The operation's id.")]


@app.command("get")
@with_globals_of_server
def get(options: Globals, operation_id: OperationArgument) -> None:
    """Show an operation, and how far it is."""
    from clouddesktop.cli import operation_actions  # noqa: PLC0415  (grpc)

    operation_actions.get(options, operation_id)


@app.command("cancel")
@with_globals_of_server
def cancel(
    options: Globals,
    operation_id: OperationArgument,
    *,
    is_async: AsyncOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Cancel an operation, and wait until it is rolled back; one that is done stays as it is."""
    from clouddesktop.cli import operation_actions  # noqa: PLC0415  (grpc)

    operation_actions.cancel(options, operation_id, is_async=is_async, timeout_seconds=timeout)


@app.command("wait")
@with_globals_of_server
def wait(
    options: Globals, operation_id: OperationArgument, *, timeout: TimeoutOption = None
) -> None:
    """Wait for the end of an operation; fails if the operation does."""
    from clouddesktop.cli import operation_actions  # noqa: PLC0415  (grpc)

    operation_actions.wait(options, operation_id, timeout_seconds=timeout)
