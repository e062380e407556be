"""Service accounts and keys: made by the command line, used by the official SDK, revoked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import ErrorInfo
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import ListDesktopImagesRequest
from yandex.cloud.iam.v1 import key_service_pb2 as keys
from yandex.cloud.iam.v1 import service_account_service_pb2 as accounts
from yandex.cloud.iam.v1.key_pb2 import Key
from yandex.cloud.iam.v1.key_service_pb2_grpc import KeyServiceStub
from yandex.cloud.iam.v1.service_account_pb2 import ServiceAccount
from yandex.cloud.iam.v1.service_account_service_pb2_grpc import ServiceAccountServiceStub

from parts.official import OfficialClient, refused
from parts.rest import RestClient
from parts.server import ServerProcess

CLI = (sys.executable, "-m", "clouddesktop")


def run(profile: Path, *words: str) -> Any:
    """Run a command, and give what it prints."""
    command = [*CLI, "--profile", str(profile), "--format", "json", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def profile_with(server: ServerProcess, key: Path) -> Path:
    """Write a profile that is the server's but for the key."""
    settings = yaml.safe_load(server.profile.read_text())
    path = key.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({**settings, "key": str(key)}))
    return path


def images_of(client: OfficialClient) -> ListDesktopImagesRequest:
    return ListDesktopImagesRequest(folder_id=client.folder_id)


@pytest.mark.proves("iam.revoked", of=["KeyService/Delete"])
def test_an_account_lives_from_its_first_key_to_its_last(
    server: ServerProcess, tmp_path: Path
) -> None:
    """No right before it has a role; none after its key is revoked, with the same token."""
    account = run(server.profile, "iam", "service-account", "create", "--name", "builder")
    file = tmp_path / "builder.json"
    key = run(
        server.profile, "iam", "key", "create", "--service-account", "builder",
        "--output", str(file),
    )  # fmt: skip
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["service_account_id"] == account["id"]
    profile = profile_with(server, file)
    client = OfficialClient(profile)
    refusal = refused(lambda: client.images.List(images_of(client)))
    assert refusal.code == grpc.StatusCode.NOT_FOUND
    assert refusal.message == f"Folder {client.folder_id} not found"
    subject = f"serviceAccount:{account['id']}"
    role = ("--role", "vdi.viewer", "--subject", subject)
    run(server.profile, "resource-manager", "folder", "add-access-binding", client.folder_id, *role)
    assert not client.images.List(images_of(client)).desktop_images
    assert run(profile, "iam", "key", "list")[0]["id"] == key["id"]
    with RestClient(profile) as rest:  # which keeps its token, as the SDK does not
        run(server.profile, "iam", "key", "delete", key["id"])
        told = rest.call("GET", f"/resource-manager/v1/folders/{client.folder_id}", status=401)
    assert told["details"][0]["reason"] == "TOKEN_REVOKED"


@pytest.mark.proves("iam.revoked", of=["ServiceAccountService/Delete"])
@pytest.mark.proves("update.mask", of=["ServiceAccountService/Update"])
@pytest.mark.proves(
    "operation.types", of=["ServiceAccountService/Create", "ServiceAccountService/Delete"]
)
def test_a_deleted_account_is_gone_with_all_it_had(server: ServerProcess, tmp_path: Path) -> None:
    """Its tokens, its keys and its roles; its name is free."""
    admin = OfficialClient(server.profile)
    stub = admin.sdk.client(ServiceAccountServiceStub)
    made = stub.Create(
        accounts.CreateServiceAccountRequest(folder_id=admin.folder_id, name="short-lived")
    )
    account = ServiceAccount()
    assert made.done
    assert made.response.Unpack(account)
    metadata = accounts.CreateServiceAccountMetadata()
    assert made.metadata.Unpack(metadata)
    assert metadata.service_account_id == account.id
    changed = stub.Update(
        accounts.UpdateServiceAccountRequest(
            service_account_id=account.id,
            name="short-lived",
            description="for an hour",
            update_mask=FieldMask(paths=["description"]),
        )
    )
    assert changed.response.Unpack(account)
    assert account.description == "for an hour"
    listed = accounts.ListServiceAccountsRequest(folder_id=admin.folder_id)
    assert account in stub.List(listed).service_accounts
    file = tmp_path / "key.json"
    run(
        server.profile, "iam", "key", "create", "--service-account", account.id,
        "--output", str(file),
    )  # fmt: skip
    profile = profile_with(server, file)
    client = OfficialClient(profile)
    itself = accounts.GetServiceAccountRequest(service_account_id=account.id)
    assert client.sdk.client(ServiceAccountServiceStub).Get(itself) == account
    with RestClient(profile) as rest:
        gone = stub.Delete(accounts.DeleteServiceAccountRequest(service_account_id=account.id))
        assert gone.response.Unpack(Empty())
        assert rest.call("GET", "/iam/v1/roles", status=401)["code"] == 16
    assert refused(lambda: stub.Get(itself)).code == grpc.StatusCode.NOT_FOUND


@pytest.mark.proves("iam.last-admin", of=["ServiceAccountService/Delete"])
@pytest.mark.proves("operation.types", of=["KeyService/Update"])
def test_keys_are_made_and_described_by_the_official_stubs(server: ServerProcess) -> None:
    """The private half comes once; the last administrator is not to be deleted."""
    client = OfficialClient(server.profile)
    stub = client.sdk.client(KeyServiceStub)
    made = stub.Create(keys.CreateKeyRequest(description="second"))
    assert "-----BEGIN PRIVATE KEY-----" in made.private_key
    assert made.key.key_algorithm == Key.RSA_2048
    assert stub.Get(keys.GetKeyRequest(key_id=made.key.id)) == made.key
    changed = stub.Update(
        keys.UpdateKeyRequest(
            key_id=made.key.id, description="other", update_mask=FieldMask(paths=["description"])
        )
    )
    key = Key()
    assert changed.response.Unpack(key)
    assert key.description == "other"
    assert len(stub.List(keys.ListKeysRequest()).keys) == 2
    done = stub.ListOperations(keys.ListKeyOperationsRequest(key_id=key.id))
    assert [each.description for each in done.operations] == ["Update key"]
    admin = accounts.DeleteServiceAccountRequest(service_account_id=key.service_account_id)
    refusal = refused(lambda: client.sdk.client(ServiceAccountServiceStub).Delete(admin))
    assert refusal.get_detail(ErrorInfo).reason == "LAST_ADMIN"
    token = subprocess.run(
        [*CLI, "--profile", str(server.profile), "iam", "create-token"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    assert token.startswith("t1.")
