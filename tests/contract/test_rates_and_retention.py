"""Rate limits and the pruning of operations, as the settings of a real server say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import sqlalchemy as sa
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    GetDesktopImageRequest,
    ListDesktopImagesRequest,
)

from clouddesktop.catalog import tables
from clouddesktop.catalog.engine import Database
from parts.disks import MIB, random_bytes, write_raw
from parts.official import OfficialClient, refused
from parts.server import ServerProcess
from parts.waiting import wait_for


def test_who_calls_too_often_is_told_when_to_come_back(
    make_server: Callable[..., ServerProcess],
) -> None:
    """Three calls pass at once, and the next in a hundred seconds."""
    server = make_server(options=("--rate-limit", "0.01", "--rate-burst", "3"))
    server.start()
    client = OfficialClient(server.profile)
    request = ListDesktopImagesRequest(folder_id=client.folder_id)
    for _ in range(3):
        client.images.List(request)
    refusal = refused(lambda: client.images.List(request))
    assert refusal.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal.get_detail(ErrorInfo).reason == "RATE_LIMITED"
    assert 1 < refusal.get_detail(RetryInfo).retry_delay.seconds <= 100


def test_what_ended_long_ago_is_pruned_and_the_image_stays(
    make_server: Callable[..., ServerProcess], sources_dir: Path
) -> None:
    """At the start, after days without one: the operation, its key and its workflow."""
    write_raw(sources_dir / "golden.raw", size=2 * MIB, data={0: random_bytes(MIB, seed=1)})
    server = make_server()
    server.start()
    client = OfficialClient(server.profile)
    copied = client.wait(client.copy("golden", "golden").id)
    image = DesktopImage()
    assert copied.response.Unpack(image)
    assert server.stop() == 0
    let_days_pass(server)
    server.start()
    client = OfficialClient(server.profile)

    def is_gone() -> bool:
        try:
            client.get_operation(copied.id)
        except grpc.RpcError as error:
            return error.code() == grpc.StatusCode.NOT_FOUND
        return False

    wait_for(is_gone, "the operation is pruned", timeout_seconds=30)
    request = GetDesktopImageRequest(image_id=image.id)
    assert client.images.Get(request) == image
    assert client.copy("golden", "again").done
    assert server.stop() == 0
    database = Database(server.database_url)
    for table in (workflows_of(database), "idempotency_keys"):
        assert count(database, table) == 0, table
    database.close()


def let_days_pass(server: ServerProcess) -> None:
    """Date everything back, as if the server had stood still for 40 days."""
    database = Database(server.database_url)
    long_ago = datetime.now(tz=UTC) - timedelta(days=40)

    def date_back(connection: sa.Connection) -> None:
        connection.execute(sa.update(tables.operations).values(modified_at=long_ago))
        connection.execute(sa.update(tables.idempotency_keys).values(created_at=long_ago))
        connection.exec_driver_sql(
            f"UPDATE {workflows_of(database)} SET completed_at = completed_at - 3456000000"  # noqa: S608  (40 days in ms)
        )

    database.write(date_back)
    assert count(database, workflows_of(database)) == 1
    database.close()


def workflows_of(database: Database) -> str:
    """Name the workflow engine's own table."""
    return "dbos.workflow_status" if database.is_shared else "workflow_status"


def count(database: Database, table: str) -> int:
    return int(
        database.read(
            lambda connection: connection.exec_driver_sql(
                f"SELECT count(*) FROM {table}"  # noqa: S608  (ours)
            ).scalar_one()
        )
    )
