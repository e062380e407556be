"""`clouddesktop store rebuild-index`: works on the data folder itself, while no server does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from clouddesktop.keeping.rebuilding import Rebuild

HELP = "Make the chunk index anew from the packs in the store; stop the server first."

_FAILED = 1
_REPORT_EVERY = 100


def rebuild_index(
    *,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="As for serve. Default: clouddesktop-data."),
    ] = None,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="As for serve: sqlite:///PATH.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="As for serve: file:///PATH or s3://….")
    ] = None,
    encryption_keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="As for serve: the keys of the store.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The server's TOML file of settings.")
    ] = None,
) -> None:
    from clouddesktop.app import rebuilding  # noqa: PLC0415  (all the server's libraries)
    from clouddesktop.config import load_settings  # noqa: PLC0415  (pydantic)

    settings = load_settings(
        data_dir=data_dir,
        database=database,
        store=store,
        encryption_keys=encryption_keys,
        config=config,
    )
    result = rebuilding.rebuild_index(settings, report=_report)
    for line in _lines(result):
        typer.echo(line)
    if not result.is_complete:
        raise typer.Exit(_FAILED)


def _report(packs: int) -> None:
    if packs % _REPORT_EVERY == 0:
        typer.echo(f"{packs} packs read", err=True)


def _lines(result: Rebuild) -> list[str]:
    known = f"The index knows {result.packs} packs with {result.chunks} chunks now"
    lines = [f"{known}, and was compared with {result.contents} contents."]
    lines += [
        f"{why} Those of its chunks that could be verified were kept."
        for why in result.unreadable.values()
    ]
    lines += [f"The pack {pack_id} is not in the store any more." for pack_id in result.lost_packs]
    for loss in result.losses:
        lacks = loss.why or f"lacks {loss.chunks} chunks, such as {loss.example}."
        lines.append(f"The image {loss.name} ({loss.image_id}): {lacks}")
    lines += [
        f"The copy {operation_id} lacks chunks that it had recorded, and will be rolled back."
        for operation_id in result.failed_copies
    ]
    if result.is_complete:
        lines.append("Every image is complete.")
    else:
        lines.append(
            "Put the missing packs back from a backup and rebuild again; or start the server and"
            " run `clouddesktop store scrub`, which repairs what the sources still have."
        )
    return lines
