"""Requests per second of the API, beside a bare grpc.aio handler in the same run.

    uv run benchmarks/api.py [--images N] [--seconds S] [--rounds N] [--callers N] [--only WORD]

A real server in a process of its own, with TLS, and a client of `--callers` coroutines on one
channel, each of which sends its next call when the last one is answered. The bare handler is
another process with the same TLS files and uvloop; it does nothing but answer as many bytes as ours
did, to the same request. Both are asked in turn, for `--seconds` each, `--rounds` times.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import psutil
import sqlalchemy as sa
import uvloop
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageRequest,
    GetDesktopImageRequest,
    ListDesktopImagesRequest,
)
from yandex.cloud.iam.v1.iam_token_service_pb2 import CreateIamTokenRequest, CreateIamTokenResponse
from yandex.cloud.operation.operation_pb2 import Operation

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from clouddesktop.catalog import tables
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import add_folder, get_folder
from clouddesktop.client.identity import ServiceAccountKey
from clouddesktop.ids import Prefix, new_id
from clouddesktop.model.folder import Folder
from clouddesktop.model.image import ImageStatus
from parts.official import OfficialClient
from parts.server import ServerProcess

IMAGES = "/yandex.cloud.clouddesktop.v1.api.DesktopImageService"
TOKENS = "/yandex.cloud.iam.v1.IamTokenService/Create"
PAGE = 100
WARM_UP_SECONDS = 0.3
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of call: what is sent, drawn anew for each call, and what to check of an answer."""

    name: str
    path: str
    draw: Callable[[], tuple[bytes, Metadata]]
    check: Callable[[bytes], bool]


@dataclass
class Measured:
    """The calls of one kind to one server, over all rounds."""

    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    cpu_seconds: float = 0

    def add(self, latencies: list[float], *, seconds: float, cpu_seconds: float) -> None:
        self.rates.append(len(latencies) / seconds)
        self.latencies.extend(latencies)
        self.cpu_seconds += cpu_seconds

    def percentile_ms(self, percent: int) -> float:
        return statistics.quantiles(self.latencies, n=100)[percent - 1] * 1000

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def cpu_us(self) -> float:
        return self.cpu_seconds / len(self.latencies) * 1e6


