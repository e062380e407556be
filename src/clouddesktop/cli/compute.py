"""The verbs of `clouddesktop compute image`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clouddesktop.cli.options import (
    AsyncOption,
    DescriptionOption,
    Globals,
    LabelsOption,
    NewDescriptionOption,
    NewNameOption,
    TimeoutOption,
    parse_changes,
    parse_labels,
)
from clouddesktop.cli.verbs import with_globals

if TYPE_CHECKING:
    from clouddesktop.cli.resource_actions import ResourceActions

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
    description: DescriptionOption = "",
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
    _images().get(options, image)


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
    new_name: NewNameOption = None,
    description: NewDescriptionOption = None,
    labels: LabelsOption = None,
) -> None:
    """Change an imported compute image's name, description or labels."""
    changes = parse_changes(new_name=new_name, description=description, labels=labels)
    _images().update(options, image, changes)


@image_app.command("delete")
@with_globals
def delete(options: Globals, image: ImageArgument) -> None:
    """Delete an imported compute image; what was copied from it stays."""
    _images().delete(options, image)


@image_app.command("list-operations")
@with_globals
def list_operations(options: Globals, image: ImageArgument) -> None:
    """List what was done with a compute image, the latest first."""
    _images().list_operations(options, image)


def _images() -> ResourceActions:
    from clouddesktop.cli.kinds import COMPUTE_IMAGES  # noqa: PLC0415  (grpc)
    from clouddesktop.cli.resource_actions import ResourceActions  # noqa: PLC0415  (the same)

    return ResourceActions(COMPUTE_IMAGES)
