"""Requests per second of List: a page of 100 from the middle of folders of several sizes.

    uv run benchmarks/listing.py [--seconds S] [--rounds N] [--callers N] [--sizes N,N,N]

A real server in a process of its own, with TLS, one folder for each size, and every order by one
field or by none. The folders are asked in turn, for `--seconds` each, `--rounds` times; what counts
is the last one beside the first.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import sqlalchemy as sa
import uvloop
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import ListDesktopImagesRequest
from yandex.cloud.iam.v1.iam_token_service_pb2 import CreateIamTokenRequest

sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parents[1] / "tests"))

from benchmarks.api import (
    IMAGES,
    PAGE,
    Kind,
    Measured,
    create_token,
    is_whole_page,
    run_calls,
    time_calls,
)

from clouddesktop.catalog import tables
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import add_folder, get_folder
from clouddesktop.client.identity import ServiceAccountKey
from clouddesktop.ids import Prefix, new_id
from clouddesktop.model.folder import Folder
from clouddesktop.model.image import ImageStatus
from parts.official import OfficialClient
from parts.server import ServerProcess

ORDERS = [
    "",
    *(f"{field}{way}" for field in ("name", "created_at", "status") for way in ("", " desc")),
]
BY_NAME = "name = …"
MIDDLE_PAGE = 1000
WARM_UP_SECONDS = 0.2
Results = dict[str, dict[int, Measured]]


def main() -> None:
    """Fill a server, ask it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.7)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--sizes", default="1000,10000,100000")
    options = parser.parse_args()
    sizes = [int(each) for each in options.sizes.split(",")]
    with tempfile.TemporaryDirectory(prefix="clouddesktop-bench-") as name:
        server = ServerProcess(data_dir=Path(name) / "data", sources={})
        server.start()
        try:
            client = OfficialClient(server.profile)
            folders = dict(zip(sizes, fill(server.data_dir, client.folder_id, sizes), strict=True))
            key = ServiceAccountKey.load(server.data_dir / "keys" / "admin.json")
            jwt = key.sign_jwt(client.endpoint, now=datetime.now(tz=UTC))
            token = create_token(client, CreateIamTokenRequest(jwt=jwt).SerializeToString())
            kinds = {
                (order, size): make_kind(client, folder_id, order, size=size, token=token)
                for order in [*ORDERS, BY_NAME]
                for size, folder_id in folders.items()
            }
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                results = runner.run(measure(kinds, client, options=options))
        finally:
            server.stop()
    print_table(results, sizes=sizes, options=options)


def fill(data_dir: Path, beside: str, sizes: list[int]) -> list[str]:
    """Make a folder of images for each size."""
    database = Database(f"sqlite:///{data_dir / 'clouddesktop.db'}")

    def add(connection: sa.Connection) -> Iterator[str]:
        cloud_id = get_folder(connection, beside).cloud_id
        now = datetime.now(tz=UTC)
        for size in sizes:
            folder = Folder(
                id=new_id(Prefix.FOLDER), cloud_id=cloud_id, name=f"of-{size}", created_at=now
            )
            add_folder(connection, folder)
            connection.execute(sa.insert(tables.images), list(iter_rows(folder.id, size, now)))
            yield folder.id

    folder_ids = database.write(lambda connection: list(add(connection)))
    database.close()
    return folder_ids


def iter_rows(folder_id: str, count: int, now: datetime) -> Iterator[dict[str, object]]:
    """Make images whose ids, names and moments are in orders of their own."""
    for number in range(count):
        yield {
            "id": new_id(Prefix.IMAGE),
            "folder_id": folder_id,
            "name": f"image-{number * 7919 % count:06}-{number:06}",
            "description": "A desktop of the accounting department",
            "labels": {"department": "accounting", "stage": "production"},
            "status": int(ImageStatus.ACTIVE),
            "created_at": now + timedelta(seconds=number),
            "storage_size": 1 << 30,
            "min_disk_size": 8 << 30,
        }


def make_kind(client: OfficialClient, folder_id: str, order: str, *, size: int, token: str) -> Kind:
    """Say what is asked: the page in the middle of a list, or an image by its name."""
    request = ListDesktopImagesRequest(folder_id=folder_id, page_size=MIDDLE_PAGE)
    if order == BY_NAME:
        request.filter, request.page_size = 'name="image-000000-000000"', 1
    else:
        request.order_by = order
        request.page_size = min(MIDDLE_PAGE, size // 2)
        for _ in range(size // 2 // request.page_size):
            request.page_token = client.images.List(request).next_page_token
        request.page_size = PAGE
    data = request.SerializeToString()
    caller = (("authorization", f"Bearer {token}"),)
    return Kind(
        name=f"{order or 'id'}, {size}",
        path=f"{IMAGES}/List",
        draw=lambda: (data, caller),
        check=is_whole_page if order != BY_NAME else lambda answer: b"image-000000" in answer,
    )


async def measure(
    kinds: dict[tuple[str, int], Kind], client: OfficialClient, *, options: argparse.Namespace
) -> Results:
    """Ask for each page in turn."""
    results: Results = {order: {} for order, _ in kinds}
    credentials = grpc.ssl_channel_credentials(client.root_certificates)
    async with grpc.aio.secure_channel(client.endpoint, credentials) as channel:
        for kind in kinds.values():
            await run_calls(channel, kind, kind.path, callers=1, seconds=WARM_UP_SECONDS / 4)
        for _, ((order, size), kind) in itertools.product(range(options.rounds), kinds.items()):
            latencies = await time_calls(
                channel, kind, callers=options.callers, seconds=options.seconds
            )
            measured = results[order].setdefault(size, Measured())
            measured.add(latencies, seconds=options.seconds, cpu_seconds=0)
    return results


def print_table(results: Results, *, sizes: list[int], options: argparse.Namespace) -> None:
    """Print requests/s by size, and how the largest folder compares with the smallest."""
    print(f"{options.callers} callers, {options.rounds} rounds of {options.seconds:g} s\n")
    print(
        "| order_by |" + "".join(f" of {size:,} |" for size in sizes) + " ratio | p50 ms | p99 ms |"
    )
    print("|---|" + "---|" * (len(sizes) + 3))
    for order, by_size in results.items():
        rates = [by_size[size].rate for size in sizes]
        largest = by_size[sizes[-1]]
        print(
            f"| {order or '(id)'} |"
            + "".join(f" {rate:,.0f} |" for rate in rates)
            + f" {rates[-1] / rates[0]:.2f} | {largest.percentile_ms(50):.1f}"
            f" | {largest.percentile_ms(99):.1f} |"
        )


if __name__ == "__main__":
    main()
