"""What clients meet while the database takes what it is sent and says nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import ListDesktopImagesRequest

from parts.cluster import Cluster
from parts.official import OfficialClient, refused
from parts.postgres import Postgres
from parts.waiting import wait_for

CALLS = 60
LONGEST_SECONDS = 60
"""One call finds out in some 20 s, and the others do not wait in turn."""


def test_calls_are_answered_while_the_database_hangs(postgres: Postgres, cluster: Cluster) -> None:
    """All of them, with when to come again; the server is alive, and says so all the while."""
    server, client = cluster.start_server()
    listed = ListDesktopImagesRequest(folder_id=client.folder_id)
    client.images.List(listed)
    health: Any = HealthStub(client.plain_channel())
    with postgres.hung(), ThreadPoolExecutor(CALLS) as threads:
        refusals = [
            threads.submit(refused, lambda: client.images.List(listed, timeout=LONGEST_SECONDS))
            for _ in range(CALLS)
        ]
        while not all(each.done() for each in refusals):
            answer = health.Check(HealthCheckRequest(), timeout=5)
            assert answer.status == HealthCheckResponse.SERVING
        for each in refusals:
            refusal = each.result()
            assert refusal.code is grpc.StatusCode.UNAVAILABLE
            assert refusal.get_detail(RetryInfo).retry_delay.ToMilliseconds() > 0
    wait_for(lambda: is_listed(client, listed), "it answers again")
    assert server.stop() == 0


def is_listed(client: OfficialClient, request: ListDesktopImagesRequest) -> bool:
    try:
        client.images.List(request)
    except grpc.RpcError:
        return False
    return True
