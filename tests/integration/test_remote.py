"""Copies straight from an HTTPS server, through a real clouddesktop server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage

from clouddesktop.catalog import tables
from clouddesktop.errors import Code
from parts.disks import MIB, convert, random_bytes, write_raw
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.server import ServerProcess
from parts.waiting import wait_for
from parts.web import Handler, WebServer, cut_body, once, serving, status

SIZE = 40 * MIB
SLOW_SIZE = 200 * MIB
RANGES_AT_ONCE = 3


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    folder = tmp_path / "web"
    folder.mkdir()
    with serving(folder, tls=tmp_path / "tls") as server:
        yield server


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    data = {0: random_bytes(9 * MIB, seed=1), 30 * MIB: b"text " * (2 * MIB // 5)}
    write_raw(path, size=SIZE, data=data)
    return path


@pytest.fixture
def remote(make_server: Callable[..., ServerProcess], web: WebServer) -> ServerProcess:
    options = ("--source", f"web={web.url}", "--source-ca", str(web.ca), "--source-stall", "2")
    server = make_server(options=options)
    server.start()
    return server


def copy_and_check(server: ServerProcess, raw: Path, *names: str) -> None:
    client = OfficialClient(server.profile)
    image_ids = []
    for name in names:
        operation = client.wait(client.copy(name, name).id)
        assert operation.WhichOneof("result") == "response", operation
        image = DesktopImage()
        assert operation.response.Unpack(image)
        image_ids.append(image.id)
    assert server.stop() == 0
    inspection = Inspection.of(server.data_dir)
    for image_id in image_ids:
        inspection.check_image(image_id, raw)
    inspection.check_store()
    inspection.close()


def test_raw_and_qcow2_are_read_in_place(remote: ServerProcess, web: WebServer, raw: Path) -> None:
    """Byte for byte, through faults that pass; QEMU never sees the network."""
    (web.folder / "plain.raw").write_bytes(raw.read_bytes())
    convert(raw, web.folder / "packed.qcow2", "-O", "qcow2", "-c", source_format="raw")
    convert(raw, web.folder / "grown.qcow2", "-O", "qcow2", source_format="raw")
    web.faults["/plain.raw"] = once(cut_body, at=4, times=3)
    web.faults["/packed.qcow2"] = once(status(503), at=3, times=2)
    copy_and_check(remote, raw, "plain", "packed", "grown")


def test_a_server_without_ranges_is_fetched_whole(
    remote: ServerProcess, web: WebServer, raw: Path
) -> None:
    """Into a scratch file, anew when the connection breaks; its space is free afterwards."""
    convert(raw, web.folder / "disk.qcow2", "-O", "qcow2", source_format="raw")

    def whole(handler: Handler, number: int) -> bool:
        content = (web.folder / "disk.qcow2").read_bytes()
        handler.send_response(200)
        handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content if number not in (3, 4) else content[:100_000])
        handler.wfile.flush()
        handler.close_connection = True
        return True

    web.faults["/disk.qcow2"] = whole
    copy_and_check(remote, raw, "disk")
    assert list((remote.data_dir / "spool").iterdir()) == []


def test_the_same_content_is_known_by_its_etag(
    remote: ServerProcess, web: WebServer, raw: Path
) -> None:
    """A second copy fetches nothing but the version."""
    (web.folder / "disk.raw").write_bytes(raw.read_bytes())
    client = OfficialClient(remote.profile)
    assert client.wait(client.copy("disk", "one").id).WhichOneof("result") == "response"
    before = web.requests["/disk.raw"]
    assert client.copy("disk", "two").done
    assert web.requests["/disk.raw"] == before + 1


@pytest.mark.parametrize("fault", ["changed", "gone", "refused"])
def test_a_copy_that_cannot_go_on_leaves_nothing(
    remote: ServerProcess, web: WebServer, raw: Path, fault: str
) -> None:
    """The error says why, and image, packs and chunks are gone."""
    path = web.folder / "disk.raw"
    path.write_bytes(raw.read_bytes())

    def change(_handler: object, number: int) -> bool:
        if number == 6:
            if fault == "changed":
                path.write_bytes(raw.read_bytes()[::-1])
            elif fault == "gone":
                path.unlink()
        return False

    web.faults["/disk.raw"] = change if fault != "refused" else once(status(403), at=6, times=99)
    client = OfficialClient(remote.profile)
    operation = client.wait(client.copy("disk", "disk").id)
    assert operation.WhichOneof("result") == "error"
    expected = Code.FAILED_PRECONDITION if fault == "refused" else Code.ABORTED
    assert operation.error.code == expected, operation.error
    assert "disk.raw" in operation.error.message
    assert remote.stop() == 0
    inspection = Inspection.of(remote.data_dir)
    for table in (tables.images, tables.chunks, tables.packs, tables.copy_ranges):
        assert inspection.count(table) == 0
    assert list(inspection.chunks.iter_packs()) == []
    inspection.close()


def test_a_slow_source_does_not_hold_up_other_copies(
    make_server: Callable[..., ServerProcess], web: WebServer, raw: Path
) -> None:
    """However many of its ranges are at work, another copy gets a place at once."""
    slow = web.folder / "slow.raw"
    slow.write_bytes(random_bytes(SLOW_SIZE, seed=2))
    (web.folder / "quick.raw").write_bytes(raw.read_bytes())
    go_on = threading.Event()
    stalled: list[int] = []

    def stall(handler: Handler, _number: int) -> bool:
        start = int(handler.headers.get("Range", "bytes=0-")[len("bytes=") :].partition("-")[0])
        if 8 * MIB < start < SLOW_SIZE - 8 * MIB:  # not where a plan looks
            stalled.append(start)
            go_on.wait(60)
        return False

    web.faults["/slow.raw"] = stall
    options = ("--source", f"web={web.url}", "--source-ca", str(web.ca), "--source-stall", "90")
    server = make_server(options=options)
    server.start()
    client = OfficialClient(server.profile)
    held_up = client.copy("slow", "slow")
    try:
        wait_for(lambda: len(stalled) >= RANGES_AT_ONCE - 1, "its ranges are at work")
        quick = client.wait(client.copy("quick", "quick").id, timeout_seconds=30)
        assert quick.HasField("response"), quick
        assert not client.get_operation(held_up.id).done
    finally:
        go_on.set()
    assert client.wait(held_up.id).HasField("response")
    assert server.stop() == 0
