"""A base image and its patches, beside every peer, in one run: time, CPU, memory, bytes added.

python benchmarks/patches.py [BASE.raw LARGE.raw SMALL.raw] [--rounds N] [--ways WORD]

The three are raw disks of one machine, each the one before after an update; by default those that
dataset.py makes. Needs the Debian packages restic, borgbackup and casync. See README.md.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from benchmarks.copying import MIB, folder_size
from benchmarks.dataset import FOLDER

from parts.official import OfficialClient
from parts.server import ServerProcess

NAMES = ("base", "large patch", "small patch")
MADE = tuple(FOLDER / f"{name}.raw" for name in ("base", "large", "small"))
ENVIRONMENT = {
    **os.environ,  # noqa: TID251  (children inherit it)
    "RESTIC_PASSWORD": "benchmark",
    "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
}
REPEATS = 9
HUGE = 64 << 30


@dataclass(frozen=True)
class Cost:
    """What one copy of one disk took."""

    seconds: float
    cpu_seconds: float
    added_bytes: int
    peak_bytes: int


Rows = Iterator[tuple[str, Cost]]


def main() -> None:
    """Take each way through the three disks, round by round, and print the table of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("disks", type=Path, nargs="*", default=MADE)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to work; default: the system's /tmp")
    parser.add_argument("--ways", default="", help="only those whose names have this word")
    options = parser.parse_args()
    costs: dict[tuple[str, str], list[Cost]] = defaultdict(list)
    for _ in range(options.rounds):
        for way, run in WAYS.items():
            if options.ways not in way:
                continue
            with tempfile.TemporaryDirectory(prefix="cd-bench-", dir=options.folder) as path:
                for disk, cost in run(Path(path), list(options.disks)):
                    costs[way, disk].append(cost)
                    print(f"{way}, {disk}: {cost.seconds:.3f} s", file=sys.stderr, flush=True)
    print_table(costs, rounds=options.rounds)


def print_table(costs: dict[tuple[str, str], list[Cost]], *, rounds: int) -> None:
    """Print the medians, with each time as a multiple of ours."""
    print(f"{rounds} rounds\n\n| disk | way | seconds | / ours | CPU s | MiB added | peak MiB |")
    print("|---|---|---|---|---|---|---|")
    for (way, disk), found in sorted(costs.items(), key=lambda item: item[0][1]):
        seconds = statistics.median(each.seconds for each in found)
        mine = costs.get((OURS, disk), found)
        ours = statistics.median(each.seconds for each in mine)
        cpu = statistics.median(each.cpu_seconds for each in found)
        added = statistics.median(each.added_bytes for each in found) / MIB
        peak = max(each.peak_bytes for each in found) / MIB
        print(
            f"| {disk} | {way} | {seconds:.3f} | {seconds / ours:.2f} | {cpu:.2f}"
            f" | {added:.0f} | {peak:.0f} |"
        )


def settle(disk: Path) -> None:
    """Give every way the same start: the disk in the page cache, free pages, nothing to write.

    A virtual machine may have to get free pages back from its host, which costs more than copying
    into them; so some are taken and freed right before.
    """
    subprocess.run(["cp", "--sparse=always", str(disk), "/dev/null"], check=True)
    with tempfile.NamedTemporaryFile(dir=disk.parent) as filler:
        subprocess.run(
            ["dd", "if=/dev/zero", f"of={filler.name}", "bs=1M", "count=3000", "status=none"],
            check=True,
        )
    subprocess.run(["sync"], check=True)


def measure(store: Path, disk: Path, step: Callable[[], None]) -> Cost:
    """Take what a tool costs until its bytes are on the disk."""
    settle(disk)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    added, started = folder_size(store), time.perf_counter()
    with watched_memory(psutil.Process()) as peak:
        step()
        subprocess.run(["sync"], check=True)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(
        seconds=seconds,
        cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        added_bytes=folder_size(store) - added,
        peak_bytes=peak[0],
    )


