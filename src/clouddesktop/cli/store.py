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
        {"dry_run": dry_run, "keep_unknown": keep_unknown},
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
