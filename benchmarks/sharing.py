"""One large image by two workers beside one. See README.md here.

uv run benchmarks/sharing.py [--size-mib N] [--rounds N] [--folder DIR]

PostgreSQL, an API server and the workers are started here. Twice: with workers that use all cores,
and with workers that are held to one core each, as on machines of their own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from benchmarks.copying import MIB, make_system_disk

from clouddesktop.catalog import tables
from parts.cluster import Cluster
from parts.official import OfficialClient
from parts.postgres import Postgres, running_postgres

LEASE = {"CLOUDDESKTOP_WORKER_LEASE": "15"}


def main() -> None:
    """Copy, in turn by one worker and by two, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mib", type=int, default=3000, help="of system files in the disk")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work; default: the system's /tmp")
    options = parser.parse_args()
    seconds: dict[tuple[bool, int], list[float]] = {}
    helped: list[int] = []
    with (
        tempfile.TemporaryDirectory(prefix="clouddesktop-bench-", dir=options.folder) as name,
        running_postgres() as postgres,
    ):
        raw = Path(name) / "images" / "disk.raw"
        raw.parent.mkdir()
        make_system_disk(raw, Path(name) / "files", size=options.size_mib * MIB)
        for round_number in range(options.rounds):
            print(f"round {round_number + 1} of {options.rounds}", file=sys.stderr)
            for is_held in (False, True):
                for workers in (1, 2):
                    folder = Path(name) / f"{round_number}-{is_held}-{workers}"
                    with installation(folder, raw, postgres) as cluster:
                        took = copy(cluster, workers=workers, is_held=is_held)
                        seconds.setdefault((is_held, workers), []).append(took)
                        if workers > 1:
                            helped.append(count_helped(cluster))
    print_table(seconds, helped)


@contextmanager
def installation(folder: Path, raw: Path, postgres: Postgres) -> Iterator[Cluster]:
    """Make a new one, with an empty store."""
    folder.mkdir()
    made = Cluster(
        folder=folder,
        database_url=postgres.make_database(),
        store_url=(folder / "store").as_uri(),
        variables=LEASE,
    )
    made.sources_dir.mkdir()
    (made.sources_dir / raw.name).hardlink_to(raw)
    try:
        yield made
    finally:
        made.end()


def copy(cluster: Cluster, *, workers: int, is_held: bool) -> float:
    """Give the seconds from the call until the operation is done."""
    server = cluster.make_server()
    server.start()
    client = OfficialClient(server.profile)
    cores = sorted(os.sched_getaffinity(0))
    for number in range(workers):
        worker = cluster.make_worker()
        worker.start()
        if is_held and worker.process is not None:
            hold(worker.process.pid, cores[number % len(cores)])
    begun = time.perf_counter()
    operation = client.copy("disk", "disk")
    done = client.wait(operation.id, timeout_seconds=600)
    took = time.perf_counter() - begun
    if not done.HasField("response"):
        raise RuntimeError(f"The copy has failed: {done.error.message}")
    return took


def hold(pid: int, core: int) -> None:
    """Hold a process to one core, with each thread that it has and will have."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def count_helped(cluster: Cluster) -> int:
    """Count the packs that were written by a worker which helped."""
    with cluster.inspected() as inspection:
        names = map(str, inspection.column(tables.packs.c.id))
        return sum(name.count("-") > 2 for name in names)


def print_table(seconds: dict[tuple[bool, int], list[float]], helped: list[int]) -> None:
    print("| workers use | one worker, s | two workers, s | one / two |")
    print("|---|---|---|---|")
    for is_held, what in ((False, "all cores"), (True, "one core each")):
        one, two = (statistics.median(seconds[is_held, count]) for count in (1, 2))
        print(f"| {what} | {one:.1f} | {two:.1f} | {one / two:.2f} |")
    print(f"\npacks written by the worker that helped: {', '.join(map(str, helped))}")


if __name__ == "__main__":
    main()
