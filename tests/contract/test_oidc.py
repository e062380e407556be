"""Tokens of an OpenID Connect issuer, used as people and programs use them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageRequest,
    ListDesktopImagesRequest,
)
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2_grpc import DesktopImageServiceStub
from yandex.cloud.operation.operation_pb2 import Operation
from yandexcloud._sdk import SDK

from clouddesktop.client import open_sdk
from parts.disks import random_bytes, write_raw
from parts.issuer import AUDIENCE, Issuer, issuing, make_private_key
from parts.official import OfficialClient, refused
from parts.rest import RestClient
from parts.server import ServerProcess
from parts.waiting import wait_for

MIB = 1 << 20
CLI = (sys.executable, "-m", "clouddesktop")
LONG = "repo:team/" + "images" * 20


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[Issuer]:
    """An issuer over TLS, with an authority of its own."""
    with issuing(tmp_path / "issuer", tls=tmp_path / "issuer-tls") as it:
        yield it


def trusting(issuer_url: str, ca: Path | None) -> tuple[str, ...]:
    options = ("--oidc-issuer", f"corp={issuer_url}", "--oidc-audience", f"corp={AUDIENCE}")
    return options if ca is None else (*options, "--oidc-ca", str(ca))


@pytest.fixture
def trusting_server(
    make_server: Callable[..., ServerProcess], issuer: Issuer
) -> Iterator[ServerProcess]:
    """A server that trusts the issuer under the name `corp`."""
    server = make_server(options=trusting(issuer.url, issuer.web.ca))
    server.start()
    yield server
    assert server.stop() == 0, server.log.read_text()[-4000:]


def run(profile: Path, *words: str, status: int = 0) -> str:
    """Run a command, and give what it prints."""
    command = [*CLI, "--profile", str(profile), "--format", "json", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


def bind(server: ServerProcess, role: str, subject: str, verb: str = "add") -> None:
    options = ("--role", role, "--subject", subject)
    run(server.profile, "resource-manager", "folder", f"{verb}-access-binding", "default", *options)


def images_of(server: ServerProcess, token: str) -> DesktopImageServiceStub:
    """Make the stub as the official SDK's users do who have a token."""
    settings = yaml.safe_load(server.profile.read_text())
    sdk = SDK(
        endpoint=settings["endpoint"],
        root_certificates=Path(settings["ca"]).read_bytes(),
        iam_token=token,
    )
    return DesktopImageServiceStub(sdk._channels.channel("clouddesktops"))


def events_of(server: ServerProcess) -> list[dict[str, Any]]:
    lines = (server.data_dir / "audit/audit.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_role_bound_before_the_first_login_is_there_at_it(
    trusting_server: ServerProcess, issuer: Issuer, sources_dir: Path
) -> None:
    """Over gRPC and REST; who has no role sees nothing; operations and audit log tell who."""
    write_raw(sources_dir / "golden.raw", size=MIB, data={0: random_bytes(4096, seed=1)})
    bind(trusting_server, "editor", "federatedUser:corp:alice")
    admin = OfficialClient(trusting_server.profile)
    folder_id = admin.folder_id
    alice, bob = issuer.sign(), issuer.sign(sub="bob")
    images = images_of(trusting_server, alice)
    request = CopyDesktopImageRequest(folder_id=folder_id, image_id="golden", name="of alice")
    operation: Operation = images.Copy(request)
    assert operation.created_by == "corp:alice"
    assert admin.wait(operation.id).HasField("response")
    listing = ListDesktopImagesRequest(folder_id=folder_id)
    assert [each.name for each in images.List(listing).desktop_images] == ["of alice"]

    refusal = refused(lambda: images_of(trusting_server, bob).List(listing))
    assert refusal.code == grpc.StatusCode.NOT_FOUND
    assert refusal.message == f"Folder {folder_id} not found"

    with RestClient(trusting_server.profile) as rest:
        path = f"/cloud-desktop/v1/images?folderId={folder_id}"
        for token, status, reason in (
            (alice, 200, None),
            (bob, 404, "NOT_FOUND"),
            (issuer.sign(aud="other"), 401, "TOKEN_INVALID"),
            (issuer.sign(exp=1000), 401, "TOKEN_EXPIRED"),
        ):
            rest.http.headers["authorization"] = f"Bearer {token}"
            answer = rest.call("GET", path, status=status)
            assert reason in (None, answer.get("details", [{}])[0].get("reason"))
        rest.http.headers["authorization"] = f"Bearer {alice}"
        mine = rest.call("GET", f"/operations/{operation.id}")
        assert mine["createdBy"] == "corp:alice"

    (copied,) = [each for each in events_of(trusting_server) if each["event_status"] == "STARTED"]
    assert copied["authentication"] == {
        "authenticated": True,
        "subject_type": "FEDERATED_USER_ACCOUNT",
        "subject_id": "corp:alice",
        "federation_id": "corp",
    }


