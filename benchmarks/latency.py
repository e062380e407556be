"""How long a Get takes while two copies of new content run at full speed. See README.md here.

    uv run benchmarks/latency.py [--rounds N] [--seconds S] [--callers N] [--size-mib N]

In each round, a new installation of each kind: a server on SQLite with its copies in its own
process, and one on PostgreSQL with a worker beside it. Some callers, each of which sends its next
Get when the last one is answered, measure it idle and then while both copies run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import grpc
import uvloop
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import GetDesktopImageRequest
from yandex.cloud.iam.v1.iam_token_service_pb2 import CreateIamTokenRequest
from yandex.cloud.operation.operation_pb2 import Operation

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from benchmarks.api import IMAGES, WARM_UP_SECONDS, Kind, create_token, run_calls, time_calls

from clouddesktop.client.identity import ServiceAccountKey
from parts.official import OfficialClient
from parts.postgres import Postgres, running_postgres
from parts.server import ServerProcess

MIB = 1 << 20
BLOCK = 256 << 10
DISKS = ("first", "second")
SLICE_SECONDS = 0.5


@dataclass
class Measured:
    """Seconds that calls took, of one kind of installation, idle and busy, a list per round."""

    idle: list[list[float]] = field(default_factory=list)
    busy: list[list[float]] = field(default_factory=list)


def main() -> None:
    """Measure both kinds of installation in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--size-mib", type=int, default=2000, help="of each of the two disks")
    parser.add_argument("--only", default="", help="kinds of installation with this word")
    options = parser.parse_args()
    results: dict[str, Measured] = {}
    with (
        tempfile.TemporaryDirectory(prefix="clouddesktop-bench-") as name,
        running_postgres() as postgres,
    ):
        folder = Path(name)
        make_disks(folder / "images", size=options.size_mib * MIB)
        for number in range(options.rounds):
            for kind in ("SQLite, one process", "PostgreSQL, a worker beside"):
                if options.only not in kind:
                    continue
                print(f"round {number + 1} of {options.rounds}: {kind}", file=sys.stderr)
                database = postgres if kind.startswith("PostgreSQL") else None
                with installation(folder, database) as server:
                    measure(server, results.setdefault(kind, Measured()), options=options)
    print_table(results, options=options)


def make_disks(folder: Path, *, size: int) -> None:
    """Make a small disk, and two large ones of this machine's files, with little in common."""
    folder.mkdir()
    (folder / "tiny.raw").write_bytes(b"tiny" * 1024)
    paths = [folder / f"{name}.raw" for name in DISKS]
    blocks = iter_blocks(Path("/usr"))
    with paths[0].open("wb") as first, paths[1].open("wb") as second:
        for disk in cycle((first, second)):
            block = next(blocks, b"")
            if not block or second.tell() >= size:
                return
            disk.write(block)


def iter_blocks(root: Path) -> Iterator[bytes]:
    """Read all files as one stream of whole blocks."""
    block = b""
    for parent, _, names in os.walk(root):
        for path in (Path(parent) / name for name in names):
            if path.is_symlink() or not path.is_file():
                continue
            with path.open("rb") as source:
                while data := source.read(BLOCK - len(block)):
                    block += data
                    if len(block) == BLOCK:
                        yield block
                        block = b""


@contextmanager
def installation(folder: Path, postgres: Postgres | None) -> Iterator[ServerProcess]:
    """Start a server on an empty store; everything of it goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="server-", dir=folder) as name:
        server = ServerProcess(
            data_dir=Path(name) / "data",
            sources={"images": folder / "images"},
            options=() if postgres is None else ("--database", postgres.make_database()),
        )
        server.start()
        try:
            yield server
        finally:
            server.stop()


def measure(server: ServerProcess, measured: Measured, *, options: argparse.Namespace) -> None:
    """Ask one server idle, then while it copies."""
    client = OfficialClient(server.profile)
    image = DesktopImage()
    assert client.wait(client.copy("tiny", "tiny").id).response.Unpack(image)
    jwt = ServiceAccountKey.load(server.data_dir / "keys" / "admin.json").sign_jwt(
        client.endpoint, now=datetime.now(tz=UTC)
    )
    token = create_token(client, CreateIamTokenRequest(jwt=jwt).SerializeToString())
    request = GetDesktopImageRequest(image_id=image.id).SerializeToString()
    get = Kind(
        name="Get",
        path=f"{IMAGES}/Get",
        draw=lambda: (request, (("authorization", f"Bearer {token}"),)),
        check=lambda answer: DesktopImage.FromString(answer).id == image.id,
    )

    async def ask() -> None:
        credentials = grpc.ssl_channel_credentials(client.root_certificates)
        async with grpc.aio.secure_channel(client.endpoint, credentials) as channel:
            await run_calls(channel, get, get.path, callers=1, seconds=WARM_UP_SECONDS)
            busy: list[float] = []
            idle = await time_calls(channel, get, callers=options.callers, seconds=options.seconds)
            copies = [await asyncio.to_thread(client.copy, disk, disk) for disk in DISKS]
            for _ in range(int(options.seconds / SLICE_SECONDS)):
                now = await time_calls(channel, get, callers=options.callers, seconds=SLICE_SECONDS)
                if await asyncio.to_thread(any_done, client, copies):
                    break
                busy += now
        if len(busy) < 100:
            raise RuntimeError("The copies were done too soon: give a larger --size-mib.")
        measured.idle.append(idle)
        measured.busy.append(busy)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask())


def any_done(client: OfficialClient, copies: list[Operation]) -> bool:
    """Tell whether a copy is over; one that failed ends the benchmark."""
    now = [client.get_operation(each.id) for each in copies]
    assert not any(each.HasField("error") for each in now), now
    return any(each.done for each in now)


def print_table(results: dict[str, Measured], *, options: argparse.Namespace) -> None:
    """Print p50 and p99 of all rounds, and the ratio of each round."""
    print(f"{options.callers} callers, {options.rounds} rounds of {options.seconds:g} s\n")
    print(
        "| installation | idle p50 ms | p99 ms | busy p50 ms | p99 ms | busy / idle p99 |", end=""
    )
    print(" of each round |\n|---|---|---|---|---|---|---|")
    for name, measured in results.items():
        rounds = [
            percentile_ms(busy, 99) / percentile_ms(idle, 99)
            for idle, busy in zip(measured.idle, measured.busy, strict=True)
        ]
        cells = [
            f"{statistics.median(percentile_ms(each, percent) for each in calls):.1f}"
            for calls in (measured.idle, measured.busy)
            for percent in (50, 99)
        ]
        each_round = ", ".join(f"{ratio:.1f}" for ratio in rounds)
        print(f"| {name} | {' | '.join(cells)} | {statistics.median(rounds):.1f} | {each_round} |")


def percentile_ms(latencies: list[float], percent: int) -> float:
    return statistics.quantiles(latencies, n=100)[percent - 1] * 1000


if __name__ == "__main__":
    main()
