"""The verbs of `clouddesktop resource-manager` and `clouddesktop iam role`."""

from __future__ import annotations

from typing import Annotated

import typer

from clouddesktop.cli.options import Globals, LabelsOption, parse_labels, with_globals

manager_app = typer.Typer(no_args_is_help=True)
cloud_app = typer.Typer(no_args_is_help=True)
folder_app = typer.Typer(no_args_is_help=True)
iam_app = typer.Typer(no_args_is_help=True)
role_app = typer.Typer(no_args_is_help=True)
manager_app.add_typer(cloud_app, name="cloud", help="Clouds: what folders lie in.")
manager_app.add_typer(folder_app, name="folder", help="Folders: what images lie in.")
iam_app.add_typer(role_app, name="role", help="Roles: what subjects may be given.")

FolderArgument = Annotated[str, typer.Argument(metavar="ID", help="The folder's id or name.")]
CloudArgument = Annotated[str, typer.Argument(metavar="ID", help="The cloud's id.")]
RoleOption = Annotated[str, typer.Option(help="The role, such as vdi.viewer.")]
SubjectOption = Annotated[
    str,
    typer.Option(
        metavar="TYPE:ID",
        help="Who: serviceAccount:ID, federatedUser:ISSUER:SUBJECT, userAccount:ID, or"
        " system:allAuthenticatedUsers.",
    ),
]


@folder_app.command("create")
@with_globals
def create_folder(
    options: Globals,
    name: Annotated[str, typer.Option(help="Its name, one of a kind in the cloud.")],
    description: Annotated[str, typer.Option(help="A description.")] = "",
    labels: LabelsOption = None,
) -> None:
    """Make a folder."""
    from clouddesktop.cli import access_actions  # noqa: PLC0415  (grpc)

    access_actions.create_folder(
        options, name=name, description=description, labels=parse_labels(labels or [])
    )


@folder_app.command("get")
@with_globals
def get_folder(options: Globals, folder: FolderArgument) -> None:
    """Show one folder."""
    from clouddesktop.cli import access_actions  # noqa: PLC0415  (grpc)

    access_actions.get_folder(options, folder)


@folder_app.command("list")
@with_globals
def list_folders(options: Globals) -> None:
    """List the folders that you may see."""
    from clouddesktop.cli import access_actions  # noqa: PLC0415  (grpc)

    access_actions.list_folders(options)


@folder_app.command("update")
@with_globals
def update_folder(
    options: Globals,
    folder: FolderArgument,
    new_name: Annotated[str | None, typer.Option(help="Its name from now on.")] = None,
    description: Annotated[str | None, typer.Option(help="Its description from now on.")] = None,
    labels: LabelsOption = None,
) -> None:
    """Change a folder's name, description or labels."""
    if new_name is None and description is None and labels is None:
        raise typer.BadParameter("Say what to change: --new-name, --description or --labels.")
    from clouddesktop.cli import access_actions  # noqa: PLC0415  (grpc)

    access_actions.update_folder(
        options,
        folder,
        name=new_name,
        description=description,
        labels=None if labels is None else parse_labels([each for each in labels if each]),
    )


@folder_app.command("delete")
@with_globals
def delete_folder(options: Globals, folder: FolderArgument) -> None:
    """Delete an empty folder."""
    from clouddesktop.cli import access_actions  # noqa: PLC0415  (grpc)

    access_actions.delete_folder(options, folder)


@folder_app.command("list-access-bindings")
@with_globals
def list_folder_bindings(options: Globals, folder: FolderArgument) -> None:
    """List who has which role on a folder."""
    from clouddesktop.cli import access_actions  # noqa: PLC0415  (grpc)

    access_actions.list_folder_bindings(options, folder)


@folder_app.command("add-access-binding")
@with_globals
def add_folder_binding(
    options: Globals, folder: FolderArgument, role: RoleOption, subject: SubjectOption
) -> None:
    """Give somebody a role on a folder and on all that lies in it."""
    from clouddesktop.cli import access_actions  # noqa: PLC0415  (grpc)

    access_actions.change_folder_binding(options, folder, role, subject, is_added=True)


@folder_app.command("remove-access-binding")
@with_globals
def remove_folder_binding(
    options: Globals, folder: FolderArgument, role: RoleOption, subject: SubjectOption
) -> None:
    """Take a role on a folder away from somebody."""
    from clouddesktop.cli import access_actions  # noqa: PLC0415  (grpc)

    access_actions.change_folder_binding(options, folder, role, subject, is_added=False)


@cloud_app.command("get")
@with_globals
def get_cloud(options: Globals, cloud: CloudArgument) -> None:
    """Show one cloud."""
    from clouddesktop.cli import access_actions  # noqa: PLC0415  (grpc)

    access_actions.get_cloud(options, cloud)


@cloud_app.command("list")
@with_globals
def list_clouds(options: Globals) -> None:
    """List the clouds that you may see."""
    from clouddesktop.cli import access_actions  # noqa: PLC0415  (grpc)

    access_actions.list_clouds(options)


@cloud_app.command("list-access-bindings")
@with_globals
def list_cloud_bindings(options: Globals, cloud: CloudArgument) -> None:
    """List who has which role on a cloud."""
    from clouddesktop.cli import access_actions  # noqa: PLC0415  (grpc)

    access_actions.list_cloud_bindings(options, cloud)


@cloud_app.command("add-access-binding")
@with_globals
def add_cloud_binding(
    options: Globals, cloud: CloudArgument, role: RoleOption, subject: SubjectOption
) -> None:
    """Give somebody a role on a cloud and on all that lies in it."""
    from clouddesktop.cli import access_actions  # noqa: PLC0415  (grpc)

    access_actions.change_cloud_binding(options, cloud, role, subject, is_added=True)


@cloud_app.command("remove-access-binding")
@with_globals
def remove_cloud_binding(
    options: Globals, cloud: CloudArgument, role: RoleOption, subject: SubjectOption
) -> None:
    """Take a role on a cloud away from somebody."""
    from clouddesktop.cli import access_actions  # noqa: PLC0415  (grpc)

    access_actions.change_cloud_binding(options, cloud, role, subject, is_added=False)


@role_app.command("list")
@with_globals
def list_roles(options: Globals) -> None:
    """List every role."""
    from clouddesktop.cli import access_actions  # noqa: PLC0415  (grpc)

    access_actions.list_roles(options)
