"""What the verbs of `clouddesktop compute image` do, once a server is to be talked to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yandex.cloud.compute.v1 import image_pb2
from yandex.cloud.compute.v1 import image_service_pb2 as service
from yandex.cloud.compute.v1.image_service_pb2_grpc import ImageServiceStub
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.cli.following import follow
from clouddesktop.cli.options import Globals
from clouddesktop.cli.progress import open_reporter
from clouddesktop.cli.render import Columns, print_many, print_one, print_operation
from clouddesktop.cli.session import run_session
from clouddesktop.cli.texts import format_size
from clouddesktop.client import CallError, Code, Connection, delete_upload, to_record, upload_file

_COLUMNS: Columns = {
    "ID": "id",
    "NAME": "name",
    "FAMILY": "family",
    "STATUS": "status",
    "DISK": "disk",
    "CREATED": "created_at",
}
_OPERATION_COLUMNS: Columns = {
    "ID": "id",
    "CREATED": "created_at",
    "CREATED BY": "created_by",
    "DONE": "done",
    "DESCRIPTION": "description",
}


def create(
    options: Globals,
    *,
    fields: Mapping[str, Any],
    source_file: Path | None,
    os_type: str | None,
    is_async: bool,
    timeout_seconds: float | None,
) -> None:
    async def start(connection: Connection) -> Operation:
        request = service.CreateImageRequest(
            folder_id=connection.profile.folder_id,
            **{name: value for name, value in fields.items() if value},
        )
        if os_type is not None:
            request.os.type = image_pb2.Os.Type.Value(os_type.upper())
        if source_file is not None:
            request.uri = await _upload(connection, source_file)
        operation: Operation = await connection.call(_stub(connection).Create, request)
        if not is_async and not operation.done:
            operation = await follow(connection, operation.id, timeout_seconds=timeout_seconds)
        if source_file is not None and operation.done:
            await delete_upload(connection, request.uri)
        return operation

    operation = run_session(options, start)
    image = image_pb2.Image()
    if operation.response.Unpack(image):
        print_one(to_record(image), options.style, _COLUMNS)
    else:
        print_operation(operation, options.style)


def get(options: Globals, id_or_name: str) -> None:
    image = run_session(options, lambda connection: _find(connection, id_or_name))
    print_one(to_record(image), options.style, _COLUMNS)


def get_latest(options: Globals, family: str) -> None:
    async def find(connection: Connection) -> image_pb2.Image:
        request = service.GetImageLatestByFamilyRequest(
            folder_id=connection.profile.folder_id, family=family
        )
        image: image_pb2.Image = await connection.call(_stub(connection).GetLatestByFamily, request)
        return image

    print_one(to_record(run_session(options, find)), options.style, _COLUMNS)


def list_(options: Globals) -> None:
    images = run_session(options, _list)
    records = [
        to_record(each) | {"disk": format_size(each.min_disk_size) if each.min_disk_size else ""}
        for each in images
    ]
    if options.style not in {None, "text", "table"}:
        records = [to_record(each) for each in images]
    print_many(records, options.style, _COLUMNS)


def update(
    options: Globals,
    id_or_name: str,
    *,
    name: str | None,
    description: str | None,
    labels: Mapping[str, str] | None,
) -> None:
    async def change(connection: Connection) -> image_pb2.Image:
        image = await _find(connection, id_or_name)
        request = service.UpdateImageRequest(
            image_id=image.id,
            name=name or "",
            description=description or "",
            labels=labels or {},
        )
        given = {"name": name, "description": description, "labels": labels}
        request.update_mask.paths.extend(key for key, value in given.items() if value is not None)
        operation = await connection.call(_stub(connection).Update, request)
        operation.response.Unpack(image)
        return image

    print_one(to_record(run_session(options, change)), options.style, _COLUMNS)


def delete(options: Globals, id_or_name: str) -> None:
    async def remove(connection: Connection) -> Operation:
        image = await _find(connection, id_or_name)
        request = service.DeleteImageRequest(image_id=image.id)
        operation: Operation = await connection.call(_stub(connection).Delete, request)
        return operation

    print_operation(run_session(options, remove), options.style)


def list_operations(options: Globals, id_or_name: str) -> None:
    async def list_them(connection: Connection) -> list[Operation]:
        image = await _find(connection, id_or_name)
        request = service.ListImageOperationsRequest(image_id=image.id, page_size=1000)
        page = await connection.call(_stub(connection).ListOperations, request)
        return list(page.operations)

    found = run_session(options, list_them)
    print_many([to_record(each) for each in found], options.style, _OPERATION_COLUMNS)


async def _upload(connection: Connection, path: Path) -> str:
    with open_reporter() as reporter:
        return await upload_file(
            connection,
            path,
            on_progress=lambda done, total: reporter.report("uploading", done, total),
        )


def _stub(connection: Connection) -> Any:
    return ImageServiceStub(connection.channel)


async def _list(connection: Connection, condition: str = "") -> list[image_pb2.Image]:
    found: list[image_pb2.Image] = []
    request = service.ListImagesRequest(
        folder_id=connection.profile.folder_id, page_size=1000, filter=condition
    )
    while True:
        page = await connection.call(_stub(connection).List, request)
        found += page.images
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def _find(connection: Connection, id_or_name: str) -> image_pb2.Image:
    try:
        image: image_pb2.Image = await connection.call(
            _stub(connection).Get, service.GetImageRequest(image_id=id_or_name)
        )
    except CallError as error:
        if error.code not in {Code.NOT_FOUND, Code.INVALID_ARGUMENT}:
            raise
        named = [each for each in await _list(connection) if each.name == id_or_name]
        if not named:
            raise
        return named[0]
    return image
