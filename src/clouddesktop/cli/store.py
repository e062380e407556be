"""The verbs of `clouddesktop store`."""

from __future__ import annotations

from typing import Annotated

import typer

from clouddesktop.cli import rebuild_index
from clouddesktop.cli.options import Globals, TimeoutOption
from clouddesktop.cli.verbs import with_globals_of_server

app = typer.Typer(no_args_is_help=True)
app.command("rebuild-index", help=rebuild_index.HELP)(rebuild_index.rebuild_index)

_DAY_SECONDS = 86400

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
RateOption = Annotated[
    int | None,
    typer.Option(
        metavar="BYTES",
        min=0,
        help="Bytes to read a second at most, instead of the server's setting; 0: no bound.",
    ),
]
AsyncOption = Annotated[
    bool, typer.Option("--async", help="Print the run, and don't wait for its end.")
]


@app.command("stats")
@with_globals_of_server
def stats(options: Globals) -> None:
    """Show what the store holds, and each image's share of it."""
    from clouddesktop.cli import store_actions  # noqa: PLC0415  (grpc)

    store_actions.stats(options)


@app.command("gc")
@with_globals_of_server
def gc(
    options: Globals,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing: list what would go, and why.")
    ] = False,
    keep_unknown: Annotated[
        bool,
        typer.Option(
            "--keep-unknown",
            help="Keep files in the store whose writer the database has never heard of.",
        ),
    ] = False,
    is_async: AsyncOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Give back what no image needs. Nothing stops meanwhile."""
    from clouddesktop.cli import store_actions  # noqa: PLC0415  (grpc)

    store_actions.start(
        options,
        "gc",
        {"dry_run": dry_run or None, "keep_unknown": keep_unknown or None},
        is_async=is_async,
        timeout_seconds=timeout,
    )


@app.command("scrub")
@with_globals_of_server
def scrub(
    options: Globals,
    *,
    verify_older_than: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS",
            min=0,
            help="Pass over what was found right in these last days. Default: read everything.",
        ),
    ] = None,
    rate: RateOption = None,
    no_repair: Annotated[
        bool, typer.Option("--no-repair", help="Find and quarantine damage, and repair nothing.")
    ] = False,
    is_async: AsyncOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Read and verify everything, and repair what is damaged; fails if an image stays damaged."""
    from clouddesktop.cli import store_actions  # noqa: PLC0415  (grpc)

    store_actions.start(
        options,
        "scrub",
        {
            "max_age_seconds": None
            if verify_older_than is None
            else round(verify_older_than * _DAY_SECONDS),
            "bytes_per_second": rate,
            "repair": False if no_repair else None,
        },
        is_async=is_async,
        timeout_seconds=timeout,
    )


@app.command("rekey")
@with_globals_of_server
def rekey(
    options: Globals,
    *,
    rate: RateOption = None,
    is_async: AsyncOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Write anew what is not encrypted by the key in use, so that other keys can be dropped."""
    from clouddesktop.cli import store_actions  # noqa: PLC0415  (grpc)

    store_actions.start(
        options,
        "scrub",
        {"bytes_per_second": rate, "rekey": True},
        is_async=is_async,
        timeout_seconds=timeout,
    )


@app.command("hold")
@with_globals_of_server
def hold(
    options: Globals,
    *,
    seconds: Annotated[
        int,
        typer.Option(
            "--for", metavar="SECONDS", min=1, max=604800, help="How long; default: a day."
        ),
    ] = _DAY_SECONDS,
    timeout: TimeoutOption = None,
) -> None:
    """Keep collections and scrubs off, as for a backup, until `store stop RUN` or the time is up.

    Returns once they are, and prints the run.
    """
    from clouddesktop.cli import store_actions  # noqa: PLC0415  (grpc)

    store_actions.hold(options, seconds=seconds, timeout_seconds=timeout)


@app.command("runs")
@with_globals_of_server
def runs(
    options: Globals,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to show at most.")] = 20,
) -> None:
    """List the latest runs: collections, scrubs and holds, the newest first."""
    from clouddesktop.cli import store_actions  # noqa: PLC0415  (grpc)

    store_actions.list_runs(options, limit=limit)


@app.command("wait")
@with_globals_of_server
def wait(options: Globals, run_id: RunArgument, *, timeout: TimeoutOption = None) -> None:
    """Wait for the end of a run, and show what it came to; fails if the run does."""
    from clouddesktop.cli import store_actions  # noqa: PLC0415  (grpc)

    store_actions.wait(options, run_id, timeout_seconds=timeout)


@app.command("stop")
@with_globals_of_server
def stop(options: Globals, run_id: RunArgument) -> None:
    """End a run before its work is done; what it has done stays."""
    from clouddesktop.cli import store_actions  # noqa: PLC0415  (grpc)

    store_actions.stop(options, run_id)
