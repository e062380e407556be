"""Folders and rights, by the command line and the official stubs, against a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import ErrorInfo
from yandex.cloud.access import access_pb2
from yandex.cloud.resourcemanager.v1 import folder_service_pb2 as folders
from yandex.cloud.resourcemanager.v1.cloud_service_pb2 import ListCloudsRequest
from yandex.cloud.resourcemanager.v1.cloud_service_pb2_grpc import CloudServiceStub
from yandex.cloud.resourcemanager.v1.folder_pb2 import Folder
from yandex.cloud.resourcemanager.v1.folder_service_pb2_grpc import FolderServiceStub

from parts.disks import MIB, random_bytes, write_raw
from parts.official import OfficialClient, refused
from parts.server import ServerProcess

CLI = (sys.executable, "-m", "clouddesktop")


@pytest.fixture
def client(server: ServerProcess) -> OfficialClient:
    return OfficialClient(server.profile)


def run(server: ServerProcess, *words: str) -> Any:
    """Run a command, and give what it prints."""
    command = [*CLI, "--profile", str(server.profile), "--format", "json", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.proves("operation.types", of=["FolderService/Create", "FolderService/Delete"])
@pytest.mark.proves("update.mask", of=["FolderService/Update"])
@pytest.mark.proves("errors.not-found", of=["FolderService/Get"])
def test_a_folder_lives_its_life(client: OfficialClient, sources_dir: Path) -> None:
    """Made, found, filled, not to be deleted, emptied, deleted; operations name their types."""
    stub = client.sdk.client(FolderServiceStub)
    (cloud,) = client.sdk.client(CloudServiceStub).List(ListCloudsRequest()).clouds
    operation = stub.Create(
        folders.CreateFolderRequest(cloud_id=cloud.id, name="team-a", labels={"team": "a"})
    )
    folder = Folder()
    assert operation.done
    assert operation.response.Unpack(folder)
    metadata = folders.CreateFolderMetadata()
    assert operation.metadata.Unpack(metadata)
    assert metadata.folder_id == folder.id
    assert (folder.cloud_id, folder.name, folder.status) == (cloud.id, "team-a", Folder.ACTIVE)
    assert stub.Get(folders.GetFolderRequest(folder_id=folder.id)) == folder
    named = folders.ListFoldersRequest(cloud_id=cloud.id, filter='name="team-a"')
    assert list(stub.List(named).folders) == [folder]
    refusal = refused(
        lambda: stub.Create(folders.CreateFolderRequest(cloud_id=cloud.id, name="team-a"))
    )
    assert refusal.code == grpc.StatusCode.ALREADY_EXISTS
    changed = stub.Update(
        folders.UpdateFolderRequest(
            folder_id=folder.id, description="theirs", update_mask=FieldMask(paths=["description"])
        )
    )
    assert changed.response.Unpack(folder)
    assert (folder.name, folder.description, dict(folder.labels)) == (
        "team-a", "theirs", {"team": "a"},
    )  # fmt: skip

    write_raw(sources_dir / "golden.raw", size=2 * MIB, data={0: random_bytes(MIB, seed=1)})
    client.folder_id = folder.id
    copied = client.wait(client.copy("golden", "golden").id)
    delete = folders.DeleteFolderRequest(folder_id=folder.id)
    refusal = refused(lambda: stub.Delete(delete))
    assert refusal.code == grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.get_detail(ErrorInfo).reason == "FOLDER_NOT_EMPTY"
    client.delete_copied(copied)
    gone = stub.Delete(delete)
    assert gone.response.Unpack(Empty())
    assert refused(lambda: stub.Get(folders.GetFolderRequest(folder_id=folder.id))).code == (
        grpc.StatusCode.NOT_FOUND
    )


@pytest.mark.proves("iam.last-admin", of=["CloudService/SetAccessBindings"])
def test_roles_are_given_and_taken_by_the_command_line(
    server: ServerProcess, client: OfficialClient
) -> None:
    """What is bound shows; the last administrator of the cloud stays."""
    folder = run(server, "resource-manager", "folder", "create", "--name", "team-b")
    somebody = ("--role", "vdi.editor", "--subject", "serviceAccount:ajesomebody")
    verb = ("resource-manager", "folder")
    run(server, *verb, "add-access-binding", "team-b", *somebody)
    bound = run(server, *verb, "list-access-bindings", folder["id"])
    assert bound == [
        {"role_id": "vdi.editor", "subject_type": "serviceAccount", "subject_id": "ajesomebody"}
    ]
    run(server, *verb, "remove-access-binding", "team-b", *somebody)
    assert run(server, *verb, "list-access-bindings", "team-b") == []
    (cloud,) = run(server, "resource-manager", "cloud", "list")
    (admin,) = run(server, "resource-manager", "cloud", "list-access-bindings", cloud["id"])
    assert admin["role_id"] == "admin"
    nobody = access_pb2.SetAccessBindingsRequest(resource_id=cloud["id"])
    refusal = refused(lambda: client.sdk.client(CloudServiceStub).SetAccessBindings(nobody))
    assert refusal.get_detail(ErrorInfo).reason == "LAST_ADMIN"
    assert {"id": "vdi.viewer", "description": "See and export desktop images."} in run(
        server, "iam", "role", "list"
    )


def test_a_binding_of_nonsense_is_refused_field_by_field(client: OfficialClient) -> None:
    """An unknown role, an unknown type of subject, and the system's subject under another id."""
    bindings = [
        access_pb2.AccessBinding(
            role_id="vdi.king", subject=access_pb2.Subject(id="x", type="serviceAccount")
        ),
        access_pb2.AccessBinding(
            role_id="viewer", subject=access_pb2.Subject(id="x", type="robot")
        ),
        access_pb2.AccessBinding(
            role_id="viewer", subject=access_pb2.Subject(id="x", type="system")
        ),
    ]
    request = access_pb2.SetAccessBindingsRequest(
        resource_id=client.folder_id, access_bindings=bindings
    )
    stub = client.sdk.client(FolderServiceStub)
    refusal = refused(lambda: stub.SetAccessBindings(request))
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    lines = refusal.message.splitlines()[1:]
    assert [each.partition(": ")[0] for each in lines] == [
        "access_bindings[0].role_id",
        "access_bindings[1].subject.type",
        "access_bindings[2].subject.id",
    ]
