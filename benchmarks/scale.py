"""What calls take with 1,000 and with 1,000,000 images on PostgreSQL, in the same run.

    uv run benchmarks/scale.py [--images N] [--operations N] [--folders N] [--rounds N]
                               [--seconds S] [--callers N] [--keep DIR] [--plans | --retention]

One PostgreSQL with two databases, each with a real API server of its own (`serve --workers 0`). The
servers are asked in turn, for a short while each, so that what else the machine does befalls both.
`--keep` leaves the filled databases in a folder, and uses those that are there. `--plans` prints
how PostgreSQL runs the frequent queries, as docs/scale.md has it. `--retention` asks the large
server alone, idle and while old operations are pruned without a pause.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import psycopg
import uvloop
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageRequest,
    GetDesktopImageRequest,
    ListDesktopImagesRequest,
)
from yandex.cloud.iam.v1.iam_token_service_pb2 import CreateIamTokenRequest
from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.operation.operation_service_pb2 import GetOperationRequest

sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parents[1] / "tests"))

from benchmarks.api import (
    IMAGES,
    PAGE,
    Kind,
    Measured,
    Metadata,
    create_token,
    run_calls,
    time_calls,
)

from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.pruning import PRUNED_AT_ONCE, prune_operations
from clouddesktop.client.identity import ServiceAccountKey
from clouddesktop.workflow.queue import WorkflowQueue
from parts.official import OfficialClient
from parts.plans import (
    calls_queries,
    explained,
    find_known,
    quota_queries,
    whole_queries,
    workers_queries,
)
from parts.postgres import Postgres, find_programs
from parts.rows import Shape, fill, make_templates
from parts.server import ServerProcess

OPERATIONS = "/yandex.cloud.operation.OperationService/Get"
SMALL = Shape(images=1_000, operations=10_000, folders=4)
BESIDE_PRUNING = ("Get", "Copy of known content")
WARM_UP_SECONDS = 3.0
SETTINGS = {"shared_buffers": "2GB", "max_wal_size": "8GB", "random_page_cost": "1.1"}


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A server with its database."""

    shape: Shape
    server: ServerProcess
    url: str