def main() -> None:
    """Fill a server, ask it and the bare one in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000, help="in the folder that is listed")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--only", default="", help="kinds of calls whose names have this word")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clouddesktop-bench-") as name:
        folder = Path(name)
        (folder / "images").mkdir()
        (folder / "images" / "tiny.raw").write_bytes(b"tiny" * 1024)
        server = ServerProcess(data_dir=folder / "data", sources={"images": folder / "images"})
        server.start()
        try:
            client = OfficialClient(server.profile)
            kinds = make_kinds(client, server.data_dir, image_count=options.images)
            with bare_server(server.data_dir / "tls") as (bare, bare_process):
                assert server.process is not None
                targets = {
                    "clouddesktop": (server.ready["grpc"], psutil.Process(server.process.pid)),
                    "bare handler": (bare, bare_process),
                }
                chosen = [each for each in kinds if options.only in each.name]
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    results = runner.run(
                        measure(chosen, targets, client.root_certificates, options=options)
                    )
        finally:
            server.stop()
    print_table(results, options=options)


def make_kinds(client: OfficialClient, data_dir: Path, *, image_count: int) -> list[Kind]:
    """Fill the catalogue, and say what will be asked of it."""
    operation = client.wait(client.copy("tiny", "first").id)
    image = DesktopImage()
    assert operation.response.Unpack(image), operation
    database = Database(f"sqlite:///{data_dir / 'clouddesktop.db'}")
    small = database.write(add_small_folder, client.folder_id)
    database.write(add_images, image, folder_id=client.folder_id, count=image_count)
    database.write(add_images, image, folder_id=small, count=PAGE)
    database.close()
    jwt = ServiceAccountKey.load(data_dir / "keys" / "admin.json").sign_jwt(
        client.endpoint, now=datetime.now(tz=UTC)
    )
    create = CreateIamTokenRequest(jwt=jwt).SerializeToString()
    token = create_token(client, create)
    caller: Metadata = (("authorization", f"Bearer {token}"),)
    get = GetDesktopImageRequest(image_id=image.id).SerializeToString()
    deep = deep_page(client, half=image_count // 2)
    shallow = ListDesktopImagesRequest(folder_id=small, page_size=PAGE).SerializeToString()
    numbers = itertools.count()

    def draw_copy() -> tuple[bytes, Metadata]:
        request = CopyDesktopImageRequest(
            folder_id=client.folder_id, image_id="tiny", name=f"copy-{next(numbers)}"
        )
        return request.SerializeToString(), (*caller, ("idempotency-key", str(uuid.uuid4())))

    def is_done(answer: bytes) -> bool:
        return Operation.FromString(answer).HasField("response")

    return [
        Kind(
            name="Get",
            path=f"{IMAGES}/Get",
            draw=lambda: (get, caller),
            check=lambda answer: DesktopImage.FromString(answer) == image,
        ),
        Kind(
            name=f"List, {PAGE} of {image_count:,}",
            path=f"{IMAGES}/List",
            draw=lambda: (deep, caller),
            check=is_whole_page,
        ),
        Kind(
            name=f"List, {PAGE} of {PAGE}",
            path=f"{IMAGES}/List",
            draw=lambda: (shallow, caller),
            check=is_whole_page,
        ),
        Kind(name="Copy of known content", path=f"{IMAGES}/Copy", draw=draw_copy, check=is_done),
        Kind(
            name="CreateToken",
            path=TOKENS,
            draw=lambda: (create, ()),
            check=lambda answer: bool(CreateIamTokenResponse.FromString(answer).iam_token),
        ),
    ]


def add_small_folder(connection: sa.Connection, beside: str) -> str:
    """Add a folder to the cloud of another one."""
    folder = Folder(
        id=new_id(Prefix.FOLDER),
        cloud_id=get_folder(connection, beside).cloud_id,
        name="small",
        created_at=datetime.now(tz=UTC),
    )
    add_folder(connection, folder)
    return folder.id


def add_images(
    connection: sa.Connection, like: DesktopImage, *, folder_id: str, count: int
) -> None:
    """Add images to a folder, with a few words and labels each."""
    now = datetime.now(tz=UTC)
    connection.execute(
        sa.insert(tables.images),
        [
            {
                "id": new_id(Prefix.IMAGE),
                "folder_id": folder_id,
                "name": f"image-{number:06}",
                "description": "A desktop of the accounting department",
                "labels": {"department": "accounting", "stage": "production"},
                "status": int(ImageStatus.ACTIVE),
                "created_at": now,
                "storage_size": like.storage_size,
                "min_disk_size": like.min_disk_size,
            }
            for number in range(count)
        ],
    )


def deep_page(client: OfficialClient, *, half: int) -> bytes:
    """Make the request for a page from the middle of the folder."""
    request = ListDesktopImagesRequest(folder_id=client.folder_id, page_size=1000)
    for _ in range(half // 1000):
        request.page_token = client.images.List(request).next_page_token
    request.page_size = PAGE
    return request.SerializeToString()


def is_whole_page(answer: bytes) -> bool:
    return answer.count(b"accounting department") == PAGE


def create_token(client: OfficialClient, request: bytes) -> str:
    with client.plain_channel() as channel:
        call: Any = channel.unary_unary(TOKENS)
        return CreateIamTokenResponse.FromString(call(request)).iam_token


@contextmanager
def bare_server(tls: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run a bare handler in a process of its own, with the same certificate as ours."""
    command = [sys.executable, __file__, "--serve-bare", str(tls)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline()), psutil.Process(process.pid)
        process.terminate()


