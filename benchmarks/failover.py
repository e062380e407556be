"""How soon a copy goes on elsewhere when its worker is killed, at the default settings.

    uv run benchmarks/failover.py [--rounds N] [--lease S] [--alone]

A real PostgreSQL, a server, and two workers on a store in a folder. In each round the worker that
copies is ended by SIGKILL; what counts is the time until the other one has finished a range, and
how many ranges were begun twice. The other worker helps with the copy already, so its next range
comes soon; with `--alone` the disk is one that nobody helps with, so that it has to be taken over.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from clouddesktop.config import Settings
from parts.cluster import Cluster
from parts.failover import FEW_RANGES, RANGES, Failover, fail_over, write_disk
from parts.official import OfficialClient
from parts.postgres import Postgres, running_postgres


def main() -> None:
    """Kill workers, and print the table."""
    default = Settings.model_fields["worker_lease"].default
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lease", type=float, default=default)
    parser.add_argument("--alone", action="store_true", help="a disk that nobody helps with")
    options = parser.parse_args()
    ranges = FEW_RANGES if options.alone else RANGES
    with running_postgres() as postgres, installed(postgres, lease=options.lease) as cluster:
        results = measure(cluster, rounds=options.rounds, ranges=ranges)
    print_table(results, lease=options.lease, ranges=ranges)


@contextmanager
def installed(postgres: Postgres, *, lease: float) -> Iterator[Cluster]:
    """Prepare an installation in a folder that goes at the end."""
    with tempfile.TemporaryDirectory(prefix="clouddesktop-bench-") as name:
        folder = Path(name)
        cluster = Cluster(
            folder=folder,
            database_url=postgres.make_database(),
            store_url=(folder / "store").as_uri(),
            variables={"CLOUDDESKTOP_WORKER_LEASE": str(lease)},
        )
        cluster.sources_dir.mkdir()
        try:
            yield cluster
        finally:
            cluster.end()


def measure(cluster: Cluster, *, rounds: int, ranges: int) -> list[Failover]:
    """Kill a worker in each round."""
    server = cluster.make_server()
    server.start()
    client = OfficialClient(server.profile)
    files = [cluster.folder / f"notes{number}" for number in range(2)]
    workers = {each: cluster.make_noting_worker(each) for each in files}
    for worker in workers.values():
        worker.start()
    results = []
    for number in range(rounds):
        disk = cluster.sources_dir / f"disk{number}.raw"
        write_disk(disk, seed=number, ranges=ranges)
        results.append(fail_over(client, workers, disk.stem))
        disk.unlink()
        print(f"round {number + 1}: {results[-1].seconds:.1f} s", file=sys.stderr)
    return results


def print_table(results: list[Failover], *, lease: float, ranges: int) -> None:
    """Print a row for each round, and the median."""
    print(f"lease {lease:g} s, {ranges} ranges\n")
    print("| round | s to the next range | finished before | of these redone | begun twice |")
    print("|---|---|---|---|---|")
    for number, each in enumerate(results, start=1):
        redone = len(each.finished_before & each.begun_twice)
        print(
            f"| {number} | {each.seconds:.1f} | {len(each.finished_before)} | {redone}"
            f" | {len(each.begun_twice)} |"
        )
    seconds = [each.seconds for each in results]
    print(f"\nmedian {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s")


if __name__ == "__main__":
    main()