@contextmanager
def watched_memory(parent: psutil.Process) -> Iterator[list[int]]:
    """Note the most resident memory that the processes below `parent` have together."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peak[0] = max(peak[0], resident(parent.children(recursive=True)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def resident(processes: list[psutil.Process]) -> int:
    """Add up resident memory; a process that has just ended counts nothing."""
    total = 0
    for each in processes:
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def run(*command: str) -> None:
    subprocess.run(command, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)


def run_ours(folder: Path, disks: list[Path]) -> Rows:
    """Copy by a real server, until the operation is done; then the first disk again and again."""
    images = folder / "images"
    images.mkdir()
    (images / "tiny.raw").write_bytes(b"tiny" * 1024)
    for index, disk in enumerate(disks):
        subprocess.run(
            ["cp", "--sparse=always", str(disk), str(images / f"disk{index}.raw")], check=True
        )
    server = ServerProcess(data_dir=folder / "data", sources={"images": images})
    server.start()
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    client = OfficialClient(server.profile)
    store = folder / "data/store"

    def cpu() -> float:
        return sum(process.cpu_times()[:4])

    def copy(compute_image_id: str, name: str) -> float:
        started = time.perf_counter()
        operation = client.copy(compute_image_id, name)
        if not operation.done:
            operation = client.wait(operation.id, timeout_seconds=3600)
        assert operation.WhichOneof("result") == "response", operation
        return time.perf_counter() - started

    try:
        copy("tiny", "tiny")  # the very first workflow of a database waits up to a second
        for index in range(len(disks)):
            settle(images / f"disk{index}.raw")
            added, used = folder_size(store), cpu()
            with watched_memory(psutil.Process()) as peak:
                seconds = copy(f"disk{index}", f"disk{index}")
            growth = folder_size(store) - added
            yield NAMES[index], Cost(seconds, cpu() - used, growth, peak[0])
        shutil.move(images / "disk0.raw", images / "huge.raw")
        os.truncate(images / "huge.raw", HUGE)
        for name, compute_image_id in {"small again": "disk2", "64 GiB again": "huge"}.items():
            copy(compute_image_id, f"{compute_image_id}-known")
            used = cpu()
            again = [
                copy(compute_image_id, f"{compute_image_id}-{each}") for each in range(REPEATS)
            ]
            yield name, Cost(statistics.median(again), (cpu() - used) / REPEATS, 0, 0)
    finally:
        server.stop()


def run_restic(folder: Path, disks: list[Path]) -> Rows:
    repository = ["restic", "--quiet", "--no-cache", "-r", str(folder / "repo")]
    run(*repository, "init")
    for name, disk in zip(NAMES, disks, strict=False):
        backup = [*repository, "backup", "--ignore-inode", str(disk)]
        yield name, measure(folder / "repo", disk, partial(run, *backup))


def run_borg(folder: Path, disks: list[Path]) -> Rows:
    run("borg", "init", "--encryption", "none", str(folder / "repo"))
    for index, disk in enumerate(disks):
        create = ["borg", "create", "--sparse", "--compression", "lz4"]
        create += [f"{folder / 'repo'}::{index}", str(disk)]
        yield NAMES[index], measure(folder / "repo", disk, partial(run, *create))


def run_casync(folder: Path, disks: list[Path]) -> Rows:
    store = folder / "store"
    store.mkdir()
    for index, disk in enumerate(disks):
        make = ["casync", "make", f"--store={store}", str(store / f"{index}.caibx"), str(disk)]
        yield NAMES[index], measure(store, disk, partial(run, *make))


def run_tool(*command: str) -> Callable[[Path, list[Path]], Rows]:
    """Make a way of a command that copies a file to a file, each disk for itself."""

    def rows(folder: Path, disks: list[Path]) -> Rows:
        for index, disk in enumerate(disks):
            target = folder / "out" / f"disk{index}"
            target.parent.mkdir(exist_ok=True)
            words = [*command, str(disk), str(target)]
            yield NAMES[index], measure(target.parent, disk, partial(run, *words))
            target.unlink()

    return rows


OURS = "clouddesktop"
CONVERT = ("qemu-img", "convert", "-f", "raw")
WAYS: dict[str, Callable[[Path, list[Path]], Rows]] = {
    "cp --sparse": run_tool("cp", "--sparse=always"),
    "qemu-img raw": run_tool(*CONVERT, "-O", "raw"),
    "qemu-img qcow2": run_tool(*CONVERT, "-O", "qcow2"),
    "qemu-img qcow2 -c zstd": run_tool(
        *CONVERT, "-O", "qcow2", "-c", "-o", "compression_type=zstd"
    ),
    OURS: run_ours,
    "restic": run_restic,
    "borg, lz4": run_borg,
    "casync": run_casync,
}


if __name__ == "__main__":
    if shutil.which("restic") is None:
        sys.exit("patches: restic, borg and casync are needed: run scripts/setup bench.")
    main()
