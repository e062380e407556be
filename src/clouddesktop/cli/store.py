"""The verbs of `clouddesktop store`."""

from __future__ import annotations

import typer

from clouddesktop.cli import rebuild_index

app = typer.Typer(no_args_is_help=True)
app.command("rebuild-index", help=rebuild_index.HELP)(rebuild_index.rebuild_index)
