"""`clouddesktop worker` and `clouddesktop migrate`: processes beside the servers of a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from clouddesktop.cli.verbs import with_settings

if TYPE_CHECKING:
    from clouddesktop.config import Settings


@with_settings(
    "data_dir",
    "database",
    "store",
    "source",
    "source_ca",
    "source_stall",
    "import_allow",
    "import_size",
    "import_time",
    "uploads",
    "spool_size",
    "workers",
    "worker_lease",
    "folder_copies",
    "sandbox",
    "collect_after",
    "encryption_keys",
    "scrub_rate",
    "operation_retention",
    "config",
)
def worker(settings: Settings) -> None:
    """Run a worker without an API; prints one line of JSON on standard output when it works."""
    from clouddesktop.app.worker_process import run_worker  # noqa: PLC0415  (all libraries)

    raise typer.Exit(run_worker(settings))


@with_settings("data_dir", "database", "config")
def migrate(settings: Settings) -> None:
    """Bring the database's tables to this version's form, and end."""
    from clouddesktop.app.migrating import run_migration  # noqa: PLC0415  (all libraries)

    typer.echo(run_migration(settings))
