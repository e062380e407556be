"""The verbs of `clouddesktop operation`."""

from __future__ import annotations

from typing import Annotated

import typer

from clouddesktop.cli.options import (
    AsyncOption,
    EndpointOption,
    Globals,
    ProfileOption,
    StyleOption,
    TimeoutOption,
)

app = typer.Typer(no_args_is_help=True)

OperationArgument = Annotated[str, typer.Argument(metavar="ID", help="The operation's id.")]


@app.command("get")
def get(
    context: typer.Context,
    operation_id: OperationArgument,
    *,
    style: StyleOption = None,
    profile: ProfileOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Show an operation, and how far it is."""
    from clouddesktop.cli import operation_actions  # noqa: PLC0415  (grpc)

    operation_actions.get(
        context.ensure_object(Globals).overridden_by(
            style=style, profile=profile, endpoint=endpoint
        ),
        operation_id,
    )


@app.command("cancel")
def cancel(
    context: typer.Context,
    operation_id: OperationArgument,
    *,
    is_async: AsyncOption = False,
    timeout: TimeoutOption = None,
    style: StyleOption = None,
    profile: ProfileOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Cancel an operation, and wait until it is rolled back; one that is done stays as it is."""
    from clouddesktop.cli import operation_actions  # noqa: PLC0415  (grpc)

    operation_actions.cancel(
        context.ensure_object(Globals).overridden_by(
            style=style, profile=profile, endpoint=endpoint
        ),
        operation_id,
        is_async=is_async,
        timeout_seconds=timeout,
    )


@app.command("wait")
def wait(
    context: typer.Context,
    operation_id: OperationArgument,
    *,
    timeout: TimeoutOption = None,
    style: StyleOption = None,
    profile: ProfileOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Wait for the end of an operation; fails if the operation does."""
    from clouddesktop.cli import operation_actions  # noqa: PLC0415  (grpc)

    operation_actions.wait(
        context.ensure_object(Globals).overridden_by(
            style=style, profile=profile, endpoint=endpoint
        ),
        operation_id,
        timeout_seconds=timeout,
    )
