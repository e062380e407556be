"""Resumable uploads: by a client of the tus protocol that is not ours, by the command line, raw."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tusclient.client import TusClient
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.compute.v1 import image_service_pb2 as service
from yandex.cloud.compute.v1.image_pb2 import Image
from yandex.cloud.compute.v1.image_service_pb2_grpc import ImageServiceStub

from parts.disks import MIB, convert, random_bytes, write_raw
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.rest import RestClient
from parts.server import ServerProcess
from parts.waiting import wait_for

CLI = (sys.executable, "-m", "clouddesktop")
FILES = "/upload/v1/files"
TUS = {"tus-resumable": "1.0.0"}
WAIT_SECONDS = 60
BYTES = {**TUS, "content-type": "application/offset+octet-stream"}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    write_raw(path, size=12 * MIB, data={0: random_bytes(5 * MIB, seed=1), 9 * MIB: b"end" * 99})
    return path


@pytest.fixture
def rest(server: ServerProcess) -> Iterator[RestClient]:
    with RestClient(server.profile) as client:
        yield client


def begin(rest: RestClient, size: int, **headers: str) -> str:
    """Announce an upload, and give its URL."""
    folder = b64encode(rest.folder_id.encode()).decode()
    metadata = {"upload-length": str(size), "upload-metadata": f"folderId {folder}"}
    answer = rest.http.post(FILES, headers={**TUS, **metadata, **headers})
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


def patch(rest: RestClient, url: str, offset: int, content: Any) -> Any:
    return rest.http.patch(url, content=content, headers={**BYTES, "upload-offset": str(offset)})


def test_another_client_of_the_protocol_resumes(
    server: ServerProcess, rest: RestClient, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half by one uploader, half by the next, after a restart of the server; then imported."""
    packed = raw.with_suffix(".qcow2")
    convert(raw, packed, "-O", "qcow2", "-c", source_format="raw")
    base = str(rest.http.base_url).rstrip("/")
    headers = {"authorization": f"Bearer {rest.token}"}
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.data_dir / "tls" / "ca.pem"))
    options = {"chunk_size": MIB, "metadata": {"folderId": rest.folder_id}}
    client: Any = TusClient(f"{base}{FILES}", headers=headers)
    with packed.open("rb") as file:
        uploader = client.uploader(file_stream=file, **options)
        uploader.upload_chunk()
    assert 0 < uploader.offset < packed.stat().st_size
    url = uploader.url
    assert server.stop() == 0
    server.start()
    with RestClient(server.profile) as again:
        moved = f"{str(again.http.base_url).rstrip('/')}{FILES}/{url.rpartition('/')[2]}"
        client = TusClient(moved, headers={"authorization": f"Bearer {again.token}"})
        with packed.open("rb") as file:
            resumed = client.uploader(file_stream=file, url=moved, **options)
            assert resumed.offset == uploader.offset
            resumed.upload()
    official = OfficialClient(server.profile)
    request = service.CreateImageRequest(folder_id=official.folder_id, name="sent", uri=moved)
    operation = official.wait(official.sdk.client(ImageServiceStub).Create(request).id)
    image = Image()
    assert operation.response.Unpack(image), operation
    desktop = DesktopImage()
    assert official.copy(image.id, "sent").response.Unpack(desktop)
    assert server.stop() == 0
    inspection = Inspection.of_server(server)
    inspection.check_image(desktop.id, raw)
    inspection.close()


