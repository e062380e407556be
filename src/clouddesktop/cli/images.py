"""The verbs of `clouddesktop image`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from clouddesktop.cli.options import (
    AsyncOption,
    Globals,
    NewNameOption,
    TimeoutOption,
    parse_changes,
    parse_labels,
)
from clouddesktop.cli.verbs import with_globals

app = typer.Typer(no_args_is_help=True)

ImageArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The image's id, or its name in the folder.")
]


@app.command("copy")
@with_globals
def copy(
    options: Globals,
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
    priority: Annotated[
        str,
        typer.Option(help="high, normal or low: which of the folder's waiting copies comes first."),
    ] = "normal",
    is_async: AsyncOption = False,
    timeout: TimeoutOption = None,
) -> None:
    """Copy a compute image into a new desktop image."""
    from clouddesktop.cli import image_actions  # noqa: PLC0415  (grpc)

    image_actions.copy(
        options,
        compute_image_id=compute_image_id,
        name=new_image_name,
        description=description,
        labels=parse_labels(labels or []),
        checksum=checksum,
        priority=priority,
        is_async=is_async,
        timeout_seconds=timeout,
    )


@app.command("get")
@with_globals
def get(options: Globals, image: ImageArgument) -> None:
    """Show one desktop image."""
    from clouddesktop.cli import image_actions  # noqa: PLC0415  (grpc)

    image_actions.get(options, image)


@app.command("list")
@with_globals
def list_(
    options: Globals,
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
) -> None:
    """List the desktop images of a folder."""
    from clouddesktop.cli import image_actions  # noqa: PLC0415  (grpc)

    image_actions.list_(
        options, condition=condition, order_by=order_by, page_size=page_size, limit=limit
    )


@app.command("update")
@with_globals
def update(
    options: Globals,
    image: ImageArgument,
    *,
    new_name: NewNameOption = None,
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
) -> None:
    """Change a desktop image's name, description or labels."""
    changes = parse_changes(new_name=new_name, description=description, labels=labels)
    from clouddesktop.cli import image_actions  # noqa: PLC0415  (grpc)

    image_actions.update(options, image, changes)


@app.command("delete")
@with_globals
def delete(options: Globals, image: ImageArgument) -> None:
    """Delete one desktop image. Its space comes back with the next collection."""
    from clouddesktop.cli import image_actions  # noqa: PLC0415  (grpc)

    image_actions.delete(options, image)


@app.command("publish")
@with_globals
def publish(
    options: Globals,
    image: ImageArgument,
    *,
    name: Annotated[
        str, typer.Option(help="The system image's name; the image's by default.")
    ] = "",
) -> None:
    """Make a system image of a desktop image: one that every folder shows. For administrators."""
    from clouddesktop.cli import image_actions  # noqa: PLC0415  (grpc)

    image_actions.publish(options, image, name=name)


@app.command("withdraw")
@with_globals
def withdraw(
    options: Globals,
    image: Annotated[str, typer.Argument(metavar="ID", help="The system image's id or name.")],
) -> None:
    """Remove a system image. For administrators."""
    from clouddesktop.cli import image_actions  # noqa: PLC0415  (grpc)

    image_actions.withdraw(options, image)


@app.command("diff")
@with_globals
def diff(
    options: Globals,
    old: Annotated[str, typer.Argument(metavar="OLD", help="An image's id or name.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Another's, to compare with it.")],
    *,
    limit: Annotated[
        int, typer.Option(min=0, help="Ranges shown as text or table; JSON and YAML have all.")
    ] = 20,
) -> None:
    """Show what changed between two desktop images, and what they share."""
    from clouddesktop.cli import diffs  # noqa: PLC0415  (grpc)

    diffs.diff(options, old, new, limit=limit)


@app.command("export")
@with_globals
def export(
    options: Globals,
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
) -> None:
    """Write a desktop image's disk to a local file."""
    from clouddesktop.cli import image_actions  # noqa: PLC0415  (grpc)

    image_actions.export(
        options, image, output=output, output_format=output_format, overwrite=force
    )
