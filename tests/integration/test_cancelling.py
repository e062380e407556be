"""Cancel: a copy stops wherever it stands, and nothing of it is left."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import ListDesktopImagesRequest
from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.operation.operation_service_pb2 import CancelOperationRequest

from clouddesktop.catalog import tables
from clouddesktop.errors import Code
from parts.disks import MIB, convert, random_bytes, write_raw
from parts.faults import PausedServer
from parts.inspection import Inspection
from parts.official import OfficialClient, refused
from parts.server import ServerProcess
from parts.waiting import wait_for
from parts.web import Handler, serving

CLI = (sys.executable, "-m", "clouddesktop")
MOST_SECONDS = 10
"""Far more than a cancelled copy takes, and far less than a stalled source would."""


@pytest.fixture
def compute_image(sources_dir: Path) -> str:
    """A compute image of several ranges."""
    data = {index * 8 * MIB: random_bytes(MIB, seed=index) for index in range(6)}
    write_raw(sources_dir / "golden.raw", size=48 * MIB, data=data)
    return "golden"


def cancel(client: OfficialClient, operation_id: str) -> Operation:
    return client.operations.Cancel(CancelOperationRequest(operation_id=operation_id))


def check_cancelled(client: OfficialClient, operation: Operation) -> None:
    """The operation ended with CANCELLED, and its image is gone."""
    assert operation.done
    assert operation.error.code == Code.CANCELLED, operation
    assert operation.error.message == f"The operation {operation.id} was cancelled."
    info = ErrorInfo()
    assert any(each.Unpack(info) for each in operation.error.details)
    assert info.metadata["cancelled_by"] == operation.created_by
    listed = client.images.List(ListDesktopImagesRequest(folder_id=client.folder_id))
    assert not listed.desktop_images


def check_empty(server: ServerProcess) -> None:
    """Once the server has stopped: nothing is in catalogue or store."""
    assert server.stop() == 0
    inspection = Inspection.of(server.data_dir)
    for table in (tables.images, tables.chunks, tables.packs, tables.copy_ranges):
        assert inspection.count(table) == 0, table.name
    assert list(inspection.chunks.iter_packs()) == []
    inspection.close()


@pytest.mark.parametrize(
    "failpoint", ["run-begin", "plan-begin", "range-read:1", "range-recorded:2"]
)
@pytest.mark.proves("operation.cancel")
def test_a_running_copy_is_cancelled(
    make_server: Callable[..., ServerProcess],
    tmp_path: Path,
    compute_image: str,
    failpoint: str,
) -> None:
    """The error shows at once; done follows when nothing of the copy is left."""
    paused = PausedServer(make_server, tmp_path, failpoint=failpoint)
    client = OfficialClient(paused.server.profile)
    operation = client.copy(compute_image, "golden")
    paused.wait_paused()
    seen = cancel(client, operation.id)
    assert seen.error.code == Code.CANCELLED
    # Nothing has begun before the run takes the operation over: then it can end right away.
    assert seen.done == (failpoint == "run-begin")
    again = cancel(client, operation.id)
    assert (again.done, again.error) == (seen.done, seen.error)
    paused.go_on()
    check_cancelled(client, client.wait(operation.id, timeout_seconds=MOST_SECONDS))
    check_empty(paused.server)


def test_what_is_sealed_and_cancelled_is_not_published(
    make_server: Callable[..., ServerProcess], tmp_path: Path, compute_image: str
) -> None:
    """The last moment at which a cancel counts; the content is the collector's from then on."""
    paused = PausedServer(make_server, tmp_path, failpoint="publish-begin")
    client = OfficialClient(paused.server.profile)
    operation = client.copy(compute_image, "golden")
    paused.wait_paused()
    assert not cancel(client, operation.id).done
    paused.go_on()
    check_cancelled(client, client.wait(operation.id, timeout_seconds=MOST_SECONDS))
    assert client.wait(client.copy(compute_image, "golden").id).WhichOneof("result") == "response"


