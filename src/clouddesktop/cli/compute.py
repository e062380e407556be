"""The verbs of `clouddesktop compute image`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clouddesktop.cli.options import (
    AsyncOption,
    Globals,
    LabelsOption,
    TimeoutOption,
    parse_labels,
    with_globals,
)

app = typer.Typer(no_args_is_help=True)
image_app = typer.Typer(no_args_is_help=True)
app.add_typer(image_app, name="image", help="Compute images: what desktop images are copied from.")

ImageArgument = Annotated[str, typer.Argument(metavar="ID", help="The compute image's id or name.")]


class OsType(StrEnum):
    """What runs on the disk."""

    LINUX = "linux"
    WINDOWS = "windows"


@image_app.command("create")
@with_globals
def create(
    options: Globals,
    *,
    name: Annotated[str, typer.Option(help="Its name, one of a kind in the folder.")] = "",
    source_uri: Annotated[
        str,
        typer.Option(
            metavar="URI", help="A file at https://…; or file:///… or s3://… inside a source."
        ),
    ] = "",
    source_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="A file of yours, which is uploaded.", exists=True, dir_okay=False
        ),
    ] = None,
    source_image_id: Annotated[
        str, typer.Option(metavar="ID", help="Another compute image to make it of.")
    ] = "",
    family: Annotated[str, typer.Option(help="The family that it is the latest of.")] = "",
    description: Annotated[str, typer.Option(help="A description.")] = "",
    labels: LabelsOption = None,
    os_type: Annotated[OsType | None, typer.Option(help="What runs on it.")] = None,
    is_async: AsyncOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Import a compute image into the store, so that copies of it take milliseconds."""
    if sum(map(bool, (source_uri, source_file, source_image_id))) != 1:
        raise typer.BadParameter("Name one of --source-uri, --source-file and --source-image-id.")
    from clouddesktop.cli import compute_actions  # noqa: PLC0415  (grpc)

    compute_actions.create(
        options,
        fields={
            "name": name,
            "uri": source_uri,
            "image_id": source_image_id,
            "family": family,
            "description": description,
            "labels": parse_labels(labels or []),
        },
        source_file=source_file,
        os_type=None if os_type is None else os_type.value,
        is_async=is_async,
        timeout_seconds=timeout,
    )


@image_app.command("get")
@with_globals
def get(options: Globals, image: ImageArgument) -> None:
    """Show one compute image."""
    from clouddesktop.cli import compute_actions  # noqa: PLC0415  (grpc)

    compute_actions.get(options, image)


@image_app.command("get-latest-from-family")
@with_globals
def get_latest(
    options: Globals, family: Annotated[str, typer.Argument(help="The family's name.")]
) -> None:
    """Show the newest ready compute image of a family."""
    from clouddesktop.cli import compute_actions  # noqa: PLC0415  (grpc)

    compute_actions.get_latest(options, family)


@image_app.command("list")
@with_globals
def list_(options: Globals) -> None:
    """List the compute images of a folder, imported ones and those in sources."""
    from clouddesktop.cli import compute_actions  # noqa: PLC0415  (grpc)

    compute_actions.list_(options)


@image_app.command("update")
@with_globals
def update(
    options: Globals,
    image: ImageArgument,
    new_name: Annotated[str | None, typer.Option(help="Its name from now on.")] = None,
    description: Annotated[str | None, typer.Option(help="Its description from now on.")] = None,
    labels: LabelsOption = None,
) -> None:
    """Change an imported compute image's name, description or labels."""
    if new_name is None and description is None and labels is None:
        raise typer.BadParameter("Say what to change: --new-name, --description or --labels.")
    from clouddesktop.cli import compute_actions  # noqa: PLC0415  (grpc)

    compute_actions.update(
        options,
        image,
        name=new_name,
        description=description,
        labels=None if labels is None else parse_labels([each for each in labels if each]),
    )


@image_app.command("delete")
@with_globals
def delete(options: Globals, image: ImageArgument) -> None:
    """Delete an imported compute image; what was copied from it stays."""
    from clouddesktop.cli import compute_actions  # noqa: PLC0415  (grpc)

    compute_actions.delete(options, image)


@image_app.command("list-operations")
@with_globals
def list_operations(options: Globals, image: ImageArgument) -> None:
    """List what was done with a compute image, the latest first."""
    from clouddesktop.cli import compute_actions  # noqa: PLC0415  (grpc)

    compute_actions.list_operations(options, image)
