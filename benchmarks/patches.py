"""A base image and its patches, beside restic, borg and casync: bytes added and time.

python benchmarks/patches.py BASE.raw LARGE.raw SMALL.raw [--folder DIR]

The three are raw disks of one machine, each the one before after an update. Needs the Debian
packages restic, borgbackup and casync. See README.md in this folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from benchmarks.copying import MIB, folder_size

from parts.official import OfficialClient
from parts.server import ServerProcess

NAMES = ("base", "large patch", "small patch")
ENVIRONMENT = {
    **os.environ,  # noqa: TID251  (children inherit it)
    "RESTIC_PASSWORD": "benchmark",
    "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
}

Step = Callable[[int, Path], None]


def main() -> None:
    """Take each way through the three disks, one after the other, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("disks", type=Path, nargs=3)
    parser.add_argument("--folder", type=Path, help="where to work; default: the system's /tmp")
    options = parser.parse_args()
    print("| way | disk | seconds | MiB added |\n|---|---|---|---|")
    for name, make in {
        "clouddesktop": run_ours,
        "restic": run_restic,
        "borg, lz4": lambda folder, disks: run_borg(folder, disks, "lz4"),
        "borg, zstd 3": lambda folder, disks: run_borg(folder, disks, "zstd,3"),
        "casync": run_casync,
    }.items():
        with tempfile.TemporaryDirectory(prefix="clouddesktop-bench-", dir=options.folder) as path:
            folder = Path(path)
            for disk, seconds, added in make(folder, options.disks):
                print(f"| {name} | {disk} | {seconds:.2f} | {added / MIB:.0f} |", flush=True)


def measure(store: Path, disks: list[Path], step: Step) -> list[tuple[str, float, int]]:
    """Time each step until its bytes are on the disk."""
    rows = []
    for index, disk in enumerate(disks):
        subprocess.run(["cat", str(disk)], stdout=subprocess.DEVNULL, check=True)  # into the cache
        subprocess.run(["sync"], check=True)
        before, started = folder_size(store), time.perf_counter()
        step(index, disk)
        seconds = time.perf_counter() - started
        rows.append((NAMES[index], seconds, folder_size(store) - before))
    return rows


def run(*command: str, cwd: Path | None = None) -> None:
    subprocess.run(command, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL, cwd=cwd)


def run_ours(folder: Path, disks: list[Path]) -> list[tuple[str, float, int]]:
    """Copy by a real server, until the operation is done."""
    images = folder / "images"
    images.mkdir()
    (images / "tiny.raw").write_bytes(b"tiny" * 1024)
    for index, disk in enumerate(disks):
        os.link(disk, images / f"disk{index}.raw")
    server = ServerProcess(data_dir=folder / "data", sources={"images": images})
    server.start()
    client = OfficialClient(server.profile)

    def copy(compute_image_id: str) -> None:
        operation = client.copy(compute_image_id, compute_image_id)
        if not operation.done:
            operation = client.wait(operation.id, timeout_seconds=3600)
        assert operation.WhichOneof("result") == "response", operation

    try:
        copy("tiny")  # the very first workflow of a database waits up to a second
        return measure(folder / "data/store", disks, lambda index, _disk: copy(f"disk{index}"))
    finally:
        server.stop()


def run_restic(folder: Path, disks: list[Path]) -> list[tuple[str, float, int]]:
    repository = ["restic", "--quiet", "--no-cache", "-r", str(folder / "repo")]
    run(*repository, "init")

    def step(_index: int, disk: Path) -> None:
        run(*repository, "backup", "--ignore-inode", str(disk))
        run("sync")

    return measure(folder / "repo", disks, step)


def run_borg(folder: Path, disks: list[Path], codec: str) -> list[tuple[str, float, int]]:
    run("borg", "init", "--encryption", "none", str(folder / "repo"))

    def step(index: int, disk: Path) -> None:
        archive = f"{folder / 'repo'}::{index}"
        run("borg", "create", "--sparse", "--compression", codec, archive, str(disk))
        run("sync")

    return measure(folder / "repo", disks, step)


def run_casync(folder: Path, disks: list[Path]) -> list[tuple[str, float, int]]:
    (folder / "store").mkdir()

    def step(index: int, disk: Path) -> None:
        index_file = folder / f"{index}.caibx"
        run("casync", "make", f"--store={folder / 'store'}", str(index_file), str(disk))
        run("sync")
        shutil.move(index_file, folder / "store")

    return measure(folder / "store", disks, step)


if __name__ == "__main__":
    main()
