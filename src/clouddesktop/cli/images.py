"""The verbs of `clouddesktop image`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from clouddesktop.cli.options import (
    AsyncOption,
    EndpointOption,
    FolderOption,
    Globals,
    ProfileOption,
    StyleOption,
    TimeoutOption,
    parse_labels,
)

app = typer.Typer(no_args_is_help=True)

ImageArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The image's id, or its name in the folder.")
]


@app.command("copy")
def copy(
    context: typer.Context,
    *,
    compute_image_id: Annotated[
        str, typer.Option(help="The compute image: a file's name without its extension.")
    ],
    new_image_name: Annotated[str, typer.Option(help="The name of the new desktop image.")],
    description: Annotated[str, typer.Option(help="A description of the new image.")] = "",
    labels: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE[,KEY=VALUE...]", help="Labels; may be repeated."),
    ] = None,
    checksum: Annotated[
        str,
        typer.Option(
            metavar="ALGORITHM:HEX",
            help="What the source's file should have: sha256:…, sha512:… or md5:….",
        ),
    ] = "",
    is_async: AsyncOption = False,
    timeout: TimeoutOption = None,
    style: StyleOption = None,
    profile: ProfileOption = None,
    folder_id: FolderOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Copy a compute image into a new desktop image."""
    from clouddesktop.cli import image_actions  # noqa: PLC0415  (grpc)

    image_actions.copy(
        _globals(context).overridden_by(
            style=style, profile=profile, endpoint=endpoint, folder_id=folder_id
        ),
        compute_image_id=compute_image_id,
        name=new_image_name,
        description=description,
        labels=parse_labels(labels or []),
        checksum=checksum,
        is_async=is_async,
        timeout_seconds=timeout,
    )


@app.command("get")
def get(
    context: typer.Context,
    image: ImageArgument,
    *,
    style: StyleOption = None,
    profile: ProfileOption = None,
    folder_id: FolderOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Show one desktop image."""
    from clouddesktop.cli import image_actions  # noqa: PLC0415  (grpc)

    image_actions.get(
        _globals(context).overridden_by(
            style=style, profile=profile, endpoint=endpoint, folder_id=folder_id
        ),
        image,
    )


@app.command("list")
def list_(
    context: typer.Context,
    *,
    condition: Annotated[
        str, typer.Option("--filter", help='Which to show, such as \'name IN ("a", "b")\'.')
    ] = "",
    order_by: Annotated[
        str, typer.Option(help="Their order: name, created_at or status, each with asc or desc.")
    ] = "name",
    page_size: Annotated[
        int, typer.Option(min=1, max=1000, help="How many to ask for at once.")
    ] = 1000,
    limit: Annotated[int, typer.Option(min=1, help="How many to show at most.")] = 1000,
    style: StyleOption = None,
    profile: ProfileOption = None,
    folder_id: FolderOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """List the desktop images of a folder."""
    from clouddesktop.cli import image_actions  # noqa: PLC0415  (grpc)

    image_actions.list_(
        _globals(context).overridden_by(
            style=style, profile=profile, endpoint=endpoint, folder_id=folder_id
        ),
        condition=condition,
        order_by=order_by,
        page_size=page_size,
        limit=limit,
    )


@app.command("update")
def update(
    context: typer.Context,
    image: ImageArgument,
    *,
    new_name: Annotated[str | None, typer.Option(help="Its name from now on.")] = None,
    description: Annotated[
        str | None, typer.Option(help="Its description from now on; an empty text removes it.")
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE[,KEY=VALUE...]",
            help="Its labels, in place of all that it has; an empty text removes them.",
        ),
    ] = None,
    style: StyleOption = None,
    profile: ProfileOption = None,
    folder_id: FolderOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Change a desktop image's name, description or labels."""
    if new_name is None and description is None and labels is None:
        raise typer.BadParameter("Say what to change: --new-name, --description or --labels.")
    from clouddesktop.cli import image_actions  # noqa: PLC0415  (grpc)

    image_actions.update(
        _globals(context).overridden_by(
            style=style, profile=profile, endpoint=endpoint, folder_id=folder_id
        ),
        image,
        name=new_name,
        description=description,
        labels=None if labels is None else parse_labels([each for each in labels if each]),
    )


@app.command("delete")
def delete(
    context: typer.Context,
    image: ImageArgument,
    *,
    style: StyleOption = None,
    profile: ProfileOption = None,
    folder_id: FolderOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Delete one desktop image. Its space comes back with the next collection."""
    from clouddesktop.cli import image_actions  # noqa: PLC0415  (grpc)

    image_actions.delete(
        _globals(context).overridden_by(
            style=style, profile=profile, endpoint=endpoint, folder_id=folder_id
        ),
        image,
    )


@app.command("publish")
def publish(
    context: typer.Context,
    image: ImageArgument,
    *,
    name: Annotated[
        str, typer.Option(help="The system image's name; the image's by default.")
    ] = "",
    style: StyleOption = None,
    profile: ProfileOption = None,
    folder_id: FolderOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Make a system image of a desktop image: one that every folder shows. For administrators."""
    from clouddesktop.cli import image_actions  # noqa: PLC0415  (grpc)

    image_actions.publish(
        _globals(context).overridden_by(
            style=style, profile=profile, endpoint=endpoint, folder_id=folder_id
        ),
        image,
        name=name,
    )


@app.command("withdraw")
def withdraw(
    context: typer.Context,
    image: Annotated[str, typer.Argument(metavar="ID", help="The system image's id or name.")],
    *,
    style: StyleOption = None,
    profile: ProfileOption = None,
    folder_id: FolderOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Remove a system image. For administrators."""
    from clouddesktop.cli import image_actions  # noqa: PLC0415  (grpc)

    image_actions.withdraw(
        _globals(context).overridden_by(
            style=style, profile=profile, endpoint=endpoint, folder_id=folder_id
        ),
        image,
    )


@app.command("diff")
def diff(
    context: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="An image's id or name.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Another's, to compare with it.")],
    *,
    limit: Annotated[
        int, typer.Option(min=0, help="Ranges shown as text or table; JSON and YAML have all.")
    ] = 20,
    style: StyleOption = None,
    profile: ProfileOption = None,
    folder_id: FolderOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Show what changed between two desktop images, and what they share."""
    from clouddesktop.cli import diffs  # noqa: PLC0415  (grpc)

    diffs.diff(
        _globals(context).overridden_by(
            style=style, profile=profile, endpoint=endpoint, folder_id=folder_id
        ),
        old,
        new,
        limit=limit,
    )


@app.command("export")
def export(
    context: typer.Context,
    image: ImageArgument,
    *,
    output: Annotated[Path, typer.Option(help="The file to write.")],
    output_format: Annotated[
        Literal["raw", "qcow2", "vmdk", "vdi", "vhdx", "vhd"] | None,
        typer.Option(
            help="Its format; all but raw are made by the local qemu-img. Default: what the "
            "output's name ends in, raw if that says nothing.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file if there is one.")
    ] = False,
    style: StyleOption = None,
    profile: ProfileOption = None,
    folder_id: FolderOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Write a desktop image's disk to a local file."""
    from clouddesktop.cli import image_actions  # noqa: PLC0415  (grpc)

    image_actions.export(
        _globals(context).overridden_by(
            style=style, profile=profile, endpoint=endpoint, folder_id=folder_id
        ),
        image,
        output=output,
        output_format=output_format,
        overwrite=force,
    )


def _globals(context: typer.Context) -> Globals:
    return context.ensure_object(Globals)
