"""What `clouddesktop image diff` prints."""

from __future__ import annotations

from collections.abc import Iterator

import typer
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage

from clouddesktop.cli.options import Globals, Style
from clouddesktop.cli.render import Columns, to_json, to_table, to_yaml
from clouddesktop.cli.session import run_session
from clouddesktop.cli.texts import format_size, to_printable
from clouddesktop.client import Connection, ImageDiff, diff_images

_COLUMNS: Columns = {"OFFSET": "offset", "LENGTH": "length", "KIND": "kind"}


def diff(options: Globals, old: str, new: str, *, limit: int) -> None:
    async def work(connection: Connection) -> tuple[DesktopImage, DesktopImage, ImageDiff]:
        old_image = await connection.find_image(old)
        new_image = await connection.find_image(new)
        return old_image, new_image, await diff_images(connection, old_image.id, new_image.id)

    old_image, new_image, found = run_session(options, work)
    ids = {"old_image_id": old_image.id, "new_image_id": new_image.id}
    record = {**ids, **found.to_record()}
    if options.style is Style.JSON:
        typer.echo(to_json(record))
    elif options.style is Style.YAML:
        typer.echo(to_yaml(record), nl=False)
    elif options.style is Style.TABLE:
        typer.echo(to_table(record["ranges"][:limit], _COLUMNS))
    else:
        typer.echo("\n".join(describe(old_image, new_image, found)))
        if limit and found.ranges:
            typer.echo(f"\n{to_table(record['ranges'][:limit], _COLUMNS)}")
    left = len(found.ranges) - limit
    if left > 0 and options.style not in {Style.JSON, Style.YAML}:
        typer.echo(f"{left} more ranges: --limit shows them, and --format json all.", err=True)


def describe(old: DesktopImage, new: DesktopImage, found: ImageDiff) -> Iterator[str]:
    """Say in some lines what a person wants to know."""
    totals = found.totals
    sizes = (
        (old, totals.old_disk_size, totals.old_data_bytes),
        (new, totals.new_disk_size, totals.new_data_bytes),
    )
    for label, (image, disk_size, data_bytes) in zip(("old", "new"), sizes, strict=True):
        name = to_printable(f"{image.name} ({image.id})")
        disk, data = format_size(disk_size), format_size(data_bytes)
        yield f"{label:8} {name}: a disk of {disk} with {data} of data"
    for label, size, meaning in (
        ("changed", totals.changed_bytes, "data in both, and different"),
        ("added", totals.added_bytes, "zero in the old one"),
        ("removed", totals.removed_bytes, "zero in the new one"),
    ):
        yield f"{label:8} {format_size(size):8} {meaning}"
    same = _share(totals.same_bytes, totals.new_data_bytes, "data")
    yield f"same     {format_size(totals.same_bytes):8} at the same place{same}"
    shared = _share(totals.shared_bytes, totals.new_distinct_bytes, "distinct chunks")
    yield f"shared   {format_size(totals.shared_bytes):8} anywhere, stored once{shared}"
    own = totals.new_distinct_bytes - totals.shared_bytes
    yield f"own      {format_size(own):8} what the new one adds to a store that has the old one"
    count = len(found.ranges)
    yield f"ranges   {count:<8} in chunks of {format_size(found.chunk_size)}"


def _share(part: int, whole: int, what: str) -> str:
    return f": {part / whole:.1%} of the new one's {what}" if whole else ""
