"""The command `clouddesktop`: its verbs, the options of all of them, exit statuses and errors.

Modules with verbs import nothing heavy at their top, so that help and completion answer at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from clouddesktop import __version__
from clouddesktop.cli import (
    clouds,
    compute,
    doctor,
    folders,
    identity,
    images,
    operations,
    quotas,
    roles,
    serve,
    store,
    worker,
)
from clouddesktop.cli.options import (
    EndpointOption,
    FolderOption,
    Globals,
    ProfileOptionOrVariable,
    StyleOption,
    TokenFileOption,
)
from clouddesktop.cli.texts import to_paragraph
from clouddesktop.errors import CloudDesktopError, InternalError

_FAILED = 1

manager_app = typer.Typer(no_args_is_help=True)
manager_app.add_typer(clouds.app, name="cloud", help="Clouds: what folders lie in.")
manager_app.add_typer(folders.app, name="folder", help="Folders: what images lie in.")

iam_app = typer.Typer(no_args_is_help=True)
iam_app.add_typer(roles.app, name="role", help="Roles: what subjects may be given.")
iam_app.add_typer(identity.account_app, name="service-account", help="Service accounts.")
iam_app.add_typer(identity.key_app, name="key", help="Keys of service accounts.")
iam_app.command("create-token")(identity.create_token)

app = typer.Typer(
    name="clouddesktop",
    help="A self-hosted Cloud Desktop image service: run a server, and talk to one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("migrate")(worker.migrate)
app.command("doctor")(doctor.doctor)
app.add_typer(images.app, name="image", help="Desktop images.")
app.add_typer(operations.app, name="operation", help="Operations: work that takes time.")
app.add_typer(manager_app, name="resource-manager", help="Clouds, folders, and rights.")
app.add_typer(iam_app, name="iam", help="Service accounts, keys, tokens and roles.")
app.add_typer(compute.app, name="compute", help="What desktop images are copied from.")
app.add_typer(quotas.app, name="quota", help="Quotas: how much a cloud may have.")
app.add_typer(store.app, name="store", help="The store: what it holds, and giving space back.")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"clouddesktop {__version__}")
        raise typer.Exit


@app.callback()
def take_globals(
    context: typer.Context,
    *,
    style: StyleOption = None,
    profile: ProfileOptionOrVariable = None,
    folder_id: FolderOption = None,
    endpoint: EndpointOption = None,
    token_file: TokenFileOption = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    context.obj = Globals(
        style=style,
        profile=profile,
        folder_id=folder_id,
        endpoint=endpoint,
        token_file=token_file,
    )


def main() -> None:
    """Run the command: exit status 0 on success, 1 on an error, 2 on wrong usage, 130 on Ctrl-C."""
    # Before grpc is imported: a failed handshake is told by our error, in words.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # noqa: TID251  (set for a library, not read)
    try:
        app(prog_name="clouddesktop")
    except CloudDesktopError as error:
        typer.echo(to_paragraph(error), err=True)
        sys.exit(_FAILED)
    except Exception as error:  # noqa: BLE001  (the border: a user meets a paragraph, no traceback)
        typer.echo(to_paragraph(_to_fault(error)), err=True)
        sys.exit(_FAILED)


def _to_fault(error: Exception) -> CloudDesktopError:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return InternalError(
        f"clouddesktop has a fault: {type(error).__name__} at {last.name}, line {last.lineno} of"
        f" {last.filename}: {error}.",
        remedy="Please report it, with what you did.",
    )
