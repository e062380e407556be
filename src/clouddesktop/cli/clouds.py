"""The verbs of `clouddesktop resource-manager cloud`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from clouddesktop.cli.options import (
    Globals,
    RoleOption,
    SubjectOption,
)
from clouddesktop.cli.verbs import with_globals

if TYPE_CHECKING:
    from clouddesktop.cli.resource_actions import ResourceActions

app = typer.Typer(no_args_is_help=True)

CloudArgument = Annotated[str, typer.Argument(metavar="ID", help="The cloud's id.")]


@app.command("get")
@with_globals
def get(options: Globals, cloud: CloudArgument) -> None:
    """Show one cloud."""
    _clouds().get(options, cloud)


@app.command("list")
@with_globals
def list_(options: Globals) -> None:
    """List the clouds that you may see."""
    _clouds().list_(options)


@app.command("list-access-bindings")
@with_globals
def list_bindings(options: Globals, cloud: CloudArgument) -> None:
    """List who has which role on a cloud."""
    _clouds().list_bindings(options, cloud)


@app.command("add-access-binding")
@with_globals
def add_binding(
    options: Globals, cloud: CloudArgument, role: RoleOption, subject: SubjectOption
) -> None:
    """Give somebody a role on a cloud and on all that lies in it."""
    _clouds().add_binding(options, cloud, role, subject)


@app.command("remove-access-binding")
@with_globals
def remove_binding(
    options: Globals, cloud: CloudArgument, role: RoleOption, subject: SubjectOption
) -> None:
    """Take a role on a cloud away from somebody."""
    _clouds().remove_binding(options, cloud, role, subject)


def _clouds() -> ResourceActions:
    from clouddesktop.cli.kinds import CLOUDS  # noqa: PLC0415  (grpc)
    from clouddesktop.cli.resource_actions import ResourceActions  # noqa: PLC0415  (the same)

    return ResourceActions(CLOUDS)
