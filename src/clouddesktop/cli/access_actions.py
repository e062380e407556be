"""What the verbs on clouds, folders and roles do, once a server is to be talked to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from google.protobuf.message import Message
from yandex.cloud.access import access_pb2
from yandex.cloud.iam.v1.role_service_pb2 import ListRolesRequest
from yandex.cloud.iam.v1.role_service_pb2_grpc import RoleServiceStub
from yandex.cloud.resourcemanager.v1 import cloud_service_pb2 as clouds
from yandex.cloud.resourcemanager.v1 import folder_service_pb2 as folders
from yandex.cloud.resourcemanager.v1.cloud_service_pb2_grpc import CloudServiceStub
from yandex.cloud.resourcemanager.v1.folder_pb2 import Folder
from yandex.cloud.resourcemanager.v1.folder_service_pb2_grpc import FolderServiceStub

from clouddesktop.cli.options import Globals
from clouddesktop.cli.render import Columns, print_many, print_one, print_operation
from clouddesktop.cli.session import run_session
from clouddesktop.client import CallError, Code, Connection, to_record
from clouddesktop.model.federation import DIGEST_MARK, federated_id

_FOLDER_COLUMNS: Columns = {
    "ID": "id", "NAME": "name", "STATUS": "status", "CREATED": "created_at",
}  # fmt: skip
_CLOUD_COLUMNS: Columns = {"ID": "id", "NAME": "name", "CREATED": "created_at"}
_ROLE_COLUMNS: Columns = {"ID": "id", "DESCRIPTION": "description"}
_BINDING_COLUMNS: Columns = {
    "ROLE": "role_id", "SUBJECT TYPE": "subject_type", "SUBJECT ID": "subject_id",
}  # fmt: skip


def create_folder(
    options: Globals, *, name: str, description: str, labels: Mapping[str, str]
) -> None:
    async def create(connection: Connection) -> Folder:
        request = folders.CreateFolderRequest(
            cloud_id=connection.profile.cloud_id, name=name, description=description, labels=labels
        )
        operation = await connection.call(FolderServiceStub(connection.channel).Create, request)
        return _response_of(operation)

    print_one(to_record(run_session(options, create)), options.style, _FOLDER_COLUMNS)


def get_folder(options: Globals, id_or_name: str) -> None:
    folder = run_session(options, lambda connection: _find_folder(connection, id_or_name))
    print_one(to_record(folder), options.style, _FOLDER_COLUMNS)


def list_folders(options: Globals) -> None:
    found = run_session(options, _list_folders)
    print_many([to_record(each) for each in found], options.style, _FOLDER_COLUMNS)


def update_folder(
    options: Globals,
    id_or_name: str,
    *,
    name: str | None,
    description: str | None,
    labels: Mapping[str, str] | None,
) -> None:
    async def update(connection: Connection) -> Folder:
        folder = await _find_folder(connection, id_or_name)
        request = folders.UpdateFolderRequest(
            folder_id=folder.id,
            name=name or "",
            description=description or "",
            labels=labels or {},
        )
        given = {"name": name, "description": description, "labels": labels}
        request.update_mask.paths.extend(key for key, value in given.items() if value is not None)
        operation = await connection.call(FolderServiceStub(connection.channel).Update, request)
        return _response_of(operation)

    print_one(to_record(run_session(options, update)), options.style, _FOLDER_COLUMNS)


def delete_folder(options: Globals, id_or_name: str) -> None:
    async def delete(connection: Connection) -> Any:
        folder = await _find_folder(connection, id_or_name)
        request = folders.DeleteFolderRequest(folder_id=folder.id)
        return await connection.call(FolderServiceStub(connection.channel).Delete, request)

    print_operation(run_session(options, delete), options.style)


def list_folder_bindings(options: Globals, id_or_name: str) -> None:
    async def list_them(connection: Connection) -> list[Any]:
        folder = await _find_folder(connection, id_or_name)
        return await _list_bindings(connection, FolderServiceStub(connection.channel), folder.id)

    _print_bindings(options, run_session(options, list_them))


def change_folder_binding(
    options: Globals, id_or_name: str, role: str, subject: str, *, is_added: bool
) -> None:
    async def change(connection: Connection) -> Any:
        folder = await _find_folder(connection, id_or_name)
        request = _to_change(folder.id, role, subject, is_added=is_added)
        stub = FolderServiceStub(connection.channel)
        return await connection.call(stub.UpdateAccessBindings, request)

    print_operation(run_session(options, change), options.style)


def get_cloud(options: Globals, cloud_id: str) -> None:
    request = clouds.GetCloudRequest(cloud_id=cloud_id)
    cloud = run_session(
        options,
        lambda connection: connection.call(CloudServiceStub(connection.channel).Get, request),
    )
    print_one(to_record(cloud), options.style, _CLOUD_COLUMNS)


def list_clouds(options: Globals) -> None:
    request = clouds.ListCloudsRequest(page_size=1000)
    page = run_session(
        options,
        lambda connection: connection.call(CloudServiceStub(connection.channel).List, request),
    )
    print_many([to_record(each) for each in page.clouds], options.style, _CLOUD_COLUMNS)


def list_cloud_bindings(options: Globals, cloud_id: str) -> None:
    found = run_session(
        options,
        lambda connection: _list_bindings(
            connection, CloudServiceStub(connection.channel), cloud_id
        ),
    )
    _print_bindings(options, found)


def change_cloud_binding(
    options: Globals, cloud_id: str, role: str, subject: str, *, is_added: bool
) -> None:
    request = _to_change(cloud_id, role, subject, is_added=is_added)
    operation = run_session(
        options,
        lambda connection: connection.call(
            CloudServiceStub(connection.channel).UpdateAccessBindings, request
        ),
    )
    print_operation(operation, options.style)


def list_roles(options: Globals) -> None:
    request = ListRolesRequest(page_size=1000)
    page = run_session(
        options,
        lambda connection: connection.call(RoleServiceStub(connection.channel).List, request),
    )
    print_many([to_record(each) for each in page.roles], options.style, _ROLE_COLUMNS)


async def _list_folders(connection: Connection) -> list[Folder]:
    found: list[Folder] = []
    request = folders.ListFoldersRequest(cloud_id=connection.profile.cloud_id, page_size=1000)
    while True:
        page = await connection.call(FolderServiceStub(connection.channel).List, request)
        found += page.folders
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def _find_folder(connection: Connection, id_or_name: str) -> Folder:
    stub = FolderServiceStub(connection.channel)
    try:
        folder: Folder = await connection.call(
            stub.Get, folders.GetFolderRequest(folder_id=id_or_name)
        )
    except CallError as error:
        if error.code not in {Code.NOT_FOUND, Code.INVALID_ARGUMENT}:
            raise
        named = [each for each in await _list_folders(connection) if each.name == id_or_name]
        if not named:
            raise
        return named[0]
    return folder


async def _list_bindings(connection: Connection, stub: Any, resource_id: str) -> list[Any]:
    found: list[Any] = []
    request = access_pb2.ListAccessBindingsRequest(resource_id=resource_id, page_size=1000)
    while True:
        page = await connection.call(stub.ListAccessBindings, request)
        found += page.access_bindings
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def _print_bindings(options: Globals, found: list[Any]) -> None:
    records = [
        {"role_id": each.role_id, "subject_type": each.subject.type, "subject_id": each.subject.id}
        for each in found
    ]
    print_many(records, options.style, _BINDING_COLUMNS)


def _to_change(resource_id: str, role: str, subject: str, *, is_added: bool) -> Message:
    subject_type, colon, subject_id = subject.partition(":")
    if not colon or not subject_id:
        raise typer.BadParameter("Write --subject as TYPE:ID, such as serviceAccount:aje….")
    if subject_type == "federatedUser":
        subject_id = _to_federated_id(subject_id)
    delta = access_pb2.AccessBindingDelta(
        action=access_pb2.ADD if is_added else access_pb2.REMOVE,
        access_binding=access_pb2.AccessBinding(
            role_id=role, subject=access_pb2.Subject(id=subject_id, type=subject_type)
        ),
    )
    return access_pb2.UpdateAccessBindingsRequest(
        resource_id=resource_id, access_binding_deltas=[delta]
    )


def _to_federated_id(text: str) -> str:
    """Take ISSUER:SUBJECT with the subject in the issuer's words, or an id as lists show it."""
    issuer_name, colon, claim = text.partition(":")
    if not colon or not claim:
        raise typer.BadParameter("Write --subject as federatedUser:ISSUER:SUBJECT.")
    return text if claim.startswith(DIGEST_MARK) else federated_id(issuer_name, claim)


def _response_of(operation: Any) -> Folder:
    folder = Folder()
    operation.response.Unpack(folder)
    return folder
