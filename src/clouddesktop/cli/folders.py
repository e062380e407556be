"""The verbs of `clouddesktop resource-manager folder`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from clouddesktop.cli.options import (
    DescriptionOption,
    Globals,
    LabelsOption,
    NewDescriptionOption,
    NewNameOption,
    RoleOption,
    SubjectOption,
    parse_changes,
    parse_labels,
)
from clouddesktop.cli.verbs import with_globals

if TYPE_CHECKING:
    from clouddesktop.cli.resource_actions import ResourceActions

app = typer.Typer(no_args_is_help=True)

FolderArgument = Annotated[str, typer.Argument(metavar="ID", help="The folder's id or name.")]


@app.command("create")
@with_globals
def create(
    options: Globals,
    name: Annotated[str, typer.Option(help="Its name, one of a kind in the cloud.")],
    description: DescriptionOption = "",
    labels: LabelsOption = None,
) -> None:
    """Make a folder."""
    _folders().create(
        options, name=name, description=description, labels=parse_labels(labels or [])
    )


@app.command("get")
@with_globals
def get(options: Globals, folder: FolderArgument) -> None:
    """Show one folder."""
    _folders().get(options, folder)


@app.command("list")
@with_globals
def list_(options: Globals) -> None:
    """List the folders that you may see."""
    _folders().list_(options)


@app.command("update")
@with_globals
def update(
    options: Globals,
    folder: FolderArgument,
    new_name: NewNameOption = None,
    description: NewDescriptionOption = None,
    labels: LabelsOption = None,
) -> None:
    """Change a folder's name, description or labels."""
    changes = parse_changes(new_name=new_name, description=description, labels=labels)
    _folders().update(options, folder, changes)


@app.command("delete")
@with_globals
def delete(options: Globals, folder: FolderArgument) -> None:
    """Delete an empty folder."""
    _folders().delete(options, folder)


@app.command("list-access-bindings")
@with_globals
def list_bindings(options: Globals, folder: FolderArgument) -> None:
    """List who has which role on a folder."""
    _folders().list_bindings(options, folder)


@app.command("add-access-binding")
@with_globals
def add_binding(
    options: Globals, folder: FolderArgument, role: RoleOption, subject: SubjectOption
) -> None:
    """Give somebody a role on a folder and on all that lies in it."""
    _folders().add_binding(options, folder, role, subject)


@app.command("remove-access-binding")
@with_globals
def remove_binding(
    options: Globals, folder: FolderArgument, role: RoleOption, subject: SubjectOption
) -> None:
    """Take a role on a folder away from somebody."""
    _folders().remove_binding(options, folder, role, subject)


def _folders() -> ResourceActions:
    from clouddesktop.cli.kinds import FOLDERS  # noqa: PLC0415  (grpc)
    from clouddesktop.cli.resource_actions import ResourceActions  # noqa: PLC0415  (the same)

    return ResourceActions(FOLDERS)
