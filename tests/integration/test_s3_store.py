"""A real clouddesktop server whose store is in a bucket of a real S3 server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import obstore
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageMetadata,
    DeleteDesktopImageRequest,
    GetDesktopImageRequest,
)
from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.operation.operation_service_pb2 import CancelOperationRequest

from clouddesktop.catalog import tables
from clouddesktop.errors import Code
from clouddesktop.s3 import S3Access
from clouddesktop.store.blobs import FORMAT_KEY, open_store
from parts.disks import MIB, is_same, random_bytes, write_raw
from parts.faults import PausedServer
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.restorer import Restorer
from parts.seaweedfs import ACCESS_KEY_ID, BUCKET, REGION, SECRET_ACCESS_KEY, SeaweedFS
from parts.server import ServerProcess
from parts.store_calls import StoreCalls
from parts.waiting import wait_for

CLI = (sys.executable, "-m", "clouddesktop")


class Place:
    """A store of this test's own in the bucket, and what is seen of it behind the server's back."""

    def __init__(self, server: SeaweedFS) -> None:
        self.prefix = server.new_prefix()
        self.url = f"s3://{BUCKET}/{self.prefix}"
        self.variables = server.variables
        self.raw = server.open_bucket(BUCKET, prefix=self.prefix)
        self._access = S3Access(
            endpoint=server.endpoint,
            region=REGION,
            access_key_id=ACCESS_KEY_ID,
            secret_access_key=SECRET_ACCESS_KEY,
        )

    def keys(self) -> list[str]:
        return sorted(each["path"] for batch in obstore.list(self.raw) for each in batch)

    def download(self, folder: Path) -> None:
        """Fetch all objects, as any tool for S3 does."""
        for key in self.keys():
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(obstore.get(self.raw, key).bytes())

    def inspect(self, server: ServerProcess) -> Inspection:
        return Inspection.of(server.data_dir, blobs=open_store(self.url, access=self._access))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a verb of the server's machine."""
        return subprocess.run(
            [*CLI, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **self.variables},  # noqa: TID251  (a child inherits it)
        )


@pytest.fixture
def place(seaweedfs: SeaweedFS) -> Place:
    return Place(seaweedfs)


@pytest.fixture
def disk(sources_dir: Path) -> Path:
    """A disk of six ranges, and so of six packs."""
    path = sources_dir / "golden.raw"
    data = {index * 16 * MIB: random_bytes(3 * MIB, seed=index) for index in range(6)}
    write_raw(path, size=96 * MIB, data=data)
    return path


def make_image(client: OfficialClient, name: str) -> DesktopImage:
    return image_of(client.wait(client.copy("golden", name).id))


def image_of(operation: Operation) -> DesktopImage:
    image = DesktopImage()
    assert operation.WhichOneof("result") == "response", operation
    assert operation.response.Unpack(image)
    return image


def begin_export(server: ServerProcess, image_id: str, output: Path) -> subprocess.Popen[bytes]:
    verb = ("image", "export", image_id, "--output", str(output))
    return subprocess.Popen([*CLI, "--profile", str(server.profile), *verb])


def export(server: ServerProcess, image_id: str, output: Path) -> None:
    assert begin_export(server, image_id, output).wait(120) == 0


