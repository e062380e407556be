"""One large image that several workers copy: any of them may die, or come back too late."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import NamedTuple

import pytest
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.operation.operation_service_pb2 import CancelOperationRequest

from clouddesktop.catalog import tables
from parts.cluster import Cluster, WorkerProcess
from parts.disks import MIB, random_bytes
from parts.official import OfficialClient
from parts.waiting import wait_for

pytestmark = pytest.mark.crash

RANGES = 16
SPACING = 64 * MIB  # a hole that no range bridges
DATA_SIZE = 2 * MIB


class Shared(NamedTuple):
    """A copy that two workers are at, each with ranges that it has claimed."""

    client: OfficialClient
    operation: Operation
    lead: WorkerProcess
    helper: WorkerProcess


@pytest.fixture
def raw(cluster: Cluster) -> Path:
    """A disk of some ranges, of which each is unlike the others."""
    path = cluster.sources_dir / "disk.raw"
    with path.open("wb") as file:
        for number in range(RANGES):
            file.seek(number * SPACING)
            file.write(random_bytes(DATA_SIZE, seed=number))
        file.truncate(RANGES * SPACING)
    return path


@pytest.fixture
def shared(cluster: Cluster, raw: Path) -> Shared:
    """The state that the tests begin with."""
    assert raw.exists()
    _, client = cluster.start_server()
    workers = [cluster.make_slow_worker(), cluster.make_slow_worker()]
    for each in workers:
        each.start()
    operation = client.copy("disk", "disk")
    wait_for(lambda: any(map(is_leading, workers)), "a worker has begun")
    lead, helper = sorted(workers, key=is_leading, reverse=True)
    wait_for(lambda: helper.id in claimants(cluster), "the other one helps")
    return Shared(client, operation, lead, helper)


def is_leading(worker: WorkerProcess) -> bool:
    return "copy begins" in worker.log.read_text()


def claimants(cluster: Cluster) -> list[object]:
    with cluster.inspected() as inspection:
        return inspection.column(tables.range_claims.c.worker)


def is_waiting_for(cluster: Cluster, worker: WorkerProcess) -> bool:
    """Tell whether all is recorded but what this worker has claimed."""
    claimed = claimants(cluster)
    with cluster.inspected() as inspection:
        recorded = inspection.count(tables.copy_ranges)
    return set(claimed) == {worker.id} and recorded + len(claimed) == RANGES


def helped_packs(cluster: Cluster, helper: WorkerProcess) -> int:
    """Count the packs in the index that the helper has written."""
    with cluster.inspected() as inspection:
        return sum(str(each).endswith(helper.id) for each in inspection.column(tables.packs.c.id))


def check(cluster: Cluster, operation: Operation, raw: Path) -> None:
    """The image is exact, all of it was counted once, and nothing of the sharing is left."""
    image = DesktopImage()
    assert operation.response.Unpack(image), operation
    row = cluster.find_operation(operation.id)
    assert row.bytes_done == row.bytes_total == RANGES * DATA_SIZE
    with cluster.inspected() as inspection:
        inspection.check_image(image.id, raw)
        for table in (tables.copy_ranges, tables.range_claims, tables.shared_copies):
            assert inspection.count(table) == 0
        known = set(inspection.column(tables.packs.c.id))
        assert known <= set(inspection.chunks.iter_packs())


def test_two_workers_copy_one_image(cluster: Cluster, raw: Path, shared: Shared) -> None:
    """Under one run, each range once."""
    check(cluster, shared.client.wait(shared.operation.id), raw)
    assert helped_packs(cluster, shared.helper) > 0
    assert cluster.find_operation(shared.operation.id).epoch == 1
    assert "has helped" in shared.helper.log.read_text()
    assert [each.stop() for each in (shared.lead, shared.helper)] == [0, 0]


def test_a_helper_dies(cluster: Cluster, raw: Path, shared: Shared) -> None:
    """What it had claimed is stored by the worker that runs the copy, in the same run."""
    shared.helper.kill()
    check(cluster, shared.client.wait(shared.operation.id), raw)
    assert cluster.find_operation(shared.operation.id).epoch == 1


def test_a_helper_comes_back_too_late(cluster: Cluster, raw: Path, shared: Shared) -> None:
    """The copy did not wait for it, and nothing that it still does counts."""
    shared.helper.signal(signal.SIGSTOP)
    finished = shared.client.wait(shared.operation.id)
    check(cluster, finished, raw)
    shared.helper.signal(signal.SIGCONT)
    assert shared.helper.wait() == 1
    assert shared.client.get_operation(shared.operation.id) == finished
    check(cluster, finished, raw)


def test_the_worker_that_is_helped_dies(cluster: Cluster, raw: Path, shared: Shared) -> None:
    """The helper takes the copy over; what both have recorded stays."""
    find_row = cluster.find_operation
    wait_for(lambda: find_row(shared.operation.id).bytes_done > 0, "some of it is done")
    shared.lead.kill()
    done = cluster.find_operation(shared.operation.id).bytes_done
    check(cluster, shared.client.wait(shared.operation.id), raw)
    assert done > 0
    assert cluster.find_operation(shared.operation.id).epoch == 2
    assert "copy goes on" in shared.helper.log.read_text()


def test_a_cancelled_copy_is_left_by_all(cluster: Cluster, shared: Shared) -> None:
    """Nothing of it stays in the catalogue, nor in the store but for what a collection finds."""
    request = CancelOperationRequest(operation_id=shared.operation.id)
    shared.client.operations.Cancel(request)
    assert shared.client.wait(shared.operation.id).HasField("error")
    with cluster.inspected() as inspection:
        for table in (tables.packs, tables.chunks, tables.copy_ranges, tables.range_claims):
            assert inspection.count(table) == 0


def test_a_cancelled_copy_does_not_wait_for_a_helper(
    cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    """Which may be silent for as long as its lease, or a minute."""
    cluster.variables["CLOUDDESKTOP_WORKER_LEASE"] = "300"
    shared: Shared = request.getfixturevalue("shared")
    shared.helper.signal(signal.SIGSTOP)
    wait_for(lambda: is_waiting_for(cluster, shared.helper), "the other one waits for it")
    shared.client.operations.Cancel(CancelOperationRequest(operation_id=shared.operation.id))
    assert shared.client.wait(shared.operation.id, timeout_seconds=20).HasField("error")


def test_a_worker_that_does_not_see_the_file_leaves_it_alone(cluster: Cluster, raw: Path) -> None:
    """The copy is none the worse for it."""
    _, client = cluster.start_server()
    lead = cluster.make_slow_worker()
    lead.start()
    operation = client.copy("disk", "disk")
    wait_for(lambda: is_leading(lead), "the copy has begun")
    elsewhere = cluster.folder / "elsewhere"
    elsewhere.mkdir()
    blind = cluster.make_slow_worker(CLOUDDESKTOP_SOURCE=f"images=file://{elsewhere}")
    blind.start()
    check(cluster, client.wait(operation.id), raw)
    assert cluster.find_operation(operation.id).epoch == 1
    assert helped_packs(cluster, blind) == 0
