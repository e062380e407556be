"""What the verbs of `clouddesktop compute image` do that no other kind of resource has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yandex.cloud.compute.v1.image_pb2 import Image, Os
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.cli.following import follow
from clouddesktop.cli.kinds import COMPUTE_IMAGES
from clouddesktop.cli.options import Globals
from clouddesktop.cli.progress import open_reporter
from clouddesktop.cli.render import print_many, print_one, print_operation
from clouddesktop.cli.session import run_session
from clouddesktop.cli.texts import format_size
from clouddesktop.client import Connection, delete_upload, to_record, upload_file


def create(
    options: Globals,
    *,
    fields: Mapping[str, Any],
    source_file: Path | None,
    os_type: str | None,
    is_async: bool,
    timeout_seconds: float | None,
) -> None:
    given = {name: value for name, value in fields.items() if value}
    if os_type is not None:
        given["os"] = Os(type=Os.Type.Value(os_type.upper()))

    async def work(connection: Connection) -> Operation:
        place = COMPUTE_IMAGES.place(connection.profile)
        if source_file is not None:
            given["uri"] = await _upload(connection, source_file)
        operation: Operation
        operation = await COMPUTE_IMAGES.call(connection, "Create", **place, **given)
        if not is_async and not operation.done:
            operation = await follow(connection, operation.id, timeout_seconds=timeout_seconds)
        if source_file is not None and operation.done:
            await delete_upload(connection, given["uri"])
        return operation

    operation = run_session(options, work)
    image = Image()
    if operation.response.Unpack(image):
        print_one(to_record(image), options.style, COMPUTE_IMAGES.columns)
    else:
        print_operation(operation, options.style)


def get_latest(options: Globals, family: str) -> None:
    async def work(connection: Connection) -> Image:
        place = COMPUTE_IMAGES.place(connection.profile)
        image: Image
        image = await COMPUTE_IMAGES.call(connection, "GetLatestByFamily", **place, family=family)
        return image

    print_one(to_record(run_session(options, work)), options.style, COMPUTE_IMAGES.columns)


def list_(options: Globals) -> None:
    images = run_session(options, COMPUTE_IMAGES.list_all)
    records = [
        to_record(each) | {"disk": format_size(each.min_disk_size) if each.min_disk_size else ""}
        for each in images
    ]
    if options.style not in {None, "text", "table"}:
        records = [to_record(each) for each in images]
    print_many(records, options.style, COMPUTE_IMAGES.columns)


async def _upload(connection: Connection, path: Path) -> str:
    with open_reporter() as reporter:
        return await upload_file(
            connection,
            path,
            on_progress=lambda done, total: reporter.report("uploading", done, total),
        )
