"""One request of many clients at the same time, all with one idempotency key."""

from __future__ import annotations

import itertools
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageRequest,
    DeleteDesktopImageRequest,
    ListDesktopImagesRequest,
)
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2_grpc import DesktopImageServiceStub
from yandex.cloud.operation.operation_pb2 import Operation

from parts.cluster import Cluster
from parts.disks import MIB, random_bytes, write_raw
from parts.official import OfficialClient
from parts.rest import RestClient
from parts.server import ServerProcess

CLIENTS = 64
Answer = str | grpc.StatusCode
"""An operation's id, or how the call was refused."""


class Crowd:
    """Clients with a connection each, who call as one when all of them are connected.

    They take turns among the servers; the first one's token is good for all.
    """

    def __init__(self, server: ServerProcess, *others: ServerProcess) -> None:
        self.client = OfficialClient(server.profile)
        self._endpoints = [each.ready["grpc"] for each in (server, *others)]
        self._authorities = b"".join(
            (each.data_dir / "tls" / "ca.pem").read_bytes() for each in (server, *others)
        )
        with RestClient(server.profile) as rest:
            self._authorization = ("authorization", f"Bearer {rest.token}")
        self._barrier = threading.Barrier(CLIENTS, timeout=60)

    def copy(self, request: CopyDesktopImageRequest, *, key: str = "") -> list[Answer]:
        """Send it from everybody, with keys of their own if none is given."""
        with ThreadPoolExecutor(CLIENTS) as pool:
            keys = [key or str(uuid.uuid4()) for _ in range(CLIENTS)]
            calls = [
                pool.submit(self._copy_alone, request, each, endpoint)
                for each, endpoint in zip(keys, itertools.cycle(self._endpoints), strict=False)
            ]
        return [call.result() for call in calls]

    def _copy_alone(self, request: CopyDesktopImageRequest, key: str, endpoint: str) -> Answer:
        credentials = grpc.ssl_channel_credentials(self._authorities)
        own_connection = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.secure_channel(endpoint, credentials, own_connection) as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
            self._barrier.wait()
            metadata = (self._authorization, ("idempotency-key", key))
            try:
                answer: Operation = DesktopImageServiceStub(channel).Copy(
                    request, metadata=metadata, timeout=60
                )
            except grpc.RpcError as error:
                code: grpc.StatusCode = error.code()
                return code
            return answer.id


def copy_as_one(crowd: Crowd, request: CopyDesktopImageRequest, *, key: str) -> str:
    """Everybody must get the same operation, which must end well."""
    answers = crowd.copy(request, key=key)
    assert answers == [answers[0]] * CLIENTS
    assert isinstance(answers[0], str), answers[0]
    assert crowd.client.wait(answers[0]).WhichOneof("result") == "response"
    return answers[0]


@pytest.mark.proves("idempotency.crowd", "idempotency.repeat", of=["DesktopImageService/Copy"])
def test_a_crowd_with_one_key_makes_one_image(server: ServerProcess, sources_dir: Path) -> None:
    """All get one operation: of new content, of known content, and of an image that is gone."""
    write_raw(sources_dir / "golden.raw", size=4 * MIB, data={0: random_bytes(MIB, seed=1)})
    check_one_key(Crowd(server))


def test_a_crowd_with_one_key_at_many_servers_makes_one_image(cluster: Cluster) -> None:
    """The same, where the clients are spread over three servers and the copies run on a worker."""
    source = cluster.sources_dir / "golden.raw"
    write_raw(source, size=4 * MIB, data={0: random_bytes(MIB, seed=1)})
    servers = [cluster.make_server() for _ in range(3)]
    for each in servers:
        each.start()
    cluster.make_worker().start()
    check_one_key(Crowd(*servers))


def check_one_key(crowd: Crowd) -> None:
    """A crowd that shares a key gets one operation, whatever has become of the image since."""
    client, folder_id = crowd.client, crowd.client.folder_id
    new = CopyDesktopImageRequest(folder_id=folder_id, image_id="golden", name="new content")
    known = CopyDesktopImageRequest(folder_id=folder_id, image_id="golden", name="known content")
    copy_as_one(crowd, new, key=str(uuid.uuid4()))
    key = str(uuid.uuid4())
    operation_id = copy_as_one(crowd, known, key=key)
    listed = client.images.List(ListDesktopImagesRequest(folder_id=folder_id)).desktop_images
    assert sorted(each.name for each in listed) == ["known content", "new content"]
    for image in listed:
        client.wait(client.images.Delete(DeleteDesktopImageRequest(image_id=image.id)).id)
    assert copy_as_one(crowd, known, key=key) == operation_id
    assert not client.images.List(ListDesktopImagesRequest(folder_id=folder_id)).desktop_images


@pytest.mark.proves("copy.name")
def test_a_crowd_with_many_keys_makes_one_image_of_a_name(
    server: ServerProcess, sources_dir: Path
) -> None:
    """The name is taken once; everybody else is told so and nothing of theirs is left."""
    write_raw(sources_dir / "golden.raw", size=4 * MIB, data={0: random_bytes(MIB, seed=1)})
    crowd = Crowd(server)
    request = CopyDesktopImageRequest(
        folder_id=crowd.client.folder_id, image_id="golden", name="wanted by many"
    )
    answers = crowd.copy(request)
    codes = [each for each in answers if isinstance(each, grpc.StatusCode)]
    assert codes == [grpc.StatusCode.ALREADY_EXISTS] * (CLIENTS - 1)
    (operation_id,) = [each for each in answers if isinstance(each, str)]
    assert crowd.client.wait(operation_id).WhichOneof("result") == "response"
    listed = crowd.client.images.List(ListDesktopImagesRequest(folder_id=request.folder_id))
    assert [each.name for each in listed.desktop_images] == [request.name]
