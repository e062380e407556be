"""The whole path through the official SDK object and the generated stubs, over TLS."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, ResourceInfo
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageMetadata,
    CopyDesktopImageRequest,
    GetDesktopImageRequest,
    ListDesktopImagesRequest,
)
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2_grpc import DesktopImageServiceStub
from yandex.cloud.endpoint.api_endpoint_service_pb2 import (
    GetApiEndpointRequest,
    ListApiEndpointsRequest,
)
from yandex.cloud.endpoint.api_endpoint_service_pb2_grpc import ApiEndpointServiceStub
from yandex.cloud.operation.operation_service_pb2 import GetOperationRequest
from yandexcloud.operations import OperationResult

from parts.disks import MIB, convert, random_bytes, write_raw
from parts.official import OfficialClient, refused
from parts.server import ServerProcess

ID = re.compile(r"[a-z0-9]{20}")


@pytest.fixture
def compute_image(sources_dir: Path) -> str:
    """A compute image of 5 MiB with 2 MiB of data, as qcow2."""
    raw = sources_dir.parent / "golden.raw"
    write_raw(
        raw,
        size=5 * MIB + 512,
        data={0: random_bytes(MIB, seed=1), 3 * MIB: random_bytes(MIB, seed=2)},
    )
    convert(raw, sources_dir / "golden.qcow2", "-O", "qcow2", source_format="raw")
    return "golden"


@pytest.mark.proves("copy.new")
def test_a_copy_goes_from_discovery_to_the_listed_image(
    server: ServerProcess, compute_image: str
) -> None:
    """Endpoint discovery, token by key, Copy, waiting, Get, List: all types unpack."""
    client = OfficialClient(server.profile)
    operation = client.copy(
        compute_image, "Ubuntu 24.04 (golden)", labels={"team": "vdi"}, description="first"
    )
    assert ID.fullmatch(operation.id)
    metadata = CopyDesktopImageMetadata()
    assert operation.metadata.Unpack(metadata)
    created = client.images.Get(GetDesktopImageRequest(image_id=metadata.image_id))
    assert created.status in {DesktopImage.CREATING, DesktopImage.ACTIVE}

    done = client.wait(operation.id)
    assert done.WhichOneof("result") == "response", done
    image = DesktopImage()
    assert done.response.Unpack(image)
    assert image.id == metadata.image_id
    assert ID.fullmatch(image.id)
    assert image.folder_id == client.folder_id
    assert image.name == "Ubuntu 24.04 (golden)"
    assert dict(image.labels) == {"team": "vdi"}
    assert image.description == "first"
    assert image.status == DesktopImage.ACTIVE
    assert image.min_disk_size == 8 * MIB
    assert 2 * MIB <= image.storage_size < 2 * MIB + 4096
    assert done.created_by
    assert done.created_at.ToNanoseconds() <= done.modified_at.ToNanoseconds()

    assert client.images.Get(GetDesktopImageRequest(image_id=image.id)) == image
    listed = client.images.List(ListDesktopImagesRequest(folder_id=client.folder_id))
    assert list(listed.desktop_images) == [image]
    assert not listed.next_page_token


def test_the_sdk_waits_for_an_operation_by_itself(
    server: ServerProcess, compute_image: str
) -> None:
    """`wait_operation_and_get_result` gives the response and the metadata unpacked."""
    client = OfficialClient(server.profile)
    result = client.sdk.wait_operation_and_get_result(
        client.copy(compute_image, "by the sdk"),
        response_type=DesktopImage,
        meta_type=CopyDesktopImageMetadata,
        timeout=60,
    )
    assert isinstance(result, OperationResult)
    assert result.response is not None
    assert result.meta is not None
    assert result.response.id == result.meta.image_id
    assert result.response.status == DesktopImage.ACTIVE


@pytest.mark.proves("copy.known")
def test_known_content_is_copied_at_once(server: ServerProcess, compute_image: str) -> None:
    """The second copy of an unchanged source comes back done, with the same content."""
    client = OfficialClient(server.profile)
    first = DesktopImage()
    client.wait(client.copy(compute_image, "first").id).response.Unpack(first)
    operation = client.copy(compute_image, "second")
    second = DesktopImage()
    assert operation.done
    assert operation.response.Unpack(second)
    assert second.id != first.id
    assert second.status == DesktopImage.ACTIVE
    assert second.storage_size == first.storage_size
    assert client.get_operation(operation.id) == operation


def test_progress_comes_as_trailing_metadata(server: ServerProcess, compute_image: str) -> None:
    """`x-operation-progress` holds the figures of the copy as JSON."""
    client = OfficialClient(server.profile)
    operation = client.wait(client.copy(compute_image, "measured").id)
    _, call = client.operations.Get.with_call(GetOperationRequest(operation_id=operation.id))
    progress = json.loads(dict(call.trailing_metadata())["x-operation-progress"])
    assert progress["phase"] == "done"
    assert progress["bytes_total"] == progress["bytes_done"] == 4 * MIB
    assert progress["bytes_new"] == progress["bytes_zero"] == 2 * MIB
    assert progress["bytes_deduplicated"] == 0


@pytest.mark.proves("idempotency.repeat", "idempotency.conflict", of=["DesktopImageService/Copy"])
def test_a_request_sent_twice_with_one_key_makes_one_image(
    server: ServerProcess, compute_image: str
) -> None:
    """The second answer is the first call's operation; another body is refused."""
    client = OfficialClient(server.profile)
    key = (("idempotency-key", "0b5c9b5e-55a2-4dfb-8d6e-6d4b0e3f4f11"),)
    request = CopyDesktopImageRequest(
        folder_id=client.folder_id, image_id=compute_image, name="once"
    )
    first = client.images.Copy(request, metadata=key)
    again = client.images.Copy(request, metadata=key)
    assert again.id == first.id
    request.name = "twice"
    refusal = refused(lambda: client.images.Copy(request, metadata=key))
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.get_detail(ErrorInfo).reason == "IDEMPOTENCY_KEY_REUSED"
    listed = client.images.List(ListDesktopImagesRequest(folder_id=client.folder_id))
    assert [image.name for image in listed.desktop_images] == ["once"]


