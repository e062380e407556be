"""Compute images: imported by the official SDK from a URL, copied at once, kept and deleted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import ErrorInfo
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.compute.v1 import image_service_pb2 as service
from yandex.cloud.compute.v1.image_pb2 import Image
from yandex.cloud.compute.v1.image_service_pb2_grpc import ImageServiceStub
from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.operation.operation_service_pb2 import CancelOperationRequest
from yandexcloud.operations import OperationResult

from clouddesktop.errors import Code
from parts.disks import MIB, convert, random_bytes, write_raw
from parts.faults import PausedServer
from parts.inspection import Inspection
from parts.official import OfficialClient, refused
from parts.server import ServerProcess
from parts.web import Handler, WebServer, serving, status

CLI = (sys.executable, "-m", "clouddesktop")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    folder = tmp_path / "web"
    folder.mkdir()
    with serving(folder, tls=tmp_path / "tls") as server:
        yield server


@pytest.fixture
def raw(tmp_path: Path, web: WebServer) -> Path:
    """A disk, which the web server has as qcow2."""
    path = tmp_path / "disk.raw"
    write_raw(path, size=24 * MIB, data={0: random_bytes(9 * MIB, seed=1), 20 * MIB: b"end" * 99})
    convert(path, web.folder / "golden.qcow2", "-O", "qcow2", "-c", source_format="raw")
    return path


@pytest.fixture
def options(web: WebServer) -> tuple[str, ...]:
    return ("--source-ca", str(web.ca), "--import-allow", "127.0.0.0/8", "--import-allow", "::1")


@pytest.fixture
def pausing(
    make_server: Callable[..., ServerProcess], tmp_path: Path, options: tuple[str, ...]
) -> Callable[[str], PausedServer]:
    """Start such a server that pauses at a failpoint."""
    return lambda failpoint: PausedServer(
        make_server, tmp_path, failpoint=failpoint, options=options
    )


@pytest.fixture
def uri(web: WebServer, raw: Path) -> str:
    """Where the disk can be fetched."""
    assert raw.exists()
    return f"{web.url}golden.qcow2"


@pytest.fixture
def importing(make_server: Callable[..., ServerProcess], options: tuple[str, ...]) -> ServerProcess:
    """A server that may import from this machine."""
    server = make_server(options=options)
    server.start()
    return server


def stub_of(client: OfficialClient) -> Any:
    return client.sdk.client(ImageServiceStub)


def create(client: OfficialClient, **fields: Any) -> Operation:
    request = service.CreateImageRequest(folder_id=client.folder_id, **fields)
    operation: Operation = stub_of(client).Create(request)
    return operation


def image_of(operation: Operation) -> Image:
    assert operation.WhichOneof("result") == "response", operation
    image = Image()
    assert operation.response.Unpack(image)
    return image


@pytest.mark.proves("import.instant", "client.compute")
@pytest.mark.proves(
    "operation.types", of=["ImageService/Create", "ImageService/Update", "ImageService/Delete"]
)
@pytest.mark.proves("update.mask", of=["ImageService/Update"])
def test_the_official_sdk_drives_the_whole_flow(
    importing: ServerProcess, web: WebServer, raw: Path
) -> None:
    """Create from a URL, wait, copy, list, update, delete; byte for byte, and at once."""
    client = OfficialClient(importing.profile)
    operation = create(
        client, name="golden", family="debian", uri=f"{web.url}golden.qcow2", labels={"a": "b"}
    )
    metadata = service.CreateImageMetadata()
    assert operation.metadata.Unpack(metadata)
    result = client.sdk.wait_operation_and_get_result(
        operation, response_type=Image, meta_type=service.CreateImageMetadata, timeout=60
    )
    assert isinstance(result, OperationResult)
    image = result.response
    assert image is not None
    assert (image.id, image.status, image.family) == (metadata.image_id, Image.READY, "debian")
    assert (image.min_disk_size, image.storage_size > 0) == (24 * MIB, True)
    stub = stub_of(client)
    assert stub.Get(service.GetImageRequest(image_id=image.id)) == image
    latest = service.GetImageLatestByFamilyRequest(folder_id=client.folder_id, family="debian")
    assert stub.GetLatestByFamily(latest) == image
    named = service.ListImagesRequest(folder_id=client.folder_id, filter='name="golden"')
    assert list(stub.List(named).images) == [image]
    web.faults["/golden.qcow2"] = status(500)  # what follows needs it no more

    copied = client.copy(image.id, "golden")
    assert copied.done
    desktop = DesktopImage()
    assert copied.response.Unpack(desktop)
    changed = image_of(
        stub.Update(
            service.UpdateImageRequest(
                image_id=image.id, description="ours", update_mask=FieldMask(paths=["description"])
            )
        )
    )
    assert (changed.name, changed.description) == ("golden", "ours")
    again = image_of(create(client, name="again", image_id=image.id))
    assert again.status == Image.READY
    gone = stub.Delete(service.DeleteImageRequest(image_id=image.id))
    assert gone.response.Unpack(Empty())
    done = service.ListImageOperationsRequest(image_id=again.id)
    assert [each.description for each in stub.ListOperations(done).operations] == ["Create image"]
    assert refused(lambda: client.copy(image.id, "late")).code == grpc.StatusCode.NOT_FOUND
    assert importing.stop() == 0
    inspection = Inspection.of_server(importing)
    inspection.check_image(desktop.id, raw)
    inspection.check_store()
    inspection.close()


@pytest.mark.proves("list.whole", of=["ImageService/List"])
def test_images_in_sources_stand_beside_imported_ones(
    importing: ServerProcess, sources_dir: Path, web: WebServer, raw: Path
) -> None:
    """Listed in one order, page by page; read only; and what they are imports of is instant."""
    client = OfficialClient(importing.profile)
    stub = stub_of(client)
    for name in ("a-first", "z-last"):
        write_raw(sources_dir / f"{name}.raw", size=MIB, data={0: name.encode()})
    image = image_of(client.wait(create(client, uri=f"{web.url}golden.qcow2").id))
    request = service.ListImagesRequest(folder_id=client.folder_id, page_size=1)
    listed = []
    while True:
        page = stub.List(request)
        listed += [each.id for each in page.images]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert listed == sorted(["a-first", "z-last", image.id])
    found = stub.Get(service.GetImageRequest(image_id="a-first"))
    assert (found.status, found.folder_id) == (Image.READY, client.folder_id)
    refusal = refused(lambda: stub.Delete(service.DeleteImageRequest(image_id="a-first")))
    assert refusal.get_detail(ErrorInfo).reason == "COMPUTE_IMAGE_IN_SOURCE"
    uri = (sources_dir / "a-first.raw").as_uri()
    by_file = image_of(client.wait(create(client, name="by-file", uri=uri).id))
    assert client.copy(by_file.id, "copied").done
    outside = refused(lambda: create(client, uri=raw.as_uri()))
    assert outside.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "There is no such file in a source" in outside.message


NOT_FETCHED = (
    "https://127.0.0.1:1/disk.qcow2",
    "https://[::ffff:127.0.0.1]:1/disk.qcow2",
    "https://0x7f000001:1/disk.qcow2",
    "http://169.254.169.254/latest/meta-data",
    "https://10.0.0.1/disk.qcow2",
    "https://localhost:1/disk.qcow2",
)
NO_SOURCES = ("ftp://example.org/disk.qcow2", "https://user:secret@example.org/disk.qcow2")


@pytest.mark.proves("import.guard")
def test_a_url_does_not_lead_into_the_servers_network(server: ServerProcess) -> None:
    """However it is spelt; and nothing is left."""
    client = OfficialClient(server.profile)
    for uri in NO_SOURCES:
        refusal = refused(partial(create, client, uri=uri))
        assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
        assert "uri: " in refusal.message
        assert "secret" not in refusal.message
    for uri in NOT_FETCHED:
        operation = client.wait(create(client, uri=uri).id)
        assert operation.error.code == Code.FAILED_PRECONDITION, (uri, operation)
        info = ErrorInfo()
        assert any(each.Unpack(info) for each in operation.error.details)
        assert info.reason == "FETCH_FORBIDDEN"
    listed = stub_of(client).List(service.ListImagesRequest(folder_id=client.folder_id))
    assert not listed.images


def test_a_redirect_does_not_either(
    make_server: Callable[..., ServerProcess], web: WebServer, options: tuple[str, ...]
) -> None:
    """Each hop is checked: here from an allowed address to one that is not."""

    def lead_astray(handler: Handler, _number: int) -> bool:
        handler.send_response(302)
        handler.send_header("location", "https://10.0.0.1/secret")
        handler.send_header("content-length", "0")
        handler.end_headers()
        return True

    (web.folder / "golden.qcow2").touch()
    web.faults["/golden.qcow2"] = lead_astray
    server = make_server(options=options)
    server.start()
    client = OfficialClient(server.profile)
    operation = client.wait(create(client, uri=f"{web.url}golden.qcow2").id)
    info = ErrorInfo()
    assert any(each.Unpack(info) for each in operation.error.details)
    assert info.reason == "FETCH_FORBIDDEN"


def test_sizes_are_bounded(
    make_server: Callable[..., ServerProcess], web: WebServer, raw: Path, options: tuple[str, ...]
) -> None:
    """A file that is too large is refused before it is read."""
    size = (web.folder / "golden.qcow2").stat().st_size
    server = make_server(options=(*options, "--import-size", str(size - 1)))
    server.start()
    client = OfficialClient(server.profile)
    signed = client.wait(create(client, uri=f"{web.url}none.qcow2?signature=secret").id)
    assert signed.HasField("error")
    assert "secret" not in str(signed)
    operation = client.wait(create(client, uri=f"{web.url}golden.qcow2").id)
    info = ErrorInfo()
    assert any(each.Unpack(info) for each in operation.error.details)
    assert info.reason == "IMPORT_TOO_LARGE"
    assert raw.exists()


@pytest.mark.proves("import.durable")
@pytest.mark.parametrize("failpoint", ["range-recorded:0", "publish-begin"])
def test_an_import_goes_on_after_a_crash(
    pausing: Callable[[str], PausedServer], raw: Path, uri: str, failpoint: str
) -> None:
    """SIGKILL in its middle: the same machinery as a copy."""
    paused = pausing(failpoint)
    client = OfficialClient(paused.server.profile)
    operation = create(client, name="golden", uri=uri)
    paused.wait_paused()
    early = refused(lambda: client.copy(_id_of(operation), "early"))
    assert early.get_detail(ErrorInfo).reason == "COMPUTE_IMAGE_NOT_READY"
    busy = service.DeleteImageRequest(image_id=_id_of(operation))
    refusal = refused(lambda: stub_of(client).Delete(busy))
    assert refusal.get_detail(ErrorInfo).metadata["operation_id"] == operation.id
    paused.server.kill()
    paused.go_on()
    paused.server.start()
    client = OfficialClient(paused.server.profile)
    image = image_of(client.wait(operation.id))
    assert image.status == Image.READY
    copied = client.copy(image.id, "golden")
    assert copied.done
    desktop = DesktopImage()
    assert copied.response.Unpack(desktop)
    assert paused.server.stop() == 0
    inspection = Inspection.of_server(paused.server)
    inspection.check_image(desktop.id, raw)
    inspection.close()


def test_an_import_is_cancelled(pausing: Callable[[str], PausedServer], uri: str) -> None:
    """As a copy is; no compute image is left."""
    paused = pausing("range-recorded:0")
    client = OfficialClient(paused.server.profile)
    operation = create(client, name="golden", uri=uri)
    paused.wait_paused()
    client.operations.Cancel(CancelOperationRequest(operation_id=operation.id))
    paused.go_on()
    assert client.wait(operation.id).error.code == Code.CANCELLED
    listed = stub_of(client).List(service.ListImagesRequest(folder_id=client.folder_id))
    assert not listed.images


def test_a_collection_keeps_what_was_imported(
    importing: ServerProcess, web: WebServer, raw: Path
) -> None:
    """The content of a compute image is live though no desktop image has it."""
    client = OfficialClient(importing.profile)
    image = image_of(client.wait(create(client, uri=f"{web.url}golden.qcow2").id))
    run(importing, "store", "gc")
    copied = client.copy(image.id, "golden")
    assert copied.done
    desktop = DesktopImage()
    assert copied.response.Unpack(desktop)
    out = raw.with_name("exported.raw")
    run(importing, "image", "export", desktop.id, "--output", str(out))
    assert out.read_bytes() == raw.read_bytes()


def run(server: ServerProcess, *words: str) -> Any:
    """Run a command, and give what it prints."""
    command = [*CLI, "--profile", str(server.profile), "--format", "json", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_command_line(importing: ServerProcess, web: WebServer, raw: Path) -> None:
    """Create, get by name, list, update, delete."""
    verb = ("compute", "image")
    uri = f"{web.url}golden.qcow2"
    made = run(
        importing, *verb, "create", "--name", "golden", "--source-uri", uri, "--os-type", "linux",
        "--family", "debian",
    )  # fmt: skip
    assert (made["status"], made["os"]["type"]) == ("READY", "LINUX")
    assert run(importing, *verb, "get", "golden") == made
    assert run(importing, *verb, "get-latest-from-family", "debian") == made
    assert run(importing, *verb, "list") == [made]
    changed = run(importing, *verb, "update", "golden", "--new-name", "silver")
    assert changed["name"] == "silver"
    assert len(run(importing, *verb, "list-operations", "silver")) == 2
    assert run(importing, *verb, "delete", "silver")["done"]
    assert run(importing, *verb, "list") == []
    assert raw.exists()


def _id_of(operation: Operation) -> str:
    metadata = service.CreateImageMetadata()
    assert operation.metadata.Unpack(metadata)
    return metadata.image_id
