"""Copies of known content, many at a time, and the server killed while it commits them."""

from __future__ import annotations

import random
import secrets
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import grpc
import pytest
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageRequest,
    GetDesktopImageRequest,
    ListDesktopImagesRequest,
)
from yandex.cloud.operation.operation_pb2 import Operation

from parts.disks import random_bytes
from parts.official import OfficialClient
from parts.server import ServerProcess

KILLS = 3
CALLERS = 24


class Copying:
    """Callers that copy until the server is gone; each of their requests has a key of its own."""

    def __init__(self, client: OfficialClient, round_number: int) -> None:
        self.client = client
        self.requests: dict[str, CopyDesktopImageRequest] = {}
        self.acknowledged: dict[str, Operation] = {}
        self.is_under_way = Event()
        self._round = round_number

    def copy(self, key: str) -> Operation:
        operation: Operation = self.client.images.Copy(
            self.requests[key], metadata=(("idempotency-key", key),), timeout=60
        )
        return operation

    def copy_on(self, caller: int) -> None:
        number = 0
        while True:
            number += 1
            key = str(uuid.uuid4())
            self.requests[key] = CopyDesktopImageRequest(
                folder_id=self.client.folder_id,
                image_id="disk",
                name=f"copy-{self._round}-{caller}-{number}",
            )
            try:
                self.acknowledged[key] = self.copy(key)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                return
            self.is_under_way.set()


@pytest.mark.crash
def test_what_was_acknowledged_is_there_after_a_kill(
    make_server: Callable[..., ServerProcess], sources_dir: Path
) -> None:
    """Every answer stands, and every request sent again gives its one operation and one image."""
    seed = secrets.randbelow(1 << 32)
    print(f"seed {seed}")  # noqa: T201  (shown when the test fails)
    moments = random.Random(seed)  # noqa: S311  (moments, no secrets)
    (sources_dir / "disk.raw").write_bytes(random_bytes(1 << 20, seed=1))
    server = make_server()
    server.start()
    client = OfficialClient(server.profile)
    assert client.wait(client.copy("disk", "first").id).HasField("response")
    expected = {"first"}
    for round_number in range(KILLS):
        copying = Copying(client, round_number)
        with ThreadPoolExecutor(CALLERS) as threads:
            callers = [threads.submit(copying.copy_on, each) for each in range(CALLERS)]
            assert copying.is_under_way.wait(60)
            time.sleep(moments.uniform(0.05, 0.5))  # the moment of the kill
            server.kill()
            for each in callers:
                each.result(60)
        server.start()
        client = copying.client = OfficialClient(server.profile)
        check_acknowledged(copying)
        expected |= {request.name for request in copying.requests.values()}
        for key in copying.requests:
            repeated = copying.copy(key)
            assert repeated.id == copying.acknowledged.get(key, repeated).id
    assert names_of(client) == sorted(expected)
    assert server.stop() == 0


def check_acknowledged(copying: Copying) -> None:
    """The operation is as it was told, and so is its image."""
    assert copying.acknowledged
    for operation in copying.acknowledged.values():
        assert copying.client.get_operation(operation.id) == operation
        told = DesktopImage()
        assert operation.response.Unpack(told)
        found = copying.client.images.Get(GetDesktopImageRequest(image_id=told.id))
        assert found == told
        assert found.status == DesktopImage.ACTIVE


def names_of(client: OfficialClient) -> list[str]:
    names: list[str] = []
    request = ListDesktopImagesRequest(folder_id=client.folder_id, page_size=1000)
    while True:
        page = client.images.List(request)
        names.extend(each.name for each in page.desktop_images)
        if not page.next_page_token:
            return sorted(names)
        request.page_token = page.next_page_token