def test_the_life_of_a_store(
    make_server: Callable[..., ServerProcess], place: Place, disk: Path, tmp_path: Path
) -> None:
    """Copy, export, rebuild the index, restore, restart, scrub, delete, collect: all is gone."""
    server = make_server(options=("--store", place.url), variables=place.variables)
    server.start()
    client = OfficialClient(server.profile)
    image = make_image(client, "one")
    assert client.copy("golden", "two").done  # known content
    export(server, image.id, tmp_path / "first.raw")
    assert is_same(tmp_path / "first.raw", disk)
    assert not (server.data_dir / "store").exists()

    assert server.stop() == 0
    rebuilt = place.run(
        "store", "rebuild-index", "--data-dir", str(server.data_dir), "--store", place.url
    )
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert "Every image is complete." in rebuilt.stdout
    place.download(tmp_path / "downloaded")
    restorer = Restorer(tmp_path)
    (digest,) = restorer.list_digests(tmp_path / "downloaded")[disk.stat().st_size]
    assert is_same(restorer.restored(tmp_path / "downloaded", digest), disk)

    server.start()
    export(server, image.id, tmp_path / "second.raw")
    assert is_same(tmp_path / "second.raw", disk)
    calls = StoreCalls(server.profile)
    scrubbed = calls.http.post("/store/v1/runs", json={"kind": "scrub"}).json()
    report = calls.wait(scrubbed["id"])
    assert report["packs_checked"] == 6
    assert report["packs_damaged"] == 0
    stats = calls.http.get("/store/v1/stats").json()
    assert stats["unique_bytes"] == 18 * MIB
    client = OfficialClient(server.profile)
    for each in calls.http.get("/store/v1/stats").json()["images"]:
        client.images.Delete(DeleteDesktopImageRequest(image_id=each["id"]))
    calls.collect()
    calls.close()
    assert server.stop() == 0
    assert place.keys() == [FORMAT_KEY]
    inspection = place.inspect(server)
    assert inspection.count(tables.chunks) == inspection.count(tables.packs) == 0
    inspection.close()
    assert SECRET_ACCESS_KEY not in server.log.read_text()


class Outage:
    """A copy whose packs are to be put when the S3 server is away."""

    def __init__(
        self,
        make_server: Callable[..., ServerProcess],
        place: Place,
        seaweedfs: SeaweedFS,
        folder: Path,
    ) -> None:
        self._seaweedfs = seaweedfs
        self.paused = PausedServer(
            make_server,
            folder,
            failpoint="pack-put-before",
            options=("--store", place.url),
            variables=place.variables,
        )
        self.server = self.paused.server
        self.client = OfficialClient(self.server.profile)
        self.operation = self.client.copy("golden", "golden")
        self.paused.wait_paused()

    def begin(self) -> None:
        """Take S3 away, let the copy go on, and wait until it waits."""
        self._seaweedfs.pause()
        self.paused.go_on()
        wait_for(lambda: "waiting for the store" in self.server.log.read_text(), "it waits")

    def end(self) -> None:
        self._seaweedfs.start()


@pytest.fixture
def outage(
    make_server: Callable[..., ServerProcess],
    place: Place,
    seaweedfs: SeaweedFS,
    disk: Path,
    tmp_path: Path,
) -> Outage:
    assert disk.exists()
    return Outage(make_server, place, seaweedfs, tmp_path)


def test_a_copy_waits_while_the_store_is_away(
    outage: Outage, place: Place, disk: Path, tmp_path: Path
) -> None:
    """It ends well when S3 is back; Get answers meanwhile, and exports say when to come back."""
    client, server = outage.client, outage.server
    metadata = CopyDesktopImageMetadata()
    assert outage.operation.metadata.Unpack(metadata)
    outage.begin()
    assert not client.get_operation(outage.operation.id).done
    seen = client.images.Get(GetDesktopImageRequest(image_id=metadata.image_id))
    assert seen.status == DesktopImage.CREATING
    outage.end()
    image = image_of(client.wait(outage.operation.id))
    export(server, image.id, tmp_path / "out.raw")
    assert is_same(tmp_path / "out.raw", disk)
    assert server.stop() == 0
    inspection = place.inspect(server)
    inspection.check_store()
    inspection.close()


def test_a_scrub_waits_while_the_store_is_away(
    seaweedfs: SeaweedFS,
    make_server: Callable[..., ServerProcess],
    place: Place,
    disk: Path,
) -> None:
    """From its first look at the store on: it has found nothing, and no damage."""
    assert disk.exists()
    server = make_server(options=("--store", place.url), variables=place.variables)
    server.start()
    make_image(OfficialClient(server.profile), "one")
    calls = StoreCalls(server.profile)
    seaweedfs.pause()
    try:
        scrub = calls.http.post("/store/v1/runs", json={"kind": "scrub"}).json()
        wait_for(lambda: "waiting for the store" in server.log.read_text(), "it waits")
        assert "ended_at" not in calls.look(scrub["id"])
    finally:
        seaweedfs.start()
    report = calls.wait(scrub["id"])
    assert report["packs_checked"] > 0
    assert report["packs_damaged"] == 0
    calls.close()
    assert server.stop() == 0


