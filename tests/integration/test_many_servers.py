"""Several servers of one database: on one port, and with one folder of uploads."""

from __future__ import annotations

import shutil
import socket
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import ListDesktopImagesRequest
from yandex.cloud.compute.v1 import image_service_pb2 as service
from yandex.cloud.compute.v1.image_pb2 import Image
from yandex.cloud.compute.v1.image_service_pb2_grpc import ImageServiceStub

from clouddesktop.errors import NotFoundError
from clouddesktop.source.uploads import UploadOffsetError, Uploads
from parts.cluster import Cluster
from parts.disks import MIB, random_bytes
from parts.official import OfficialClient
from parts.rest import RestClient
from parts.server import ServerProcess
from parts.waiting import wait_for

FILES = "/upload/v1/files"
TUS = {"tus-resumable": "1.0.0"}
BYTES = {**TUS, "content-type": "application/offset+octet-stream"}
PORTS = ("grpc", "http")


def find_ports() -> dict[str, str]:
    """Give addresses that were free a moment ago, all of them at the same time."""
    found = {name: socket.create_server(("127.0.0.1", 0)) for name in PORTS}
    addresses = {name: f"127.0.0.1:{each.getsockname()[1]}" for name, each in found.items()}
    for each in found.values():
        each.close()
    return addresses


def audited(server: ServerProcess) -> int:
    """Tell how many bytes a server has written of the calls that it has answered."""
    return sum(each.stat().st_size for each in server.data_dir.glob("audit/*"))


def test_servers_on_one_port_share_its_connections(cluster: Cluster) -> None:
    """Each gets some; when one is killed, the others answer those that come."""
    ports = find_ports()
    servers = [cluster.make_server() for _ in range(2)]
    for number, server in enumerate(servers):
        server.grpc, server.http = ports["grpc"], ports["http"]
        server.options = (*server.options, "--reuse-port")
        if number:
            shutil.copytree(servers[0].data_dir / "tls", server.data_dir / "tls")
        server.start()

    def ask() -> None:
        client = OfficialClient(servers[0].profile)  # with connections of its own
        client.images.List(ListDesktopImagesRequest(folder_id=client.folder_id))
        client.copy("not-there", "any")

    def both_are_asked() -> bool:
        with pytest.raises(grpc.RpcError):
            ask()
        return all(audited(each) > 0 for each in servers)

    wait_for(both_are_asked, "both are asked")
    servers[0].kill()
    for _ in range(5):
        with pytest.raises(grpc.RpcError) as refused:
            ask()
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert servers[1].stop() == 0


def test_a_server_of_a_database_of_its_own_shares_no_port(
    make_server: Callable[..., ServerProcess],
) -> None:
    """It says why, and what to do."""
    server = make_server(options=("--reuse-port",))
    with pytest.raises(AssertionError, match=r"reuse_port.*\n?.*postgresql"):
        server.start()


def test_an_upload_goes_on_at_another_server_and_is_imported_by_any_worker(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The first server is killed in the middle of it."""
    cluster.variables["CLOUDDESKTOP_UPLOADS"] = str(tmp_path / "uploads")
    content = random_bytes(9 * MIB, seed=1)
    first, second = cluster.make_server(), cluster.make_server()
    for server in (first, second):
        server.start()
    with RestClient(first.profile) as rest:
        folder = b64encode(rest.folder_id.encode()).decode()
        announced = {"upload-length": str(len(content)), "upload-metadata": f"folderId {folder}"}
        answer = rest.http.post(FILES, headers={**TUS, **announced})
        path = f"{FILES}/{answer.headers['location'].rpartition('/')[2]}"
        headers = {**BYTES, "upload-offset": "0"}
        assert rest.http.patch(path, content=content[: 4 * MIB], headers=headers).is_success
        token = rest.token
    first.kill()
    with RestClient(second.profile) as rest:
        rest.http.headers["authorization"] = f"Bearer {token}"  # the upload is its subject's own
        offset = int(rest.http.head(path, headers=TUS).headers["upload-offset"])
        assert offset == 4 * MIB
        headers = {**BYTES, "upload-offset": str(offset)}
        assert rest.http.patch(path, content=content[offset:], headers=headers).is_success
    cluster.make_worker().start()
    client = OfficialClient(second.profile)
    request = service.CreateImageRequest(folder_id=client.folder_id, name="sent", uri=path)
    operation = client.wait(client.sdk.client(ImageServiceStub).Create(request).id)
    image, desktop = Image(), DesktopImage()
    assert operation.response.Unpack(image), operation
    assert client.copy(image.id, "sent").response.Unpack(desktop)
    expected = tmp_path / "expected.raw"
    expected.write_bytes(content)
    with cluster.inspected() as inspection:
        inspection.check_image(desktop.id, expected)


def test_two_servers_do_not_write_to_one_upload_at_a_time(tmp_path: Path) -> None:
    """Nor does one go on where the other has written since it was asked."""
    first, second = (
        Uploads(tmp_path / "uploads", most_bytes=100, expire_seconds=60) for _ in range(2)
    )
    upload = first.create(owner="me", folder_id="f", name="file", size=10)
    with first.appending(upload, 0) as writer:
        writer.write(b"12345")
        with pytest.raises(UploadOffsetError, match="written to"), second.appending(upload, 5):
            pass
    with pytest.raises(UploadOffsetError, match="at byte 5"), second.appending(upload, 0):
        pass
    with second.appending(upload, 5) as writer:
        writer.write(b"67890")
    assert first.to_compute_image(upload).location == upload.id
    second.delete(upload)
    with pytest.raises(NotFoundError), first.appending(upload, 10):
        pass
