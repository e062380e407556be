"""Workers that die, pause and come back: the others go on from the last finished range."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import grpc
import psutil
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import ListDesktopImagesRequest
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.catalog import tables
from parts.cluster import LEASE_SECONDS, Cluster, WorkerProcess
from parts.disks import MIB, random_bytes
from parts.failover import fail_over, write_disk
from parts.official import OfficialClient, refused
from parts.postgres import Postgres
from parts.server import ServerProcess
from parts.waiting import wait_for

pytestmark = pytest.mark.crash

DISK_SIZE = 768 * MIB

HUNG_STOP_SECONDS = 90


@pytest.fixture
def raw(cluster: Cluster) -> Path:
    """A disk that takes some seconds to copy."""
    path = cluster.sources_dir / "disk.raw"
    with path.open("wb") as file:
        for at in range(0, DISK_SIZE, 64 * MIB):
            file.seek(at)
            file.write(random_bytes(60 * MIB, seed=at))
        file.truncate(DISK_SIZE)
    return path


def start_workers(cluster: Cluster) -> list[WorkerProcess]:
    workers = [cluster.make_worker(), cluster.make_worker()]
    for each in workers:
        each.start()
    return workers


def find_busy(workers: list[WorkerProcess]) -> tuple[WorkerProcess, WorkerProcess]:
    """Tell the worker that has begun the copy from the one that has not."""
    wait_for(lambda: any(map(is_busy, workers)), "a worker has begun")
    workers = sorted(workers, key=is_busy, reverse=True)
    return workers[0], workers[1]


def is_busy(worker: WorkerProcess) -> bool:
    log = worker.log.read_text()
    return "copy begins" in log or "copy goes on" in log


def wait_bytes(cluster: Cluster, operation: Operation, more_than: int) -> int:
    """Wait until more of the copy is done; give how much."""
    wait_for(
        lambda: cluster.find_operation(operation.id).bytes_done > more_than,
        f"more than {more_than} bytes are done",
    )
    done: int = cluster.find_operation(operation.id).bytes_done
    return done


def check(cluster: Cluster, operation: Operation, raw: Path) -> None:
    """The copy has succeeded, byte by byte, and the store holds nothing that is not known."""
    image = DesktopImage()
    assert operation.response.Unpack(image), operation
    with cluster.inspected() as inspection:
        inspection.check_image(image.id, raw)


def test_a_dead_workers_copy_goes_on_elsewhere(cluster: Cluster, raw: Path) -> None:
    """Soon after its lease, and no range that was recorded is read again."""
    server, client = cluster.start_server()
    workers = start_workers(cluster)
    operation = client.copy("disk", "disk")
    busy, idle = find_busy(workers)
    done = wait_bytes(cluster, operation, 0)
    killed_at = time.monotonic()
    busy.kill()
    done = cluster.find_operation(operation.id).bytes_done
    wait_bytes(cluster, operation, done)
    print(f"failover: {time.monotonic() - killed_at:.1f} s at a lease of {LEASE_SECONDS} s")  # noqa: T201
    check(cluster, client.wait(operation.id), raw)
    assert "copy goes on" in idle.log.read_text()
    row = cluster.find_operation(operation.id)
    assert row.epoch == 2
    assert row.bytes_done == row.bytes_total
    assert idle.stop() == 0
    assert server.stop() == 0


def test_no_finished_range_is_copied_again(cluster: Cluster) -> None:
    """Of a copy whose worker is killed, the others begin what it had not finished, and no more."""
    write_disk(cluster.sources_dir / "disk.raw", seed=1)
    server = cluster.make_server()
    server.start()
    files = [cluster.folder / f"notes{number}" for number in range(2)]
    workers = {each: cluster.make_noting_worker(each) for each in files}
    for worker in workers.values():
        worker.start()
    failover = fail_over(OfficialClient(server.profile), workers, "disk")
    assert failover.finished_before
    assert not failover.finished_before & failover.begun_twice


def test_a_worker_that_comes_back_from_a_pause_changes_nothing(cluster: Cluster, raw: Path) -> None:
    """Others have its copy by then: it ends, and what they have published stays as it is."""
    _, client = cluster.start_server()
    workers = start_workers(cluster)
    operation = client.copy("disk", "disk")
    busy, idle = find_busy(workers)
    wait_bytes(cluster, operation, 0)
    busy.signal(signal.SIGSTOP)
    finished = client.wait(operation.id)
    check(cluster, finished, raw)
    busy.signal(signal.SIGCONT)
    assert busy.wait() == 1
    assert "taken this worker for dead" in busy.log.read_text()
    assert client.get_operation(operation.id) == finished
    check(cluster, finished, raw)
    assert idle.stop() == 0


def test_a_worker_makes_no_key(cluster: Cluster) -> None:
    """Those of the admin are for people, and a machine that copies has none of them."""
    worker = cluster.make_worker()
    worker.start()
    assert worker.stop() == 0
    assert not list(worker.data_dir.rglob("*.json"))
    with cluster.inspected() as inspection:
        assert inspection.count(tables.authorized_keys) == 0


def test_a_worker_that_is_stopped_hands_over_at_once(cluster: Cluster, raw: Path) -> None:
    """Nobody waits for a lease."""
    _, client = cluster.start_server()
    workers = start_workers(cluster)
    operation = client.copy("disk", "disk")
    busy, idle = find_busy(workers)
    wait_bytes(cluster, operation, 0)
    assert busy.stop() == 0
    check(cluster, client.wait(operation.id), raw)
    assert "copy goes on" in idle.log.read_text()


def test_a_server_starts_its_own_worker_again(cluster: Cluster, raw: Path) -> None:
    """The copy goes on, and the server answers all the while."""
    server, client = cluster.start_server(workers=2)
    operation = client.copy("disk", "disk")
    done = wait_bytes(cluster, operation, 0)
    assert server.process is not None
    kill_children(server.process.pid)
    wait_bytes(cluster, operation, done)
    check(cluster, client.wait(operation.id), raw)
    assert server.stop() == 0


def test_a_servers_own_worker_leaves_the_processors_to_calls(cluster: Cluster) -> None:
    """It is nicer than the server, with each of its threads; a worker apart is not."""
    server, worker = cluster.make_server(workers=1), cluster.make_worker()
    server.start()
    worker.start()
    assert server.process is not None
    assert worker.process is not None
    own = psutil.Process(server.process.pid).nice()
    assert psutil.Process(worker.process.pid).nice() == own
    wait_for(
        lambda: any(len(nice) > 1 and min(nice) > own for nice in children_niceness(server)),
        "all threads of the server's worker are nicer than the server",
    )


def children_niceness(server: ServerProcess) -> list[list[int]]:
    """Give the niceness of each thread of each child."""
    assert server.process is not None
    return [
        [os.getpriority(os.PRIO_PROCESS, thread.id) for thread in child.threads()]
        for child in psutil.Process(server.process.pid).children()
    ]


def test_a_copy_waits_for_the_database(postgres: Postgres, cluster: Cluster, raw: Path) -> None:
    """Calls are told to come again; the copy goes on, at the latest in another run of it."""
    server, client = cluster.start_server()
    [worker, _] = start_workers(cluster)
    operation = client.copy("disk", "disk")
    wait_bytes(cluster, operation, 0)
    postgres.crash()
    try:
        refusal = refused(lambda: client.images.List(ListDesktopImagesRequest(folder_id="any")))
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        assert refusal.get_detail(RetryInfo).retry_delay.ToMilliseconds() > 0
        ended = time.monotonic() + LEASE_SECONDS * 1.5
        wait_for(lambda: time.monotonic() > ended, "it was away for longer than a lease")
    finally:
        postgres.resume()
    check(cluster, client.wait(operation.id), raw)
    assert worker.stop() == 0
    assert server.stop() == 0


def test_a_worker_ends_though_its_database_hangs(
    postgres: Postgres, cluster: Cluster, raw: Path
) -> None:
    """What it was about to write is done again by another one."""
    server, client = cluster.start_server()
    worker = cluster.make_worker()
    worker.start()
    operation = client.copy("disk", "disk")
    wait_bytes(cluster, operation, 0)
    with postgres.hung():
        # Some results of steps wait for the database by then, without end.
        wait_for(lambda: "signs of life fails" in worker.log.read_text(), "it notices")
        assert worker.stop(timeout_seconds=HUNG_STOP_SECONDS) == 0
    worker.start()
    check(cluster, client.wait(operation.id), raw)
    assert worker.stop() == 0
    assert server.stop() == 0


def kill_children(pid: int) -> None:
    for child in psutil.Process(pid).children():
        child.kill()
