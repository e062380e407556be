"""Rate limits and the pruning of operations, as the settings of a real server say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import sqlalchemy as sa
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    GetDesktopImageRequest,
    ListDesktopImagesRequest,
)

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
    database = Database(f"sqlite:///{server.data_dir / 'clouddesktop.db'}")
    for table in ("workflow_status", "idempotency_keys WHERE created_at < date('now', '-2 days')"):
        assert count(database, table) == 0, table
    database.close()


def let_days_pass(server: ServerProcess) -> None:
    """Date everything back, as if the server had stood still for 40 days."""
    database = Database(f"sqlite:///{server.data_dir / 'clouddesktop.db'}")

    def date_back(connection: sa.Connection) -> None:
        for table, column in (("operations", "modified_at"), ("idempotency_keys", "created_at")):
            connection.exec_driver_sql(
                f"UPDATE {table} SET {column} = datetime({column}, '-40 days')"  # noqa: S608  (ours)
            )
        connection.exec_driver_sql(
            "UPDATE workflow_status SET completed_at = completed_at - 40 * 86400000"
        )

    database.write(date_back)
    assert count(database, "workflow_status") == 1
    database.close()


def count(database: Database, table: str) -> int:
    return int(
        database.read(
            lambda connection: connection.exec_driver_sql(
                f"SELECT count(*) FROM {table}"  # noqa: S608  (ours)
            ).scalar_one()
        )
    )