@pytest.mark.proves("list.whole", "list.token-length", of=["DesktopImageService/List"])
def test_pages_are_whole_and_in_order(server: ServerProcess, compute_image: str) -> None:
    """Every image is on one page; a token of another request is refused."""
    client = OfficialClient(server.profile)
    client.wait(client.copy(compute_image, "0").id)
    for number in range(1, 7):
        client.copy(compute_image, str(number))
    names: list[str] = []
    token = ""
    while True:
        page = client.images.List(
            ListDesktopImagesRequest(folder_id=client.folder_id, page_size=3, page_token=token)
        )
        names += [image.name for image in page.desktop_images]
        token = page.next_page_token or ""
        assert len(token) <= 100
        if not token:
            break
        other = ListDesktopImagesRequest(
            folder_id=client.folder_id, page_size=3, page_token=f"{token[:-1]}!"
        )
        refusal = refused(partial(client.images.List, other))
        assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert sorted(names) == [str(number) for number in range(7)]


@pytest.mark.proves("endpoint.list")
@pytest.mark.proves("auth.open", of=["ApiEndpointService/*"])
def test_endpoints_are_listed_without_a_token(server: ServerProcess) -> None:
    """Every service that the SDK looks up by id is here, at the address of this server."""
    client = OfficialClient(server.profile)
    with client.plain_channel() as channel:
        stub = ApiEndpointServiceStub(channel)
        endpoints = {
            each.id: each.address for each in stub.List(ListApiEndpointsRequest()).endpoints
        }
        assert {"iam", "operation", "compute", "resource-manager", "clouddesktops"} <= set(
            endpoints
        )
        assert set(endpoints.values()) == {server.ready["grpc"]}
        one = stub.Get(GetApiEndpointRequest(api_endpoint_id="clouddesktops"))
        assert one.address == server.ready["grpc"]


def test_every_name_of_the_server_is_a_good_audience(server: ServerProcess) -> None:
    """The SDK puts the name that it was given into its JWT: `localhost` works as 127.0.0.1 does."""
    client = OfficialClient(server.profile, host="localhost")
    assert not client.images.List(
        ListDesktopImagesRequest(folder_id=client.folder_id)
    ).desktop_images


@pytest.mark.parametrize("token", [None, "t1.forged.token", "Basic"])
@pytest.mark.proves("auth.token", of=["DesktopImageService/Get"])
def test_without_a_valid_token_nothing_is_answered(
    server: ServerProcess, token: str | None
) -> None:
    """UNAUTHENTICATED, with the request's id in the details and in the metadata."""
    client = OfficialClient(server.profile)
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    with client.plain_channel() as channel:
        stub = DesktopImageServiceStub(channel)
        request = GetDesktopImageRequest(image_id="e3v")
        refusal = refused(lambda: stub.Get(request, metadata=metadata))
    assert refusal.code == grpc.StatusCode.UNAUTHENTICATED
    assert refusal.get_detail(RequestInfo).request_id == refusal.trailing["x-request-id"]


