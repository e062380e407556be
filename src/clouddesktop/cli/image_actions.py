"""What the verbs of `clouddesktop image` do, once a server is to be talked to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.cli.following import check, follow
from clouddesktop.cli.options import Globals
from clouddesktop.cli.progress import open_reporter
from clouddesktop.cli.render import Columns, print_image, print_images, print_one, print_operation
from clouddesktop.cli.session import run_session
from clouddesktop.cli.texts import format_seconds, format_size, to_printable
from clouddesktop.client import (
    CallError,
    Code,
    Connection,
    Export,
    OutputFormat,
    export_image,
    image_id_of,
)
from clouddesktop.client.system_images import publish_image, withdraw_image

_COMPUTE_IMAGE_REMEDY = (
    "A compute image's id is the name of its file, without the extension, in a source of the "
    "server (`clouddesktop serve --source NAME=file:///DIR`)."
)
_EXPORT_COLUMNS: Columns = {
    "IMAGE ID": "image_id",
    "OUTPUT": "output",
    "FORMAT": "output_format",
    "DISK SIZE": "disk_size",
}


def copy(
    options: Globals,
    *,
    compute_image_id: str,
    name: str,
    description: str,
    labels: Mapping[str, str],
    checksum: str,
    priority: str,
    is_async: bool,
    timeout_seconds: float | None,
) -> None:
    async def start(connection: Connection) -> Operation:
        try:
            return await connection.copy_image(
                compute_image_id=compute_image_id,
                name=name,
                description=description,
                labels=labels,
                checksum=checksum,
                priority=priority,
            )
        except CallError as error:
            if error.code is Code.NOT_FOUND and compute_image_id in error.message:
                error.remedy = error.remedy or _COMPUTE_IMAGE_REMEDY
            raise
        except asyncio.CancelledError:
            typer.echo(
                "The copy may have begun: `clouddesktop image list` shows the new image then.",
                err=True,
            )
            raise

    async def work(connection: Connection) -> Operation | DesktopImage:
        started_at = time.monotonic()
        operation = await start(connection)
        seconds = time.monotonic() - started_at
        check(operation)
        if is_async:
            return operation
        if operation.done:
            typer.echo(
                f"Done at once, in {format_seconds(seconds)}: the store knows the content already.",
                err=True,
            )
        else:
            operation = await follow(connection, operation.id, timeout_seconds=timeout_seconds)
        image = DesktopImage()
        if not operation.response.Unpack(image):
            image = await connection.get_image(image_id_of(operation))
        return image

    result = run_session(options, work)
    if isinstance(result, DesktopImage):
        print_image(result, options.style)
    else:
        print_operation(result, options.style)


def get(options: Globals, image: str) -> None:
    async def work(connection: Connection) -> tuple[DesktopImage, str | None]:
        found = await connection.find_image(image)
        return found, await connection.get_verified_at(found.id)

    found, verified_at = run_session(options, work)
    print_image(found, options.style, verified_at=verified_at or "never")


def delete(options: Globals, image: str) -> None:
    async def work(connection: Connection) -> tuple[DesktopImage, Operation]:
        found = await connection.find_image(image)
        operation = await connection.delete_image(found.id)
        check(operation)
        if not operation.done:
            operation = await follow(connection, operation.id, timeout_seconds=None)
        return found, operation

    found, operation = run_session(options, work)
    typer.echo(f"Deleted {to_printable(found.name)} ({found.id}).", err=True)
    print_operation(operation, options.style)


def publish(options: Globals, image: str, *, name: str) -> None:
    async def work(connection: Connection) -> DesktopImage:
        found = await connection.find_image(image)
        return await publish_image(connection, found.id, name=name)

    print_image(run_session(options, work), options.style)


def withdraw(options: Globals, image: str) -> None:
    async def work(connection: Connection) -> DesktopImage:
        found = await connection.find_image(image, is_system=True)
        return await withdraw_image(connection, found.id)

    withdrawn = run_session(options, work)
    typer.echo(f"Withdrew {to_printable(withdrawn.name)} ({withdrawn.id}).", err=True)
    print_image(withdrawn, options.style)


def update(options: Globals, image: str, changes: Mapping[str, Any]) -> None:
    async def work(connection: Connection) -> DesktopImage:
        found = await connection.find_image(image)
        operation = await connection.update_image(found.id, **changes)
        check(operation)
        changed = DesktopImage()
        if not operation.response.Unpack(changed):
            changed = await connection.get_image(found.id)
        return changed

    print_image(run_session(options, work), options.style)


def list_(options: Globals, *, condition: str, order_by: str, page_size: int, limit: int) -> None:
    async def work(connection: Connection) -> list[DesktopImage]:
        images: list[DesktopImage] = []
        async for image in connection.iter_images(
            condition=condition, order_by=order_by, page_size=min(page_size, limit)
        ):
            images.append(image)
            if len(images) == limit:
                break
        return images

    print_images(run_session(options, work), options.style)


def export(
    options: Globals, image: str, *, output: Path, output_format: str | None, overwrite: bool
) -> None:
    wanted = OutputFormat(output_format) if output_format else _guess_format(output)

    async def work(connection: Connection) -> tuple[DesktopImage, Export]:
        found = await connection.find_image(image)
        with open_reporter() as reporter:
            exported = await export_image(
                connection,
                found.id,
                output,
                output_format=wanted,
                overwrite=overwrite,
                on_progress=lambda done, total: reporter.report("exporting", done, total),
            )
        return found, exported

    started_at = time.monotonic()
    found, exported = run_session(options, work)
    seconds = time.monotonic() - started_at
    sizes = (
        f"{format_size(exported.data_size)} of data, a disk of {format_size(exported.disk_size)}"
    )
    typer.echo(f"Done in {format_seconds(seconds)}: {sizes}.", err=True)
    record = {
        "image_id": found.id,
        "output": str(output),
        "output_format": wanted.value,
        "disk_size": str(exported.disk_size),
    }
    print_one(record, options.style, _EXPORT_COLUMNS)


def _guess_format(output: Path) -> OutputFormat:
    named = OutputFormat.of_path(output)
    if named is None:
        typer.echo("The output's name tells no format: it will be raw.", err=True)
    elif named is not OutputFormat.RAW:
        typer.echo(f"The output will be {named}, as its name says.", err=True)
    return named or OutputFormat.RAW
