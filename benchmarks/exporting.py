"""Exports beside qemu-img, in one run: raw from the store, raw from a compressed qcow2.

uv run benchmarks/exporting.py [--image RAW] [--size-mib N] [--rounds N] [--folder DIR]
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from benchmarks.copying import MIB, make_system_disk

from parts.official import OfficialClient
from parts.server import ServerProcess

OURS = "clouddesktop image export"
PEER = "qemu-img convert, from qcow2 -c zstd"


@dataclass
class Measured:
    """What one way of writing the disk took, round by round."""

    seconds: list[float] = field(default_factory=list)
    synced_seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)


def main() -> None:
    """Copy the disk into a server, write it out by every way, interleaved; print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, help="a raw disk; default: made of system files")
    parser.add_argument("--size-mib", type=int, default=1200, help="of system files in the disk")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to work; default: the system's /tmp")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clouddesktop-bench-", dir=options.folder) as name:
        folder = Path(name)
        images = folder / "images"
        images.mkdir()
        base = images / "base.raw"
        if options.image:
            subprocess.run(["cp", "--sparse=always", str(options.image), str(base)], check=True)
        else:
            make_system_disk(base, folder / "files", size=options.size_mib * MIB)
        qcow2 = folder / "base.qcow2"
        zstd = ("-c", "-o", "compression_type=zstd")
        subprocess.run(
            ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *zstd, str(base), str(qcow2)],
            check=True,
        )
        results = run_rounds(folder, images, qcow2, rounds=options.rounds)
        print_table(results, disk_size=base.stat().st_size, data_size=base.stat().st_blocks * 512)


def run_rounds(folder: Path, images: Path, qcow2: Path, *, rounds: int) -> dict[str, Measured]:
    """Run a server that holds the disk, and write it out `rounds` times by each way."""
    server = ServerProcess(data_dir=folder / "data", sources={"images": images})
    server.start()
    try:
        client = OfficialClient(server.profile)
        operation = client.wait(client.copy("base", "base").id, timeout_seconds=3600)
        assert operation.WhichOneof("result") == "response", operation
        assert server.process is not None
        process = psutil.Process(server.process.pid)
        target = folder / "out.raw"
        ours = [sys.executable, "-m", "clouddesktop", "--profile", str(server.profile)]
        commands = {
            PEER: ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(qcow2), str(target)],
            OURS: [*ours, "image", "export", "base", "--output", str(target)],
        }
        results = {each: Measured() for each in commands}
        for round_number in range(rounds + 1):  # the first only warms up
            print(f"round {round_number} of {rounds}", file=sys.stderr)
            for name, command in commands.items():
                measured = results[name] if round_number else Measured()
                run_one(command, target, measured, process)
                if round_number == 0:
                    check(images / "base.raw", target)
                target.unlink()
        return results
    finally:
        server.stop()
        shutil.rmtree(folder / "data")


def run_one(command: list[str], target: Path, measured: Measured, server: psutil.Process) -> None:
    """Write the disk once; CPU seconds are the command's and the server's."""
    subprocess.run(["sync"], check=True)  # nobody pays for what was written before
    cpu_before, started = used(server), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    measured.seconds.append(time.perf_counter() - started)
    measured.cpu_seconds.append(used(server) - cpu_before)
    subprocess.run(["sync", str(target)], check=True)
    measured.synced_seconds.append(time.perf_counter() - started)


def used(server: psutil.Process) -> float:
    """Add up the CPU seconds of the server and of all commands so far."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime + sum(server.cpu_times()[:2])


def check(expected: Path, written: Path) -> None:
    """Make sure that speed is not bought with bytes."""
    subprocess.run(["cmp", str(expected), str(written)], check=True)


def print_table(results: dict[str, Measured], *, disk_size: int, data_size: int) -> None:
    """Print medians, and how our times compare with the peer's."""
    print(f"Disk of {disk_size / MIB:.0f} MiB with {data_size / MIB:.0f} MiB of data\n")
    peer = statistics.median(results[PEER].synced_seconds)
    print("| way | median s, on the disk | min - max s | before sync | time / qemu-img | CPU s |")
    print("|---|---|---|---|---|---|")
    for name, measured in results.items():
        seconds = statistics.median(measured.synced_seconds)
        print(
            f"| {name} | {seconds:.2f}"
            f" | {min(measured.synced_seconds):.2f} - {max(measured.synced_seconds):.2f}"
            f" | {statistics.median(measured.seconds):.2f}"
            f" | {seconds / peer:.2f} | {statistics.median(measured.cpu_seconds):.2f} |"
        )


if __name__ == "__main__":
    main()
