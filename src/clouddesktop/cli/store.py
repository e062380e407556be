"""The verbs of `clouddesktop store`."""

from __future__ import annotations

from typing import Annotated

import typer

from clouddesktop.cli import rebuild_index
from clouddesktop.cli.options import (
    EndpointOption,
    Globals,
    ProfileOption,
    StyleOption,
    TimeoutOption,
)

app = typer.Typer(no_args_is_help=True)
app.command("rebuild-index", help=rebuild_index.HELP)(rebuild_index.rebuild_index)

_DAY_SECONDS = 86400

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
AsyncOption = Annotated[
    bool, typer.Option("--async", help="Print the run, and don't wait for its end.")
]


@app.command("stats")
def stats(
    context: typer.Context,
    *,
    style: StyleOption = None,
    profile: ProfileOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Show what the store holds, and each image's share of it."""
    from clouddesktop.cli import store_actions  # noqa: PLC0415  (grpc)

    store_actions.stats(_globals(context, style=style, profile=profile, endpoint=endpoint))


@app.command("gc")
def gc(
    context: typer.Context,
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
    style: StyleOption = None,
    profile: ProfileOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Give back what no image needs. Nothing stops meanwhile."""
    from clouddesktop.cli import store_actions  # noqa: PLC0415  (grpc)

    store_actions.start(
        _globals(context, style=style, profile=profile, endpoint=endpoint),
        "gc",
        {"dry_run": dry_run or None, "keep_unknown": keep_unknown or None},
        is_async=is_async,
        timeout_seconds=timeout,
    )


@app.command("scrub")
def scrub(
    context: typer.Context,
    *,
    verify_older_than: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS",
            min=0,
            help="Pass over what was found right in these last days. Default: read everything.",
        ),
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(
            metavar="BYTES",
            min=0,
            help="Bytes to read a second at most, instead of the server's setting; 0: no bound.",
        ),
    ] = None,
    no_repair: Annotated[
        bool, typer.Option("--no-repair", help="Find and quarantine damage, and repair nothing.")
    ] = False,
    is_async: AsyncOption = False,
    timeout: TimeoutOption = None,
    style: StyleOption = None,
    profile: ProfileOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Read and verify everything, and repair what is damaged; fails if an image stays damaged."""
    from clouddesktop.cli import store_actions  # noqa: PLC0415  (grpc)

    store_actions.start(
        _globals(context, style=style, profile=profile, endpoint=endpoint),
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
def rekey(
    context: typer.Context,
    *,
    rate: Annotated[
        int | None,
        typer.Option(
            metavar="BYTES",
            min=0,
            help="Bytes to read a second at most, instead of the server's setting; 0: no bound.",
        ),
    ] = None,
    is_async: AsyncOption = False,
    timeout: TimeoutOption = None,
    style: StyleOption = None,
    profile: ProfileOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Write anew what is not encrypted by the key in use, so that other keys can be dropped."""
    from clouddesktop.cli import store_actions  # noqa: PLC0415  (grpc)

    store_actions.start(
        _globals(context, style=style, profile=profile, endpoint=endpoint),
        "scrub",
        {"bytes_per_second": rate, "rekey": True},
        is_async=is_async,
        timeout_seconds=timeout,
    )


@app.command("runs")
def runs(
    context: typer.Context,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to show at most.")] = 20,
    style: StyleOption = None,
    profile: ProfileOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """List the latest runs: collections and scrubs, the newest first."""
    from clouddesktop.cli import store_actions  # noqa: PLC0415  (grpc)

    store_actions.list_runs(
        _globals(context, style=style, profile=profile, endpoint=endpoint), limit=limit
    )


@app.command("wait")
def wait(
    context: typer.Context,
    run_id: RunArgument,
    *,
    timeout: TimeoutOption = None,
    style: StyleOption = None,
    profile: ProfileOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Wait for the end of a run, and show what it came to; fails if the run does."""
    from clouddesktop.cli import store_actions  # noqa: PLC0415  (grpc)

    store_actions.wait(
        _globals(context, style=style, profile=profile, endpoint=endpoint),
        run_id,
        timeout_seconds=timeout,
    )


@app.command("stop")
def stop(
    context: typer.Context,
    run_id: RunArgument,
    *,
    style: StyleOption = None,
    profile: ProfileOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """End a run before its work is done; what it has done stays."""
    from clouddesktop.cli import store_actions  # noqa: PLC0415  (grpc)

    store_actions.stop(_globals(context, style=style, profile=profile, endpoint=endpoint), run_id)


def _globals(
    context: typer.Context,
    *,
    style: StyleOption,
    profile: ProfileOption,
    endpoint: EndpointOption,
) -> Globals:
    return context.ensure_object(Globals).overridden_by(
        style=style, profile=profile, endpoint=endpoint
    )
