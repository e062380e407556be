"""Two versions side by side on one database, rolled one after the other while copies run."""

from __future__ import annotations

from pathlib import Path

import pytest
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.operation.operation_pb2 import Operation

from parts.cluster import Cluster, WorkerProcess
from parts.disks import MIB, random_bytes, write_raw
from parts.next_version import VARIABLES, program
from parts.official import OfficialClient
from parts.waiting import wait_for

pytestmark = pytest.mark.crash

ADDING = program("adding")
BREAKING = program("breaking")
NAMES = tuple(f"disk{number}" for number in range(6))


@pytest.fixture
def disks(cluster: Cluster) -> dict[str, Path]:
    """Disks of some ranges each."""
    cluster.variables |= VARIABLES
    paths = {name: cluster.sources_dir / f"{name}.raw" for name in NAMES}
    for number, path in enumerate(paths.values()):
        data = {
            at: random_bytes(12 * MIB, seed=number << 8 | at // MIB)
            for at in range(0, 192 * MIB, 16 * MIB)
        }
        write_raw(path, size=192 * MIB, data=data)
    return paths


def check(cluster: Cluster, client: OfficialClient, operation: Operation, disk: Path) -> None:
    """The copy succeeds, byte by byte."""
    image = DesktopImage()
    done = client.wait(operation.id)
    assert done.response.Unpack(image), done
    with cluster.inspected() as inspection:
        inspection.check_image(image.id, disk)


def wait_begun(cluster: Cluster, operation: Operation) -> None:
    wait_for(
        lambda: cluster.find_operation(operation.id).bytes_done > 0,
        f"{operation.id} has recorded a range",
    )


def wait_busy(*workers: WorkerProcess) -> None:
    wait_for(
        lambda: all("copy begins" in each.log.read_text() for each in workers), "all have begun"
    )


def test_rolling_up_and_back(cluster: Cluster, disks: dict[str, Path]) -> None:
    """Workers and servers of both versions work beside each other; every copy is byte-exact."""
    old_server = cluster.make_server()
    old_server.start()
    old = OfficialClient(old_server.profile)
    old_workers = [cluster.make_worker(), cluster.make_worker()]
    for each in old_workers:
        each.start()
    copies = {name: old.copy(name, f"{name}-old") for name in NAMES[:4]}
    wait_busy(*old_workers)

    new_server = cluster.make_server(program=ADDING)
    new_server.start()
    new = OfficialClient(new_server.profile)
    assert old.get_operation(copies["disk0"].id).id == copies["disk0"].id
    # With no worker of the new version yet, its copies are begun by those that there are.
    copies["disk4"] = new.copy("disk4", "disk4-new")
    check(cluster, new, copies["disk4"], disks["disk4"])

    # Programs of the old version start on the new tables.
    assert old_server.stop() == 0
    old_server.start()
    old = OfficialClient(old_server.profile)
    assert old_workers[0].stop() == 0
    old_workers[0].start()

    new_workers = [cluster.make_worker(program=ADDING), cluster.make_worker(program=ADDING)]
    new_workers[0].start()
    copies["disk5"] = new.copy("disk5", "disk5-new")
    again = old.copy("disk4", "disk4-old")
    check(cluster, new, again, disks["disk4"])
    assert old_workers[0].stop() == 0
    new_workers[1].start()
    left = old.copy("disk5", "disk5-old")
    # The last old worker dies: what it ran, and what waits for it, is begun anew by the others.
    old_workers[1].kill()
    for name, operation in copies.items():
        check(cluster, new, operation, disks[name])
    check(cluster, new, left, disks["disk5"])

    # And back: what the new version has accepted is finished by the old one.
    back = new.copy("disk0", "disk0-back")
    for each in new_workers:
        each.kill()
    assert new_server.stop() == 0
    worker = cluster.make_worker()
    worker.start()
    check(cluster, old, back, disks["disk0"])
    assert worker.stop() == 0
    assert old_server.stop() == 0
    with cluster.inspected() as inspection:
        inspection.check_store()


def test_a_copy_in_flight_goes_on_with_its_version(
    cluster: Cluster, disks: dict[str, Path]
) -> None:
    """As long as a worker of its version lives, no range is read twice for an upgrade."""
    server, client = cluster.start_server()
    old_worker = cluster.make_worker()
    old_worker.start()
    operations = [client.copy(name, name) for name in NAMES[:3]]
    wait_begun(cluster, operations[0])
    new_workers = [cluster.make_worker(program=ADDING), cluster.make_worker(program=ADDING)]
    for each in new_workers:
        each.start()
    for operation, disk in zip(operations, disks.values(), strict=False):
        check(cluster, client, operation, disk)
        row = cluster.find_operation(operation.id)
        assert (row.epoch, row.workflow_id) == (1, f"{operation.id}-1")
    assert not any("copy begins" in each.log.read_text() for each in new_workers)
    assert server.stop() == 0


def test_a_form_that_does_not_serve_is_refused(cluster: Cluster, disks: dict[str, Path]) -> None:
    """Nothing of the old version starts then; it says which revision is wanted."""
    del disks
    server = cluster.make_server()
    server.start()
    assert server.stop() == 0
    new_server = cluster.make_server(program=BREAKING)
    new_server.start()
    with pytest.raises(AssertionError, match="written by a later version: it has revision 9000"):
        server.start()
    worker = cluster.make_worker()
    with pytest.raises(AssertionError, match="Run that version, or restore a backup"):
        worker.start()
    assert new_server.stop() == 0
