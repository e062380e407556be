"""Two servers, three workers, PostgreSQL and SeaweedFS, all of which die, pause and come back.

One minute here, with a short lease; `make chaos` takes five, and `make chaos ARGS="10 1234"` ten,
with what happened at the seed 1234.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from chaos.asking import Asking, Clients
from chaos.claims import check_bytes, check_operations, check_store, check_workflows
from chaos.events import Events
from chaos.mischief import Mischief, draw_events
from chaos.supervising import Supervised
from chaos.wishes import Wish, WishMaker
from parts.cluster import Cluster
from parts.inspection import Inspection
from parts.postgres import Postgres
from parts.seaweedfs import BUCKET, SeaweedFS

pytestmark = [pytest.mark.slow, pytest.mark.crash]

SECONDS = 60 * float(os.environ.get("CHAOS_MINUTES") or "1")  # noqa: TID251  (make chaos sets it)
SEED = int(os.environ.get("CHAOS_SEED") or secrets.randbits(32))  # noqa: TID251  (the same)
LEASE_SECONDS = 3
SERVERS, WORKERS = 2, 3
COPIES = min(100, round(SECONDS * 0.6))
ASKING_SHARE = 0.9
"""Of the time: the last are asked for while things still break."""

ANSWER_SECONDS = 120
_LOG_SIZE = 6000


@pytest.fixture
def installation(postgres: Postgres, seaweedfs: SeaweedFS, tmp_path: Path) -> Iterator[Cluster]:
    """An installation whose store is in S3, of which nothing runs yet."""
    made = Cluster(
        folder=tmp_path,
        database_url=postgres.make_database(),
        store_url=f"s3://{BUCKET}/{seaweedfs.new_prefix()}",
        variables=seaweedfs.variables | {"CLOUDDESKTOP_WORKER_LEASE": str(LEASE_SECONDS)},
    )
    made.sources_dir.mkdir()
    yield made
    made.end()


def test_nothing_is_lost_in_chaos(
    installation: Cluster, postgres: Postgres, seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    """Every accepted copy ends rightly, what was told stays so, and only what is live is kept."""
    told = Events()
    told.tell(f"seed {SEED}, {SECONDS:.0f} s, {COPIES} copies, logs in {tmp_path}")
    wishes = WishMaker(
        sources_dir=installation.sources_dir, truths_dir=tmp_path / "truths", seed=SEED
    ).make(COPIES)
    with logs_shown(tmp_path), running(installation, told) as processes:
        profiles = [each.profile for each in installation.servers]
        clients = Clients(profiles, seed=SEED)
        mischief = Mischief(processes=processes, postgres=postgres, seaweedfs=seaweedfs, told=told)
        asking = ask_amid(mischief, wishes, Asking(clients, told))
        told.tell(f"over; {clients.refusals} calls were told to come again. It settles")
        images = check_operations(wishes, asking, clients)
        told.tell(f"all are done; {len(images)} of {len(wishes)} have succeeded")
        inspection = Inspection.of_server(installation.servers[0])
        check_bytes(inspection, images)
        told.tell("every image reads as its disk")
        check_store(inspection, profiles[0])
        check_bytes(inspection, images)
        check_workflows(inspection)
        inspection.close()
        told.tell("the store holds what is live, and all of it is whole")
        for each in processes.values():
            each.end(signal.SIGTERM)
            assert each.status == 0, each.name


def ask_amid(mischief: Mischief, wishes: list[Wish], asking: Asking) -> Asking:
    """Ask for the copies and follow them while everything breaks and is healed."""
    events = draw_events(
        seed=SEED,
        seconds=SECONDS,
        lease=LEASE_SECONDS,
        servers=mischief.names("server"),
        workers=mischief.names("worker"),
    )
    with ThreadPoolExecutor(2) as threads:
        asked = threads.submit(asking.ask, wishes, seconds=SECONDS * ASKING_SHARE)
        followed = threads.submit(asking.follow)
        try:
            mischief.carry_out(events, seconds=SECONDS)
            asked.result(ANSWER_SECONDS)
        finally:
            asking.end()
        followed.result()
    return asking


@contextmanager
def running(installation: Cluster, told: Events) -> Iterator[dict[str, Supervised]]:
    """Keep two servers and three workers running."""
    made = {f"server {number}": installation.make_server() for number in range(SERVERS)} | {
        f"worker {number}": installation.make_worker() for number in range(WORKERS)
    }
    processes = {name: Supervised(name, each, told) for name, each in made.items()}
    try:
        with ThreadPoolExecutor(len(processes)) as threads:  # as when all machines are switched on
            list(threads.map(Supervised.begin, processes.values()))
        yield processes
    finally:
        for each in processes.values():
            each.end(signal.SIGKILL)


@contextmanager
def logs_shown(folder: Path) -> Iterator[None]:
    """Print the ends of all logs when something fails."""
    try:
        yield
    except BaseException:
        for log in sorted(folder.glob("*.log")):
            print(f"--- {log}\n{log.read_text()[-_LOG_SIZE:]}")  # noqa: T201  (to follow a failure)
        raise
