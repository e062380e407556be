"""The audit log of a real server: over gRPC, REST and our own paths, and through a crash."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import ListDesktopImagesRequest
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2_grpc import DesktopImageServiceStub

from parts.disks import MIB, random_bytes, write_raw
from parts.faults import PausedServer
from parts.official import OfficialClient, refused
from parts.server import ServerProcess
from parts.waiting import wait_for

CLI = (sys.executable, "-m", "clouddesktop")


def events(server: ServerProcess) -> list[dict[str, Any]]:
    file = server.data_dir / "audit/audit.jsonl"
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines()]


def outlines(server: ServerProcess) -> list[tuple[str, str]]:
    """Give each event's name and status."""
    return [
        (each["event_type"].removeprefix("yandex.cloud.audit."), each["event_status"])
        for each in events(server)
    ]


@pytest.fixture
def compute_image(sources_dir: Path) -> str:
    data = {index * 8 * MIB: random_bytes(MIB, seed=index) for index in range(3)}
    write_raw(sources_dir / "golden.raw", size=24 * MIB, data=data)
    return "golden"


@pytest.mark.proves("audit.event", of=["DesktopImageService/Copy", "DesktopImageService/Delete"])
def test_changes_and_refusals_are_in_the_log_before_their_answer(
    server: ServerProcess, compute_image: str
) -> None:
    """Over every wire; reads that are allowed are not."""
    client = OfficialClient(server.profile)
    copied = client.wait(client.copy(compute_image, "golden").id)
    assert outlines(server)[0] == ("clouddesktop.CopyDesktopImage", "STARTED")
    end = ("clouddesktop.CopyDesktopImage", "DONE")
    wait_for(lambda: outlines(server)[-1] == end, "the copy's end is written", timeout_seconds=20)
    started, ended = events(server)
    assert started["operation_id"] == ended["operation_id"] == copied.id
    assert ended["details"]["image_name"] == "golden"

    client.delete_copied(copied)
    assert outlines(server)[2:] == [("clouddesktop.DeleteDesktopImage", "DONE")]

    with client.plain_channel() as channel:
        request = ListDesktopImagesRequest(folder_id=client.folder_id)
        stub = DesktopImageServiceStub(channel)
        assert refused(lambda: stub.List(request)).code == grpc.StatusCode.UNAUTHENTICATED
    assert outlines(server)[3:] == [("clouddesktop.ListDesktopImage", "ERROR")]
    assert events(server)[3]["request_metadata"]["remote_address"] == "127.0.0.1"

    profile = yaml.safe_load(server.profile.read_text())
    trusted = ssl.create_default_context(cafile=profile["ca"])
    with httpx.Client(base_url=profile["rest"], verify=trusted, trust_env=False) as http:
        rest = http.get("/cloud-desktop/v1/images", params={"folderId": client.folder_id})
        own = http.get("/store/v1/stats")
    assert (rest.status_code, own.status_code) == (401, 401)
    assert outlines(server)[4:] == [
        ("clouddesktop.ListDesktopImage", "ERROR"),
        ("clouddesktop.GetStats", "ERROR"),
    ]
    assert events(server)[5]["request_metadata"]["request_id"] == own.headers["x-request-id"]

    command = ["--profile", str(server.profile), "quota", "set", "vdi.desktopImages.count", "5"]
    subprocess.run([*CLI, *command], check=True, capture_output=True)
    assert outlines(server)[6:] == [("clouddesktop.SetQuotaLimit", "DONE")]
    last = events(server)[6]
    assert last["request_parameters"]["limit"] == 5
    assert last["authentication"]["subject_id"] == copied.created_by


def test_the_end_of_a_copy_that_a_crash_interrupted_is_in_the_log(
    make_server: Callable[..., ServerProcess], tmp_path: Path, compute_image: str
) -> None:
    """Once, with the operation that its start named."""
    paused = PausedServer(make_server, tmp_path, failpoint="range-recorded:1")
    operation = OfficialClient(paused.server.profile).copy(compute_image, "golden")
    paused.wait_paused()
    paused.server.kill()
    server = make_server(data_dir=paused.server.data_dir, options=paused.server.options)
    server.start()
    OfficialClient(server.profile).wait(operation.id)
    end = ("clouddesktop.CopyDesktopImage", "DONE")
    wait_for(lambda: end in outlines(server), "the copy's end is written", timeout_seconds=20)
    assert server.stop() == 0
    assert [(each["event_status"], each["operation_id"]) for each in events(server)] == [
        ("STARTED", operation.id),
        ("DONE", operation.id),
    ]
