"""`clouddesktop serve`: a server that runs in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from clouddesktop.cli.verbs import with_settings

if TYPE_CHECKING:
    from clouddesktop.config import Settings


@with_settings()
def serve(settings: Settings) -> None:
    """Run a server; prints one line of JSON on standard output when it can take requests."""
    from clouddesktop.app.serving import run_server  # noqa: PLC0415  (all the server's libraries)

    raise typer.Exit(run_server(settings))
