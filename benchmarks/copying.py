"""Copies beside their peers, in one run: first, repeated and patched. See README.md in this folder.

uv run benchmarks/copying.py [--image RAW] [--size-mib N] [--rounds N] [--folder DIR]
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from parts.official import OfficialClient
from parts.server import ServerProcess

MIB = 1 << 20
PATCH_PIECE = 64 << 10
PATCHED_SHARE = 0.01
SYSTEM_FILES = ("/usr/lib", "/usr/share", "/usr/bin")


@dataclass
class Measured:
    """What one way of copying took, round by round."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    added_bytes: list[int] = field(default_factory=list)


def main() -> None:
    """Run every way of copying, interleaved, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, help="a raw disk; default: made of system files")
    parser.add_argument("--size-mib", type=int, default=1200, help="of system files in the disk")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work; default: the system's /tmp")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clouddesktop-bench-", dir=options.folder) as name:
        folder = Path(name)
        images = folder / "images"
        images.mkdir()
        base = images / "base.raw"
        if options.image:
            shutil.copyfile(options.image, base)
        else:
            make_system_disk(base, folder / "files", size=options.size_mib * MIB)
        (images / "tiny.raw").write_bytes(b"tiny" * 1024)
        results: dict[str, Measured] = {}
        for round_number in range(options.rounds):
            print(f"round {round_number + 1} of {options.rounds}", file=sys.stderr)
            patched = images / f"patched{round_number}.raw"
            make_patched(base, patched, seed=round_number)
            read_through(base)
            run_peers(results, folder, base)
            run_ours(results, folder, images, patched.stem)
            patched.unlink()
        data_size = base.stat().st_blocks * 512
        print_table(results, disk_size=base.stat().st_size, data_size=data_size)


def make_system_disk(path: Path, files: Path, *, size: int) -> None:
    """Make an ext4 file system of real system files, without mounting anything."""
    files.mkdir()
    total = 0
    for root in SYSTEM_FILES:
        for each in sorted(Path(root).rglob("*")):
            if total >= size or each.is_symlink() or not each.is_file():
                continue
            target = files / str(each).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(each, target)
            total += each.stat().st_size
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-d", str(files), str(path), "8G"],
        check=True,
    )
    shutil.rmtree(files)


def make_patched(base: Path, target: Path, *, seed: int) -> None:
    """Copy the disk and overwrite one percent of its data, in pieces of 64 KiB at random places."""
    subprocess.run(["cp", "--sparse=always", str(base), str(target)], check=True)
    places = random.Random(seed)  # noqa: S311  (a benchmark's data)
    data_size = base.stat().st_blocks * 512
    size = base.stat().st_size
    with target.open("r+b") as file:
        written = 0
        while written < data_size * PATCHED_SHARE:
            file.seek(places.randrange(size // PATCH_PIECE) * PATCH_PIECE)
            if any(file.read(PATCH_PIECE)):  # a piece that holds data
                file.seek(-PATCH_PIECE, 1)
                file.write(places.randbytes(PATCH_PIECE))
                written += PATCH_PIECE


def read_through(path: Path) -> None:
    """Bring the file into the page cache: every way of copying finds it there."""
    subprocess.run(["cp", "--sparse=always", str(path), str(path) + ".cached"], check=True)
    Path(str(path) + ".cached").unlink()


def run_peers(results: dict[str, Measured], folder: Path, base: Path) -> None:
    """Copy by the tools that people use today; each is synced to the disk."""
    target = folder / "peer"
    convert = ["qemu-img", "convert", "-f", "raw"]
    zstd = ["-O", "qcow2", "-c", "-o", "compression_type=zstd"]
    for name, command in {
        "cp --sparse": ["cp", "--sparse=always", str(base), str(target)],
        "qemu-img convert raw": [*convert, "-O", "raw", str(base), str(target)],
        "qemu-img convert qcow2": [*convert, "-O", "qcow2", str(base), str(target)],
        "qemu-img convert qcow2 -c zstd": [*convert, *zstd, str(base), str(target)],
    }.items():
        measured = results.setdefault(name, Measured())
        subprocess.run(["sync"], check=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        subprocess.run(command, check=True)
        subprocess.run(["sync", str(target)], check=True)
        measured.seconds.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        measured.cpu_seconds.append(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        )
        measured.added_bytes.append(target.stat().st_blocks * 512)
        target.unlink()


def run_ours(results: dict[str, Measured], folder: Path, images: Path, patched: str) -> None:
    """Copy by a real server with an empty store, through the API, until the operation is done."""
    data_dir = folder / "data"
    server = ServerProcess(data_dir=data_dir, sources={"images": images})
    server.start()
    try:
        client = OfficialClient(server.profile)
        assert server.process is not None
        process = psutil.Process(server.process.pid)

        def copy(compute_image_id: str, name: str) -> None:
            operation = client.copy(compute_image_id, name)
            if not operation.done:
                operation = client.wait(operation.id, timeout_seconds=3600)
            assert operation.WhichOneof("result") == "response", operation

        copy("tiny", "warm-up")  # the very first workflow of a database waits up to a second
        for label, compute_image_id in {
            "clouddesktop, first copy": "base",
            "clouddesktop, repeated copy": "base",
            "clouddesktop, 1 % changed": patched,
        }.items():
            measured = results.setdefault(label, Measured())
            with watched(measured, process, data_dir / "store"):
                copy(compute_image_id, label)
    finally:
        server.stop()
        shutil.rmtree(data_dir)


@contextmanager
def watched(measured: Measured, process: psutil.Process, store: Path) -> Iterator[None]:
    """Take the time, the server's CPU time and the growth of the store."""
    subprocess.run(["sync"], check=True)  # nobody pays for what was written before
    cpu: Callable[[], float] = lambda: sum(process.cpu_times()[:4])  # noqa: E731  (short and local)
    stored, used, started = folder_size(store), cpu(), time.perf_counter()
    yield
    measured.seconds.append(time.perf_counter() - started)
    measured.cpu_seconds.append(cpu() - used)
    measured.added_bytes.append(folder_size(store) - stored)


def folder_size(folder: Path) -> int:
    """Add up the blocks of a folder's files."""
    return sum(each.stat().st_blocks * 512 for each in folder.rglob("*") if each.is_file())


def print_table(results: dict[str, Measured], *, disk_size: int, data_size: int) -> None:
    """Print medians, and the ratio of each time to that of our first copy."""
    ours = statistics.median(results["clouddesktop, first copy"].seconds)
    print(f"Disk of {disk_size / MIB:.0f} MiB with {data_size / MIB:.0f} MiB of data\n")
    print("| way | median s | min - max s | time / our first copy | CPU s | MiB added |")
    print("|---|---|---|---|---|---|")
    for name, measured in results.items():
        seconds = statistics.median(measured.seconds)
        print(
            f"| {name} | {seconds:.3f} | {min(measured.seconds):.3f} - {max(measured.seconds):.3f}"
            f" | {seconds / ours:.2f} | {statistics.median(measured.cpu_seconds):.2f}"
            f" | {statistics.median(measured.added_bytes) / MIB:.0f} |"
        )


if __name__ == "__main__":
    main()
