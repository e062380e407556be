"""Lines between the parts are cut, fall silent, and come back: a proxy stands for the network."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageRequest,
    ListDesktopImagesRequest,
)
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.catalog import tables
from parts.cluster import Cluster, WorkerProcess
from parts.disks import MIB, write_raw
from parts.failover import write_disk
from parts.official import OfficialClient, refused
from parts.postgres import Postgres
from parts.seaweedfs import BUCKET, SeaweedFS
from parts.tcp_proxy import Line, TcpProxy
from parts.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.crash]

BROKEN = [Line.CUT, Line.SILENT, Line.HALF]
CALL_SECONDS = 3


@pytest.fixture
def line(postgres: Postgres) -> Iterator[TcpProxy]:
    """A way to PostgreSQL that can be broken."""
    with TcpProxy(postgres.socket_path) as proxy:
        yield proxy


def over(line: TcpProxy, database_url: str) -> str:
    """Give the URL of a database that is reached over this line."""
    user, _, rest = database_url.removeprefix("postgresql://").partition("@/")
    return f"postgresql://{user}@127.0.0.1:{line.port}/{rest.partition('?')[0]}"


def begin_copy(cluster: Cluster, client: OfficialClient, worker: WorkerProcess) -> Operation:
    """Have this worker begin a copy, and finish some of it."""
    worker.start()
    write_disk(cluster.sources_dir / "disk.raw", seed=1)
    operation = client.copy("disk", "disk")
    wait_for(lambda: cluster.find_operation(operation.id).bytes_done > 0, "some of it is done")
    assert not client.get_operation(operation.id).done
    return operation


def check(cluster: Cluster, operation: Operation) -> None:
    """The copy has succeeded, and reads as its disk."""
    image = DesktopImage()
    assert operation.response.Unpack(image), operation
    with cluster.inspected() as inspection:
        inspection.check_image(image.id, cluster.sources_dir / "disk.raw")
        assert inspection.count(tables.images) == 1


@pytest.mark.parametrize("broken", BROKEN, ids=lambda each: each.value)
def test_a_worker_without_its_database_is_replaced(
    cluster: Cluster, line: TcpProxy, broken: Line
) -> None:
    """Its copy goes on elsewhere; when the line is whole again, it changes nothing, and ends."""
    server, client = cluster.start_server()
    cut_off = cluster.make_worker(CLOUDDESKTOP_DATABASE=over(line, cluster.database_url))
    operation = begin_copy(cluster, client, cut_off)
    line.break_line(broken)
    other = cluster.make_worker()
    other.start()
    finished = client.wait(operation.id)
    check(cluster, finished)
    assert "copy goes on" in other.log.read_text()
    line.heal()
    assert cut_off.wait() == 1
    assert client.get_operation(operation.id) == finished
    check(cluster, finished)
    assert other.stop() == 0
    assert server.stop() == 0


def test_a_worker_does_not_hang_where_nothing_ever_comes_back(
    cluster: Cluster, line: TcpProxy
) -> None:
    """Its connections stay open, and are silent for ever: it makes new ones, and goes on."""
    _, client = cluster.start_server()
    worker = cluster.make_worker(CLOUDDESKTOP_DATABASE=over(line, cluster.database_url))
    operation = begin_copy(cluster, client, worker)
    line.break_line(Line.SILENT)
    line.heal(forget=True)
    check(cluster, client.wait(operation.id))
    assert worker.stop() == 0


@pytest.mark.parametrize("broken", BROKEN, ids=lambda each: each.value)
def test_a_copy_waits_for_the_line_to_the_store(
    cluster: Cluster, seaweedfs: SeaweedFS, broken: Line
) -> None:
    """The worker lives, and goes on when it is whole again; nothing is stored twice or half."""
    cluster.store_url = f"s3://{BUCKET}/{seaweedfs.new_prefix()}"
    cluster.variables |= seaweedfs.variables
    _, client = cluster.start_server()
    with TcpProxy(seaweedfs.port) as line:
        worker = cluster.make_worker(AWS_ENDPOINT_URL=f"http://127.0.0.1:{line.port}")
        operation = begin_copy(cluster, client, worker)
        line.break_line(broken)
        done = cluster.find_operation(operation.id).bytes_done
        # What was put and not yet recorded may still be; then nothing goes on.
        wait_for(lambda: has_stopped(cluster, operation), "the copy waits")
        assert cluster.find_operation(operation.id).bytes_done >= done
        line.break_line(Line.CUT)  # as the other end does when it hears of connections it forgot
        line.heal()
        finished = client.wait(operation.id)
        check(cluster, finished)
        assert worker.stop() == 0
    assert cluster.find_operation(operation.id).epoch == 1


def has_stopped(cluster: Cluster, operation: Operation) -> bool:
    """Tell whether nothing was done for a second."""
    done = cluster.find_operation(operation.id).bytes_done
    try:
        wait_for(
            lambda: cluster.find_operation(operation.id).bytes_done > done,
            "more is done",
            timeout_seconds=1,
        )
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("broken", BROKEN, ids=lambda each: each.value)
def test_a_server_without_its_database_comes_back(
    cluster: Cluster, line: TcpProxy, broken: Line
) -> None:
    """Calls are told so, or hang until the client ends them; later a key finds what was done."""
    behind = Cluster(cluster.folder, over(line, cluster.database_url), cluster.store_url)
    server = behind.make_server()
    cluster.servers.append(server)
    server.start()
    client = OfficialClient(server.profile)
    write_raw(cluster.sources_dir / "disk.raw", size=MIB, data={0: b"disk"})
    request = CopyDesktopImageRequest(folder_id=client.folder_id, image_id="disk", name="disk")
    key = (("idempotency-key", str(uuid.uuid4())),)
    listing = ListDesktopImagesRequest(folder_id=client.folder_id)
    client.images.List(listing)

    line.break_line(broken)
    for _ in range(3):
        with pytest.raises(grpc.RpcError) as caught:
            client.images.Copy(request, metadata=key, timeout=CALL_SECONDS)
        refusal = caught.value.code()
        if broken is Line.CUT:
            assert refusal is grpc.StatusCode.UNAVAILABLE
            told = refused(lambda: client.images.List(listing))
            assert told.get_detail(RetryInfo).retry_delay.ToMilliseconds() > 0
        else:
            assert refusal in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}
    line.break_line(Line.CUT)  # as the other end does when it hears of connections it forgot
    line.heal()

    wait_for(lambda: is_answered(client, listing), "the server answers")
    operation = client.images.Copy(request, metadata=key)
    worker = cluster.make_worker()
    worker.start()
    check(cluster, client.wait(operation.id))
    assert client.images.Copy(request, metadata=key).id == operation.id
    with cluster.inspected() as inspection:
        assert inspection.count(tables.operations) == 1
    assert server.stop() == 0


def is_answered(client: OfficialClient, request: ListDesktopImagesRequest) -> bool:
    try:
        client.images.List(request, timeout=CALL_SECONDS)
    except grpc.RpcError:
        return False
    return True