@pytest.mark.proves("validation.together", of=["DesktopImageService/Copy"])
def test_every_broken_rule_is_named(server: ServerProcess) -> None:
    """All violations come together, by field, and before authentication."""
    client = OfficialClient(server.profile)
    request = CopyDesktopImageRequest(name="n" * 51, labels={"Upper": "x"}, description="d" * 1025)
    with client.plain_channel() as channel:
        refusal = refused(lambda: DesktopImageServiceStub(channel).Copy(request))
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.message.startswith("Validation error:\n")
    violations = refusal.get_detail(BadRequest).field_violations
    fields = {violation.field.partition("[")[0] for violation in violations}
    assert fields == {"folder_id", "image_id", "name", "labels", "description"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": "missing"}, "Image missing not found"),
        ({"folder_id": "b1gmissing"}, "Folder b1gmissing not found"),
    ],
)
@pytest.mark.proves("errors.not-found", of=["DesktopImageService/Copy"])
def test_what_is_missing_is_not_found_at_once(
    server: ServerProcess, compute_image: str, change: dict[str, str], message: str
) -> None:
    """No operation that fails later: the call itself says what does not exist."""
    client = OfficialClient(server.profile)
    request = CopyDesktopImageRequest(
        folder_id=change.get("folder_id", client.folder_id),
        image_id=change.get("image_id", compute_image),
        name="x",
    )
    refusal = refused(lambda: client.images.Copy(request))
    assert refusal.code == grpc.StatusCode.NOT_FOUND
    assert refusal.message == message
    assert refusal.get_detail(ResourceInfo).resource_name == message.split()[1]
    assert not client.images.List(
        ListDesktopImagesRequest(folder_id=client.folder_id)
    ).desktop_images


@pytest.mark.proves("copy.name")
def test_a_name_is_taken_once_in_a_folder(server: ServerProcess, compute_image: str) -> None:
    """ALREADY_EXISTS with a stable reason; the first image is untouched."""
    client = OfficialClient(server.profile)
    client.wait(client.copy(compute_image, "one name").id)
    refusal = refused(lambda: client.copy(compute_image, "one name"))
    assert refusal.code == grpc.StatusCode.ALREADY_EXISTS
    assert refusal.get_detail(ErrorInfo).reason == "ALREADY_EXISTS"


def test_health_and_reflection_are_served(server: ServerProcess) -> None:
    """The standard services answer without a token."""
    client = OfficialClient(server.profile)
    with client.plain_channel() as channel:
        health: Any = HealthStub(channel)  # its types leave out the methods
        answer = health.Check(HealthCheckRequest())
    assert answer.status == HealthCheckResponse.SERVING


def test_a_second_start_keeps_everything(server: ServerProcess, compute_image: str) -> None:
    """Keys, images and operations are there after SIGTERM and a new start."""
    operation = OfficialClient(server.profile).copy(compute_image, "kept")
    OfficialClient(server.profile).wait(operation.id)
    key = (server.data_dir / "keys/admin.json").read_bytes()
    ca = (server.data_dir / "tls/ca.pem").read_bytes()
    assert server.stop() == 0
    server.start()
    client = OfficialClient(server.profile)
    listed = client.images.List(ListDesktopImagesRequest(folder_id=client.folder_id))
    assert [image.name for image in listed.desktop_images] == ["kept"]
    assert client.get_operation(operation.id).done
    assert (server.data_dir / "keys/admin.json").read_bytes() == key
    assert (server.data_dir / "tls/ca.pem").read_bytes() == ca


def test_a_data_folder_has_one_server(server: ServerProcess) -> None:
    """A second server on the folder ends with one paragraph and leaves the first alone."""
    second = subprocess.run(
        [sys.executable, "-m", "clouddesktop", "serve", "--data-dir", str(server.data_dir)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode != 0
    assert second.stdout == ""
    assert "Another clouddesktop server works in" in second.stderr
    assert "Traceback" not in second.stderr
    client = OfficialClient(server.profile)
    client.images.List(ListDesktopImagesRequest(folder_id=client.folder_id))