def main() -> None:
    """Fill two catalogues, ask both in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--operations", type=int, default=10_000_000)
    parser.add_argument("--folders", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--callers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a folder for the databases, which stays")
    parser.add_argument("--plans", action="store_true", help="print plans, and ask nothing")
    parser.add_argument("--retention", action="store_true", help="idle beside pruning, no sizes")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="scale-"))
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)  # PostgreSQL's user has to get through
    large = Shape(images=options.images, operations=options.operations, folders=options.folders)
    postgres = Postgres(folder=folder / "pg", programs=find_programs(), settings=SETTINGS)
    try:
        start_postgres(postgres)
        installations = [
            open_installation(postgres, folder, name, shape)
            for name, shape in (("small", SMALL), ("large", large))
        ]
        if options.plans:
            print_plans(installations[-1].url)
            print_sizes(installations[-1].url)
        elif options.retention:
            run([installations[-1]] * 2, options)
        else:
            run(installations, options)
    finally:
        postgres.crash()
        if options.keep is None:
            shutil.rmtree(folder)


def print_now(text: str) -> None:
    print(text, flush=True)


def start_postgres(postgres: Postgres) -> None:
    """Start it, for the first time or again."""
    if postgres.folder.exists():
        postgres.resume()
    else:
        postgres.folder.mkdir()
        postgres.start()


def open_installation(postgres: Postgres, folder: Path, name: str, shape: Shape) -> Installation:
    """Make the database, and fill it, unless it is there."""
    url = f"postgresql://{postgres.user}@/{name}?host={postgres.folder}"
    sources = folder / "sources"
    server = ServerProcess(
        data_dir=folder / name,
        sources={"images": sources},
        options=("--database", url, "--workers", "0"),
    )
    if not (folder / f"{name}.filled").exists():
        with postgres.connect(autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        fill(url, shape, make_templates(server), tell=print_now)
        (folder / f"{name}.filled").touch()
    return Installation(shape=shape, server=server, url=url)


def run(installations: list[Installation], options: argparse.Namespace) -> None:
    """Ask the servers in turn."""
    servers = list({id(each.server): each.server for each in installations}.values())
    for server in servers:
        server.start()
    pruner = Pruner(installations[-1].url) if options.retention else None
    try:
        clients = [OfficialClient(each.server.profile) for each in installations]
        kinds = [
            make_kinds(each, client) for each, client in zip(installations, clients, strict=True)
        ]
        if pruner:  # of the rest, some would be asked for what has been pruned
            kinds = [[each for each in some if each.name in BESIDE_PRUNING] for some in kinds]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            results = runner.run(measure(kinds, clients, options, pruner))
    finally:
        for server in servers:
            server.stop()
    if pruner is None:
        print_table(results, [f"{each.shape.images:,}" for each in installations], options)
    else:
        print_table(results, ["idle", "pruning"], options)
        pruner.close()
    print_sizes(installations[-1].url)


class Pruner:
    """Prunes old operations in a thread, one batch after the other, as a worker does each second.

    It does not wait in between: what is measured is the worst that a worker could do.
    """

    def __init__(self, url: str) -> None:
        self._database, self._queue = Database(url), WorkflowQueue(database_url=url)
        self._queue.open()
        self._seconds: list[float] = []
        self._pruned = 0

    @contextmanager
    def working(self) -> Iterator[None]:
        """Prune while the context lasts."""
        ended = threading.Event()

        def prune() -> None:
            due = datetime.now(tz=UTC) - timedelta(days=30)
            while not ended.is_set():
                begin = time.perf_counter()
                pruned = self._database.write(prune_operations, ended_before=due, keys_before=due)
                self._seconds.append(time.perf_counter() - begin)
                self._queue.prune(due, at_once=PRUNED_AT_ONCE)
                self._pruned += pruned

        thread = threading.Thread(target=prune)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def close(self) -> None:
        """Say what was done."""
        batches = sorted(self._seconds)
        print(
            f"\n{self._pruned:,} operations pruned in {len(batches)} batches; a batch took"
            f" {batches[len(batches) // 2] * 1000:.0f} ms in the middle,"
            f" {batches[-1] * 1000:.0f} ms at most"
        )
        self._queue.close()
        self._database.close()


def make_kinds(installation: Installation, client: OfficialClient) -> list[Kind]:
    """Say what is asked."""
    with psycopg.connect(installation.url) as connection:

        def column(query: str) -> list[str]:
            return [row[0] for row in connection.execute(query)]

        connection.execute("SELECT setseed(0.5)")
        image_ids = column("SELECT id FROM images ORDER BY random() LIMIT 5000")
        operation_ids = column(
            "SELECT id FROM operations TABLESAMPLE SYSTEM (1) UNION ALL"
            " (SELECT id FROM operations LIMIT 100) LIMIT 50000"
        )
        by_size = column(
            "SELECT folder_id FROM images GROUP BY 1 HAVING count(*) >= 200 ORDER BY count(*) DESC"
        )
        half = connection.execute(
            "SELECT count(*) / 2 FROM images WHERE folder_id = %s", (by_size[0],)
        ).fetchone()
    assert half
    key = ServiceAccountKey.load(installation.server.data_dir / "keys" / "admin.json")
    jwt = key.sign_jwt(client.endpoint, now=datetime.now(tz=UTC))
    token = create_token(client, CreateIamTokenRequest(jwt=jwt).SerializeToString())
    caller: Metadata = (("authorization", f"Bearer {token}"),)
    unlike = 'name NOT IN ("image-1", "image-2")'
    deep, filtered = (
        deep_page(client, by_size[0], rows=half[0], filter_text=text) for text in ("", unlike)
    )
    dice = random.Random(1)  # noqa: S311  (which rows to ask for)
    batch = uuid.uuid4().hex[:8]
    numbers = itertools.count()

    def draw_copy() -> tuple[bytes, Metadata]:
        request = CopyDesktopImageRequest(
            folder_id=dice.choice(by_size), image_id="tiny", name=f"copy-{batch}-{next(numbers)}"
        )
        return request.SerializeToString(), (*caller, ("idempotency-key", str(uuid.uuid4())))

    def drawn(make: Callable[[], bytes]) -> Callable[[], tuple[bytes, Metadata]]:
        return lambda: (make(), caller)

    def list_first() -> bytes:
        return ListDesktopImagesRequest(
            folder_id=dice.choice(by_size), page_size=PAGE
        ).SerializeToString()

    def get_image() -> bytes:
        return GetDesktopImageRequest(image_id=dice.choice(image_ids)).SerializeToString()

    def get_operation() -> bytes:
        return GetOperationRequest(operation_id=dice.choice(operation_ids)).SerializeToString()

    return [
        Kind(name="Get", path=f"{IMAGES}/Get", draw=drawn(get_image), check=is_image),
        Kind(name="List, first page", path=f"{IMAGES}/List", draw=drawn(list_first), check=is_page),
        Kind(
            name="List, page in the middle",
            path=f"{IMAGES}/List",
            draw=drawn(lambda: deep),
            check=is_page,
        ),
        Kind(
            name="List, the same with a filter",
            path=f"{IMAGES}/List",
            draw=drawn(lambda: filtered),
            check=is_page,
        ),
        Kind(name="Copy of known content", path=f"{IMAGES}/Copy", draw=draw_copy, check=is_done),
        Kind(name="Operation Get", path=OPERATIONS, draw=drawn(get_operation), check=is_done),
    ]


def deep_page(client: OfficialClient, folder_id: str, *, rows: int, filter_text: str) -> bytes:
    """Make the request for the page behind so many rows."""
    request = ListDesktopImagesRequest(
        folder_id=folder_id, filter=filter_text, page_size=min(rows, 1000)
    )
    for _ in range(rows // request.page_size):
        request.page_token = client.images.List(request).next_page_token
    request.page_size = PAGE
    return request.SerializeToString()


def is_image(answer: bytes) -> bool:
    return bool(DesktopImage.FromString(answer).id)


def is_page(answer: bytes) -> bool:
    return answer.count(b"ACTIVE") == PAGE or answer.count(b"b1g") >= PAGE


def is_done(answer: bytes) -> bool:
    return Operation.FromString(answer).HasField("response")


async def measure(
    kinds: list[list[Kind]],
    clients: list[OfficialClient],
    options: argparse.Namespace,
    pruner: Pruner | None,
) -> dict[str, list[Measured]]:
    """Ask both for each kind of call, in turn; the second while `pruner` works, if there is one."""
    results = {kind.name: [Measured() for _ in kinds] for kind in kinds[0]}
    channels = [
        grpc.aio.secure_channel(
            client.endpoint, grpc.ssl_channel_credentials(client.root_certificates)
        )
        for client in clients
    ]
    for of_server, channel in zip(kinds, channels, strict=True):
        for kind in of_server:
            await run_calls(channel, kind, kind.path, callers=1, seconds=WARM_UP_SECONDS)
    for number in range(options.rounds):
        for place in range(len(kinds[0])):
            turn = list(enumerate(zip(kinds, channels, strict=True)))
            for which, (of_server, channel) in turn if number % 2 else reversed(turn):
                kind = of_server[place]
                with pruner.working() if pruner and which else nullcontext():
                    latencies = await time_calls(
                        channel, kind, callers=options.callers, seconds=options.seconds
                    )
                results[kind.name][which].add(latencies, seconds=options.seconds, cpu_seconds=0)
    for channel in channels:
        await channel.close()
    return results


def print_table(
    results: dict[str, list[Measured]], sizes: list[str], options: argparse.Namespace
) -> None:
    """Print what calls took at both sizes."""
    print(f"\n{options.callers} callers, {options.rounds} rounds of {options.seconds:g} s\n")
    print(
        "| call |"
        + "".join(f" p50 ms, {each} |" for each in sizes)
        + " ratio |"
        + "".join(f" p99 ms, {each} |" for each in sizes)
        + " ratio |"
    )
    print("|---|" + "---|" * 6)
    for name, measured in results.items():
        cells = []
        for percent in (50, 99):
            few, many = (each.percentile_ms(percent) for each in measured)
            cells += [f"{few:.2f}", f"{many:.2f}", f"{many / few:.2f}"]
        print(f"| {name} | " + " | ".join(cells) + " |")


def print_plans(url: str) -> None:
    """Print how PostgreSQL runs what is asked often."""
    database, queue = Database(url), WorkflowQueue(database_url=url)
    queue.open()
    known = find_known(database)
    print("\n| query | ms | pages | how |\n|---|---|---|---|")
    for queries in (
        calls_queries(database, known),
        workers_queries(database, queue, known),
        quota_queries(database, known),
        whole_queries(database),
    ):
        for name, ask in queries.items():
            ask()  # so that what is measured is in memory
            with explained() as plans:
                ask()
            for plan in plans:
                if steps := plan.describe():
                    print(f"| {name} | {plan.seconds * 1000:.2f} | {plan.blocks} | {steps} |")
    queue.close()
    database.close()


def print_sizes(url: str) -> None:
    """Print what the largest tables and their indexes take."""
    print("\n| table | rows | MiB | its indexes, MiB |\n|---|---|---|---|")
    with psycopg.connect(url) as connection:
        for name, count, size, indexes in connection.execute(
            "SELECT relname, n_live_tup, pg_table_size(relid) >> 20, pg_indexes_size(relid) >> 20"
            " FROM pg_stat_user_tables ORDER BY pg_total_relation_size(relid) DESC LIMIT 12"
        ):
            print(f"| {name} | {count:,} | {size:,} | {indexes:,} |")
        whole = connection.execute("SELECT pg_database_size(current_database()) >> 20").fetchone()
    assert whole
    print(f"| all | | {whole[0]:,} | |")


if __name__ == "__main__":
    main()
