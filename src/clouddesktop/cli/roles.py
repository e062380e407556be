"""The verbs of `clouddesktop iam role`."""

from __future__ import annotations

import typer

from clouddesktop.cli.options import Globals
from clouddesktop.cli.verbs import with_globals

app = typer.Typer(no_args_is_help=True)


@app.command("list")
@with_globals
def list_(options: Globals) -> None:
    """List every role."""
    from clouddesktop.cli.kinds import ROLES  # noqa: PLC0415  (grpc)
    from clouddesktop.cli.resource_actions import ResourceActions  # noqa: PLC0415  (the same)

    ResourceActions(ROLES).list_(options)
