"""Which of the copies that wait in a folder comes first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import CopyDesktopImageRequest
from yandex.cloud.operation.operation_pb2 import Operation

from parts.disks import MIB, random_bytes
from parts.faults import PausedServer
from parts.official import OfficialClient, refused
from parts.server import ServerProcess


def copy(client: OfficialClient, compute_image_id: str, *, priority: str) -> Operation:
    request = CopyDesktopImageRequest(
        folder_id=client.folder_id, image_id=compute_image_id, name=compute_image_id
    )
    return client.images.Copy(request, metadata=(("x-clouddesktop-priority", priority),))


@pytest.fixture
def paused(
    make_server: Callable[..., ServerProcess], sources_dir: Path, tmp_path: Path
) -> PausedServer:
    """A server that runs one copy at a time, and pauses at each plan."""
    for seed, name in enumerate(("first", "late", "usual", "soon")):
        (sources_dir / f"{name}.raw").write_bytes(random_bytes(MIB, seed=seed))
    return PausedServer(make_server, tmp_path, failpoint="plan-begin", options=("--workers", "1"))


def test_what_is_urgent_comes_first(paused: PausedServer) -> None:
    """Whatever was asked for first; what runs already is not disturbed."""
    client = OfficialClient(paused.server.profile)
    first = copy(client, "first", priority="low")
    paused.wait_paused()
    waiting = [
        copy(client, name, priority=priority)
        for name, priority in (("late", "low"), ("usual", "normal"), ("soon", "high"))
    ]
    paused.go_on()
    ended = [client.wait(each.id) for each in (first, *waiting)]
    assert all(each.HasField("response") for each in ended), ended
    by_end = sorted(ended, key=lambda each: each.modified_at.ToDatetime())
    first_id, *ids = [each.id for each in by_end]
    assert first_id == first.id
    assert ids == [each.id for each in reversed(waiting)]


def test_an_unknown_priority_is_refused(server: ServerProcess) -> None:
    """The error names what there is."""
    client = OfficialClient(server.profile)
    refusal = refused(lambda: copy(client, "any", priority="asap"))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "x-clouddesktop-priority" in refusal.message
    assert "high, normal, low" in refusal.message