def test_a_copy_that_waits_for_a_worker_ends_at_once(
    make_server: Callable[..., ServerProcess], tmp_path: Path, compute_image: str
) -> None:
    """It is done in the answer; the one that has the worker is not disturbed."""
    paused = PausedServer(make_server, tmp_path, failpoint="plan-begin", options=("--workers", "1"))
    client = OfficialClient(paused.server.profile)
    first = client.copy(compute_image, "first")
    paused.wait_paused()
    second = client.copy(compute_image, "second")
    answer = cancel(client, second.id)
    assert answer.done
    assert answer.error.code == Code.CANCELLED
    paused.go_on()
    assert client.wait(first.id).WhichOneof("result") == "response"
    assert client.copy(compute_image, "second").done


def test_what_has_ended_stays_as_it_is(server: ServerProcess, compute_image: str) -> None:
    """A success, a failure, and an operation that nobody knows."""
    client = OfficialClient(server.profile)
    done = client.wait(client.copy(compute_image, "golden").id)
    assert cancel(client, done.id) == done
    assert client.get_operation(done.id) == done
    refusal = refused(lambda: cancel(client, "fcvnone"))
    assert refusal.code == grpc.StatusCode.NOT_FOUND
    assert refusal.message == "Operation fcvnone not found"


def test_the_command_waits_for_the_rollback(
    make_server: Callable[..., ServerProcess], tmp_path: Path, compute_image: str
) -> None:
    """Exit status 0, and the operation as it ended; of one that had ended, it says so."""
    paused = PausedServer(make_server, tmp_path, failpoint="range-recorded:1")
    client = OfficialClient(paused.server.profile)
    operation = client.copy(compute_image, "golden")
    paused.wait_paused()
    command = (*CLI, "--profile", str(paused.server.profile), "--format", "json", "operation")
    with subprocess.Popen(
        [*command, "cancel", operation.id], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wait_for(
            lambda: client.get_operation(operation.id).HasField("error"), "the cancel has arrived"
        )
        paused.go_on()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    shown = json.loads(out)
    assert (shown["done"], shown["error"]["code"]) == (True, Code.CANCELLED)
    done = client.wait(client.copy(compute_image, "golden").id)
    again = subprocess.run(
        [*command, "cancel", done.id], check=True, capture_output=True, text=True
    )
    assert again.stderr == "It had ended already: there was nothing to cancel.\n"
    assert "response" in json.loads(again.stdout)


def test_a_cancelled_copy_stays_cancelled_through_a_crash(
    make_server: Callable[..., ServerProcess], tmp_path: Path, compute_image: str
) -> None:
    """Killed in the middle of its rollback, the server ends it after the next start."""
    paused = PausedServer(make_server, tmp_path, failpoint="range-recorded:1")
    client = OfficialClient(paused.server.profile)
    operation = client.copy(compute_image, "golden")
    paused.wait_paused()
    cancel(client, operation.id)
    paused.server.kill()
    paused.go_on()
    paused.server.start()
    check_cancelled(client, client.wait(operation.id, timeout_seconds=60))
    check_empty(paused.server)


@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_a_source_that_has_stalled_does_not_hold_it_up(
    make_server: Callable[..., ServerProcess], tmp_path: Path, disk_format: str
) -> None:
    """A read that waits for another server is given up, straight or by way of QEMU."""
    raw = tmp_path / "disk.raw"
    write_raw(raw, size=32 * MIB, data={0: random_bytes(24 * MIB, seed=1)})
    folder = tmp_path / "web"
    folder.mkdir()
    convert(raw, folder / f"disk.{disk_format}", "-O", disk_format, source_format="raw")

    has_stalled, is_over = threading.Event(), threading.Event()
    with serving(folder, tls=tmp_path / "tls") as web, ExitStack() as stack:
        stack.callback(is_over.set)

        def stall(handler: Handler, _number: int) -> bool:
            first = int(
                handler.headers.get("range", "bytes=0-").removeprefix("bytes=").split("-")[0]
            )
            if first >= 16 * MIB:
                has_stalled.set()
                is_over.wait(MOST_SECONDS * 3)
            return False

        web.faults[f"/disk.{disk_format}"] = stall
        server = make_server(options=("--source", f"web={web.url}", "--source-ca", str(web.ca)))
        server.start()
        client = OfficialClient(server.profile)
        operation = client.copy("disk", "disk")
        wait_for(has_stalled.is_set, "the source has stalled")
        cancel(client, operation.id)
        check_cancelled(client, client.wait(operation.id, timeout_seconds=MOST_SECONDS))