def test_the_command_line_sends_a_file(server: ServerProcess, raw: Path) -> None:
    """It is imported, and nothing of the upload is left."""
    command = [
        *CLI, "--profile", str(server.profile), "--format", "json", "compute", "image", "create",
        "--name", "mine", "--source-file", str(raw),
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "READY"
    assert not list((server.data_dir / "uploads").iterdir())


def test_a_broken_request_keeps_what_has_come(rest: RestClient) -> None:
    """The next one goes on there; one that goes on elsewhere is refused."""
    url = begin(rest, 3 * MIB)

    def broken() -> Iterator[bytes]:
        yield bytes(MIB)
        raise RuntimeError("the line is cut")

    with pytest.raises(RuntimeError, match="cut"):
        patch(rest, url, 0, broken())
    offset = int(rest.http.head(url, headers=TUS).headers["upload-offset"])
    assert offset <= MIB
    assert patch(rest, url, offset + 1, b"x").status_code == 409
    rest_of_it = patch(rest, url, offset, bytes(3 * MIB - offset))
    assert (rest_of_it.status_code, rest_of_it.headers["upload-offset"]) == (204, str(3 * MIB))
    assert patch(rest, url, 3 * MIB, b"x").status_code == 413


def test_a_request_that_hangs_is_ended_by_the_next(server: ServerProcess, rest: RestClient) -> None:
    """A client whose line is dead need not wait until the server has noticed."""
    url = begin(rest, 2 * MIB)
    kept = server.data_dir / "uploads" / url.rpartition("/")[2]
    is_over = threading.Event()

    def hanging() -> Iterator[bytes]:
        yield bytes(MIB)
        assert is_over.wait(WAIT_SECONDS)

    with RestClient(server.profile) as dead, ThreadPoolExecutor(1) as threads:
        hangs = threads.submit(patch, dead, url, 0, hanging())
        try:
            wait_for(lambda: kept.stat().st_size == MIB, "the first bytes are kept")
            assert rest.http.head(url, headers=TUS).headers["upload-offset"] == str(MIB)
            assert patch(rest, url, MIB, bytes(MIB)).status_code == 204
        finally:
            is_over.set()
        told = hangs.result(WAIT_SECONDS)
    assert (told.status_code, told.json()["details"][0]["reason"]) == (409, "UPLOAD_TAKEN_OVER")


def test_what_is_not_whole_is_not_imported(server: ServerProcess, rest: RestClient) -> None:
    """The error says how much is missing."""
    url = begin(rest, 10)
    body = {"folderId": rest.folder_id, "uri": url}
    told = rest.call("POST", "/compute/v1/images", json=body, status=400)
    assert told["details"][0]["reason"] == "UPLOAD_INCOMPLETE"
    assert server.log.exists()


def test_the_protocol_is_kept(make_server: Callable[..., ServerProcess]) -> None:
    """What is served, versions, types, sizes, metadata, and forgetting."""
    server = make_server(options=("--upload-size", "1000"))
    server.start()
    with RestClient(server.profile) as rest:
        told = rest.http.options(FILES)
        assert told.status_code == 204
        assert told.headers["tus-max-size"] == "1000"
        assert "creation" in told.headers["tus-extension"]
        assert rest.http.post(FILES, headers={"upload-length": "1"}).status_code == 412
        assert rest.http.post(FILES, headers={**TUS, "upload-length": "1"}).status_code == 400
        url = begin(rest, 10)
        wrong = rest.http.patch(url, content=b"x", headers={**TUS, "upload-offset": "0"})
        assert wrong.status_code == 415
        folder = b64encode(rest.folder_id.encode()).decode()
        large = {"upload-length": "1001", "upload-metadata": f"folderId {folder}"}
        assert rest.http.post(FILES, headers={**TUS, **large}).status_code == 413
        assert "upload-expires" in rest.http.head(url, headers=TUS).headers
        assert rest.http.delete(url, headers=TUS).status_code == 204
        assert rest.http.head(url, headers=TUS).status_code == 404
        anonymous = {**TUS, "authorization": ""}
        assert rest.http.head(url, headers=anonymous).status_code == 401


def test_an_upload_is_its_senders_alone_and_expires(
    make_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    """Another subject finds nothing; nor does anybody after its time."""
    server = make_server(options=("--upload-expire", "0.001"))
    server.start()
    with RestClient(server.profile) as rest:
        url = begin(rest, 10)
        assert rest.http.head(url, headers=TUS).status_code == 404
        begin(rest, 10)
        assert len(list((server.data_dir / "uploads").glob("*.json"))) == 1
    assert tmp_path.exists()