async def serve_bare(tls: Path) -> None:
    """Answer every call with as many bytes as its path ends with, until the process is ended."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            answer = bytes(int(handler_call_details.method.rpartition("/")[2]))

            async def handle(_request: bytes, _context: Any) -> bytes:
                return answer

            return grpc.unary_unary_rpc_method_handler(handle)

    key, certificate = (tls / "server.key").read_bytes(), (tls / "server.pem").read_bytes()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    await server.start()
    print(json.dumps(f"127.0.0.1:{port}"), flush=True)
    await server.wait_for_termination()


async def measure(
    kinds: list[Kind],
    targets: dict[str, tuple[str, psutil.Process]],
    root_certificates: bytes,
    *,
    options: argparse.Namespace,
) -> dict[str, dict[str, Measured]]:
    """Ask every server for every kind of call, in turn."""
    results = {kind.name: {target: Measured() for target in targets} for kind in kinds}
    credentials = grpc.ssl_channel_credentials(root_certificates)
    for kind, _ in itertools.product(kinds, range(options.rounds)):
        path = kind.path
        for target, (address, process) in targets.items():
            async with grpc.aio.secure_channel(address, credentials) as channel:
                size = await run_calls(channel, kind, path, callers=1, seconds=WARM_UP_SECONDS)
                before, started = cpu_seconds(process), time.perf_counter()
                latencies: list[float] = []
                await run_calls(
                    channel,
                    kind,
                    path,
                    callers=options.callers,
                    seconds=options.seconds,
                    latencies=latencies,
                )
                results[kind.name][target].add(
                    latencies,
                    seconds=time.perf_counter() - started,
                    cpu_seconds=cpu_seconds(process) - before,
                )
                path = f"/bare/{size}"
    return results


async def time_calls(
    channel: grpc.aio.Channel, kind: Kind, *, callers: int, seconds: float
) -> list[float]:
    """Call for some seconds, and give how many seconds each call took."""
    latencies: list[float] = []
    await run_calls(channel, kind, kind.path, callers=callers, seconds=seconds, latencies=latencies)
    return latencies


async def run_calls(
    channel: grpc.aio.Channel,
    kind: Kind,
    path: str,
    *,
    callers: int,
    seconds: float,
    latencies: list[float] | None = None,
) -> int:
    """Call for some seconds, note how long each call took, and give the last answer's size."""
    call: Any = channel.unary_unary(path)
    answer = b""
    end = time.perf_counter() + seconds

    async def call_on() -> None:
        nonlocal answer
        while (started := time.perf_counter()) < end:
            request, metadata = kind.draw()
            answer = await call(request, metadata=metadata)
            if latencies is not None:
                latencies.append(time.perf_counter() - started)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(call_on())
    assert path.startswith("/bare/") or kind.check(answer), f"{kind.name}: a wrong answer"
    return len(answer)


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def print_table(results: dict[str, dict[str, Measured]], *, options: argparse.Namespace) -> None:
    """Print both servers' figures side by side."""
    print(f"{options.callers} callers, {options.rounds} rounds of {options.seconds:g} s\n")
    print("| call | requests/s | / bare | p50 ms | p99 ms | CPU µs | bare: requests/s |", end="")
    print(" p50 ms | p99 ms | CPU µs |\n|---|---|---|---|---|---|---|---|---|---|")
    for name, measured in results.items():
        ours, bare = measured["clouddesktop"], measured["bare handler"]
        print(
            f"| {name} | {ours.rate:,.0f} | {ours.rate / bare.rate:.2f}"
            f" | {ours.percentile_ms(50):.1f} | {ours.percentile_ms(99):.1f} | {ours.cpu_us:.0f}"
            f" | {bare.rate:,.0f} | {bare.percentile_ms(50):.1f} | {bare.percentile_ms(99):.1f}"
            f" | {bare.cpu_us:.0f} |"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve-bare"]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as bare_runner:
            bare_runner.run(serve_bare(Path(sys.argv[2])))
    else:
        main()