def test_the_command_line_takes_a_token_from_a_file(
    trusting_server: ServerProcess, issuer: Issuer, tmp_path: Path
) -> None:
    """By the option or by the profile, with no key; a subject too long for an id has one too."""
    bind(trusting_server, "editor", f"federatedUser:corp:{LONG}")
    token = tmp_path / "token"
    token.write_text(issuer.sign(sub=LONG))
    settings = yaml.safe_load(trusting_server.profile.read_text())
    del settings["key"]
    profile = tmp_path / "mine.yaml"
    profile.write_text(yaml.safe_dump(settings))
    assert "carries no IAM token" in run(profile, "image", "list", status=1)
    assert json.loads(run(profile, "--token-file", str(token), "image", "list")) == []
    profile.write_text(yaml.safe_dump({**settings, "token_file": "token"}))
    assert json.loads(run(profile, "image", "list")) == []
    disk = tmp_path / "disk.raw"
    write_raw(disk, size=MIB, data={0: random_bytes(4096, seed=2)})
    uploaded = run(
        profile, "compute", "image", "create", "--name", "mine", "--source-file", str(disk)
    )
    assert json.loads(uploaded)["status"] == "READY"
    sdk = open_sdk(profile)
    request = ListDesktopImagesRequest(folder_id=settings["folder_id"])
    assert not sdk.client(DesktopImageServiceStub).List(request).desktop_images
    listed = json.loads(
        run(
            trusting_server.profile, "resource-manager", "folder", "list-access-bindings",
            "default",
        )
    )  # fmt: skip
    (bound,) = [each["subject_id"] for each in listed if each["role_id"] == "editor"]
    assert bound.startswith("corp:~")
    bind(trusting_server, "editor", f"federatedUser:{bound}", verb="remove")
    assert "not found" in run(profile, "image", "list", status=1)


def test_a_subject_without_its_issuer_is_refused(trusting_server: ServerProcess) -> None:
    """A role would be bound to nobody."""
    words = ("resource-manager", "folder", "add-access-binding", "default", "--role", "editor")
    told = run(trusting_server.profile, *words, "--subject", "federatedUser:alice", status=2)
    assert "federatedUser:ISSUER:SUBJECT" in told


def is_served(images: Any, request: ListDesktopImagesRequest, metadata: Any) -> bool:
    """Tell whether a call goes through; the only other answer may be that it might do so later."""
    try:
        images.List(request, metadata=metadata)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    return True


def test_an_issuer_that_is_down_stops_nothing_else(
    make_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    """The server starts without it, says when to come back, and works once the issuer is there."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
    server = make_server(options=trusting(f"http://localhost:{port}/realms/corp", None))
    server.start()
    admin = OfficialClient(server.profile)
    listing = ListDesktopImagesRequest(folder_id=admin.folder_id)
    bind(server, "viewer", "federatedUser:corp:alice")
    with issuing(tmp_path / "issuer", port=port) as issuer:
        token = issuer.sign()
        forged = issuer.sign(secret=make_private_key("RS256", "other"))
    channel = admin.plain_channel()
    images = DesktopImageServiceStub(channel)
    metadata = (("authorization", f"Bearer {token}"),)
    refusal = refused(lambda: images.List(listing, metadata=metadata))
    assert refusal.code == grpc.StatusCode.UNAVAILABLE
    assert refusal.get_detail(ErrorInfo).reason == "ISSUER_UNAVAILABLE"
    assert refusal.get_detail(RetryInfo).retry_delay.seconds >= 1
    assert "localhost" not in str(refusal.status)
    assert not admin.images.List(listing).desktop_images
    with issuing(tmp_path / "issuer", port=port):
        wait_for(lambda: is_served(images, listing, metadata), "the issuer's keys are fetched")
        channel.close()
        refusal = refused(lambda: images_of(server, forged).List(listing))
        assert refusal.code == grpc.StatusCode.UNAUTHENTICATED
    assert server.stop() == 0


def test_a_bad_setting_is_told_at_the_start(tmp_path: Path) -> None:
    """By name, and nothing is made before."""
    done = subprocess.run(
        [*CLI, "serve", "--data-dir", str(tmp_path / "data"), "--oidc-issuer", "a=https://a"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "oidc_audience" in done.stderr
    assert not (tmp_path / "data").exists()
