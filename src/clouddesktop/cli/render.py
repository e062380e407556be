"""Results on standard output: YAML and JSON as the API's JSON in snake_case, or tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer
import yaml
from rich.cells import cell_len
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.cli.options import Style
from clouddesktop.cli.texts import format_size, to_printable
from clouddesktop.client import Progress, to_record

Record = Mapping[str, Any]
Columns = Mapping[str, str]

_IMAGE_COLUMNS: Columns = {
    "ID": "id",
    "NAME": "name",
    "STATUS": "status",
    "DISK": "disk",
    "STORED": "stored",
    "SYSTEM": "system",
    "CREATED": "created_at",
}
_OPERATION_COLUMNS: Columns = {
    "ID": "id",
    "CREATED": "created_at",
    "CREATED BY": "created_by",
    "MODIFIED": "modified_at",
    "STATUS": "status",
    "DESCRIPTION": "description",
}


def print_image(image: DesktopImage, style: Style | None, *, verified_at: str = "") -> None:
    """Print an image; as text also when it was last verified, which is no field of the message."""
    record = _to_row(image) if style is Style.TABLE else to_record(image)
    if style in {None, Style.TEXT} and verified_at:
        record = {**record, "verified_at": verified_at}
    print_one(record, style, _IMAGE_COLUMNS)


def print_images(images: Iterable[DesktopImage], style: Style | None) -> None:
    is_table = style not in {Style.JSON, Style.YAML}
    records = [_to_row(each) if is_table else to_record(each) for each in images]
    print_many(records, style, _IMAGE_COLUMNS)


def _to_row(image: DesktopImage) -> Record:
    """Give an image as people read it in a table, with its sizes once they are known."""
    sizes = {"disk": image.min_disk_size, "stored": image.storage_size}
    return (
        to_record(image)
        | {name: format_size(size) if size else "" for name, size in sizes.items()}
        | {"system": "" if image.folder_id else "yes"}
    )


def print_operation(
    operation: Operation, style: Style | None, *, progress: Progress | None = None
) -> None:
    """Print an operation as the API has it; text and tables show people how it stands, too."""
    record = to_record(operation)
    if style is Style.TABLE:
        record["status"] = _status_of(operation)
    if style in {None, Style.TEXT} and progress is not None:
        record["progress"] = progress.to_record() | {"phase": progress.phase.value}
    print_one(record, style, _OPERATION_COLUMNS)


def _status_of(operation: Operation) -> str:
    if not operation.done:
        return "RUNNING"
    return "FAILED" if operation.HasField("error") else "DONE"


def print_one(record: Record, style: Style | None, columns: Columns) -> None:
    """Print one resource."""
    if style is Style.JSON:
        typer.echo(to_json(record))
    elif style is Style.TABLE:
        typer.echo(to_table([record], columns))
    else:
        typer.echo(to_yaml(record), nl=False)


def print_many(records: Sequence[Record], style: Style | None, columns: Columns) -> None:
    """Print a list of resources."""
    if style is Style.JSON:
        typer.echo(to_json(records))
    elif style is Style.YAML:
        typer.echo(to_yaml(records), nl=False)
    else:
        typer.echo(to_table(records, columns))


def to_json(value: Any) -> str:
    """Write JSON with letters of every language, and escapes for what steers a terminal."""
    return _escaped(json.dumps(value, indent=2, ensure_ascii=False))


def to_yaml(value: Any) -> str:
    """Write YAML as the public cloud's tool does: texts that look like another type in "quotes"."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf"))
    return _escaped(text)


def to_table(records: Sequence[Record], columns: Columns) -> str:
    """Draw a table as wide as its contents, so that nothing is cut off in a pipe."""
    rows = [list(columns)]
    rows += [[to_printable(str(each.get(key, ""))) for key in columns.values()] for each in records]
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(columns))]
    rule = "+".join(["", *("-" * (width + 2) for width in widths), ""])
    lines = [
        "|".join(
            [
                "",
                *(
                    f" {cell}{' ' * (width - cell_len(cell))} "
                    for cell, width in zip(row, widths, strict=True)
                ),
                "",
            ]
        )
        for row in rows
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], *([rule] if records else [])])


def _escaped(text: str) -> str:
    r"""Write as \\uXXXX, which JSON and YAML share, what is neither printable nor a line's end."""
    return "".join(
        each if each == "\n" or each.isprintable() else json.dumps(each)[1:-1] for each in text
    )


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT002  (PyYAML's signature)
        super().increase_indent(flow, indentless=False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    tag = "tag:yaml.org,2002:str"
    resolved = dumper.resolve(  # type: ignore[no-untyped-call]  # its stubs leave the types out
        yaml.ScalarNode, text, (True, False)
    )
    is_plain = resolved == tag and text.isprintable()  # escapes need quotes
    return dumper.represent_scalar(tag, text, style=None if is_plain else '"')


_Dumper.add_representer(str, _represent_text)