def test_exports_say_that_the_store_is_away_and_go_on_after_it(
    make_server: Callable[..., ServerProcess],
    place: Place,
    seaweedfs: SeaweedFS,
    disk: Path,
    tmp_path: Path,
) -> None:
    """UNAVAILABLE, with a time to come back at; an export that is asked for meanwhile succeeds."""
    server = make_server(options=("--store", place.url), variables=place.variables)
    server.start()
    image = make_image(OfficialClient(server.profile), "golden")
    calls = StoreCalls(server.profile)
    seaweedfs.pause()
    try:
        answer = calls.http.get(
            f"/delivery/v1/images/{image.id}/chunks?first=0&count=1", timeout=60
        )
    finally:
        output = tmp_path / "out.raw"
        exporting = begin_export(server, image.id, output)
        seaweedfs.start()
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE, answer.text
    error = answer.json()
    assert error["code"] == Code.UNAVAILABLE
    assert {"STORE_OUT_OF_REACH"} == {
        each["reason"] for each in error["details"] if "reason" in each
    }
    assert [each["retryDelay"] for each in error["details"] if "retryDelay" in each] == ["5s"]
    assert exporting.wait(120) == 0
    assert is_same(output, disk)
    calls.close()


def test_a_server_stops_while_its_store_is_away(outage: Outage, disk: Path, tmp_path: Path) -> None:
    """In time; the next start does not come up without the store, and the one after goes on."""
    outage.begin()
    assert outage.server.stop() == 0
    with pytest.raises(AssertionError, match="cannot be used now"):
        outage.server.start()
    outage.end()
    outage.server.start()
    image = image_of(outage.client.wait(outage.operation.id))
    export(outage.server, image.id, tmp_path / "out.raw")
    assert is_same(tmp_path / "out.raw", disk)


def test_a_copy_is_cancelled_while_the_store_is_away(outage: Outage, place: Place) -> None:
    """Its error is seen at once; it is done, and nothing is left, when S3 is back."""
    client = outage.client
    outage.begin()
    client.operations.Cancel(CancelOperationRequest(operation_id=outage.operation.id))
    wait_for(
        lambda: client.get_operation(outage.operation.id).WhichOneof("result") == "error",
        "the cancellation is seen",
    )
    outage.end()
    operation = client.wait(outage.operation.id)
    info = ErrorInfo()
    assert any(each.Unpack(info) for each in operation.error.details)
    assert info.reason == "CANCELLED"
    assert outage.server.stop() == 0
    assert place.keys() == [FORMAT_KEY]


@pytest.mark.parametrize(
    ("changes", "url", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, None, ["SignatureDoesNotMatch", "AWS_SECRET"]),
        ({}, "s3://missing-bucket/x", ["no such bucket", "`store`"]),
        ({"AWS_CA_BUNDLE": "/nowhere/ca.pem"}, None, ["AWS_CA_BUNDLE", "/nowhere/ca.pem"]),
    ],
)
def test_a_server_that_may_not_use_its_store_does_not_start(
    make_server: Callable[..., ServerProcess],
    place: Place,
    changes: dict[str, str],
    url: str | None,
    words: list[str],
) -> None:
    """It says in one paragraph what is wrong, and names what to correct; no secret."""
    server = make_server(
        options=("--store", url or place.url), variables={**place.variables, **changes}
    )
    with pytest.raises(AssertionError, match="did not start"):
        server.start()
    said = server.log.read_text()
    assert all(each in said for each in words), said
    assert "Traceback" not in said
    assert SECRET_ACCESS_KEY not in said
    assert place.keys() == []
