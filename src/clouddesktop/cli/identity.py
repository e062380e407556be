"""The verbs of `clouddesktop iam service-account`, `iam key` and `iam create-token`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clouddesktop.cli.options import (
    DescriptionOption,
    Globals,
    LabelsOption,
    NewDescriptionOption,
    NewNameOption,
    parse_changes,
    parse_labels,
)
from clouddesktop.cli.verbs import with_globals

if TYPE_CHECKING:
    from clouddesktop.cli.resource_actions import ResourceActions

account_app = typer.Typer(no_args_is_help=True)
key_app = typer.Typer(no_args_is_help=True)

AccountArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The service account's id or name.")
]
AccountOption = Annotated[
    str,
    typer.Option(
        "--service-account", metavar="ID", help="The service account's id or name; default: yours."
    ),
]
KeyArgument = Annotated[str, typer.Argument(metavar="ID", help="The key's id.")]


@account_app.command("create")
@with_globals
def create_account(
    options: Globals,
    name: Annotated[str, typer.Option(help="Its name, one of a kind in the folder.")],
    description: DescriptionOption = "",
    labels: LabelsOption = None,
) -> None:
    """Make a service account, which may do nothing before it is given a role."""
    _accounts().create(
        options, name=name, description=description, labels=parse_labels(labels or [])
    )


@account_app.command("get")
@with_globals
def get_account(options: Globals, account: AccountArgument) -> None:
    """Show one service account."""
    _accounts().get(options, account)


@account_app.command("list")
@with_globals
def list_accounts(options: Globals) -> None:
    """List the service accounts of a folder."""
    _accounts().list_(options)


@account_app.command("update")
@with_globals
def update_account(
    options: Globals,
    account: AccountArgument,
    new_name: NewNameOption = None,
    description: NewDescriptionOption = None,
    labels: LabelsOption = None,
) -> None:
    """Change a service account's name, description or labels."""
    changes = parse_changes(new_name=new_name, description=description, labels=labels)
    _accounts().update(options, account, changes)


@account_app.command("delete")
@with_globals
def delete_account(options: Globals, account: AccountArgument) -> None:
    """Delete a service account, its keys and its roles; its tokens end at once."""
    _accounts().delete(options, account)


@key_app.command("create")
@with_globals
def create_key(
    options: Globals,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write the key to; it must be new.")
    ],
    account: AccountOption = "",
    description: DescriptionOption = "",
) -> None:
    """Make an authorised key, and write it to a file that its owner alone can read."""
    from clouddesktop.cli import identity_actions  # noqa: PLC0415  (grpc)

    identity_actions.create_key(options, account, output=output, description=description)


@key_app.command("get")
@with_globals
def get_key(options: Globals, key: KeyArgument) -> None:
    """Show the public half of one key."""
    _keys().get(options, key)


@key_app.command("list")
@with_globals
def list_keys(options: Globals, account: AccountOption = "") -> None:
    """List the keys of a service account."""
    from clouddesktop.cli import identity_actions  # noqa: PLC0415  (grpc)

    identity_actions.list_keys(options, account)


@key_app.command("delete")
@with_globals
def delete_key(options: Globals, key: KeyArgument) -> None:
    """Revoke a key: neither it nor a token that was got by it is good any more."""
    _keys().delete(options, key)


@with_globals
def create_token(options: Globals) -> None:
    """Print an IAM token for the profile's key, to be used with other HTTP clients."""
    from clouddesktop.cli import identity_actions  # noqa: PLC0415  (grpc)

    identity_actions.create_token(options)


def _accounts() -> ResourceActions:
    from clouddesktop.cli.kinds import ACCOUNTS  # noqa: PLC0415  (grpc)
    from clouddesktop.cli.resource_actions import ResourceActions  # noqa: PLC0415  (the same)

    return ResourceActions(ACCOUNTS)


def _keys() -> ResourceActions:
    from clouddesktop.cli.kinds import KEYS  # noqa: PLC0415  (grpc)
    from clouddesktop.cli.resource_actions import ResourceActions  # noqa: PLC0415  (the same)

    return ResourceActions(KEYS)
