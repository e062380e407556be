"""`clouddesktop doctor`: run on a machine of the installation, with the settings of its servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from clouddesktop.cli.options import Globals, Style, StyleOption
from clouddesktop.cli.texts import to_printable
from clouddesktop.cli.verbs import with_settings

if TYPE_CHECKING:
    from clouddesktop.config import Settings

_WRONG = 1
_COLUMNS = {"STATE": "state", "WHAT": "kind", "ABOUT": "subject", "FOUND": "what"}


@with_settings(
    "data_dir",
    "database",
    "store",
    "source",
    "source_ca",
    "source_stall",
    "worker_lease",
    "encryption_keys",
    "config",
)
def doctor(
    settings: Settings,
    context: typer.Context,
    *,
    mend: Annotated[
        bool, typer.Option("--mend", help="Mend what can be mended; deletes no bytes.")
    ] = False,
    style: StyleOption = None,
) -> None:
    """Find what is wrong with an installation, as after a restore; fails if anything is left."""
    from clouddesktop.app.doctor import examine  # noqa: PLC0415  (all libraries)
    from clouddesktop.keeping.findings import FindingState  # noqa: PLC0415  (all libraries)

    found = examine(settings, is_mending=mend)
    record = {
        "wrong": found.count(FindingState.WRONG),
        "mended": found.count(FindingState.MENDED),
        "notes": found.count(FindingState.NOTE),
        "findings": [each.to_record() for each in found],
        "not_listed": found.unlisted,
    }
    _print(record, style or context.ensure_object(Globals).style)
    if record["wrong"]:
        raise typer.Exit(_WRONG)


def _print(record: dict[str, Any], style: Style | None) -> None:
    from clouddesktop.cli.render import to_json, to_table, to_yaml  # noqa: PLC0415  (messages)

    if style is Style.JSON:
        typer.echo(to_json(record))
    elif style is Style.YAML:
        typer.echo(to_yaml(record), nl=False)
    elif style is Style.TABLE:
        typer.echo(to_table(record["findings"], _COLUMNS))
    else:
        for line in _lines(record):
            typer.echo(to_printable(line))


def _lines(record: dict[str, Any]) -> list[str]:
    lines = [
        f"{each['state']}: {each['what']} {each['why']} {each['remedy']}"
        for each in record["findings"]
    ]
    lines += [f"and {count} more: {kind}" for kind, count in record["not_listed"].items()]
    if record["wrong"]:
        return [*lines, f"{record['wrong']} things are wrong, {record['mended']} were mended."]
    if record["mended"]:
        return [*lines, f"{record['mended']} things were mended; nothing is wrong any more."]
    return [*lines, "Nothing is wrong."]
