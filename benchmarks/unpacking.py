"""What it takes to unpack each kind of compressed file into the spool, in one thread.

uv run benchmarks/unpacking.py [--size-mib N] [--rounds N] [--folder DIR]

The data are those of the shared libraries that are installed, and zeros; each compressed as its own
tool does by default. Seconds per GiB of what comes out, the best of the rounds; beside it the
tool itself, where it is installed, writing to nowhere.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import zstandard

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.codec import MIB, read_sample

from clouddesktop.disk.file import LocalFile
from clouddesktop.disk.spool import Spool
from clouddesktop.disk.unpack import unpack

GIB = 1 << 30
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda data: zstandard.ZstdCompressor(level=3).compress(data),
    "gzip": lambda data: gzip.compress(data, compresslevel=6),
    "xz": lambda data: lzma.compress(data, preset=6),
    "bzip2": bz2.compress,
}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mib", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the spool lies; default: /tmp")
    options = parser.parse_args()
    data = read_sample(None, options.size_mib * MIB)
    zeros = bytes(len(data))
    print(f"{len(data) / MIB:.0f} MiB each\n")
    print("| kind | data: of their size | s per GiB | the tool's | zeros: 1 in | s per GiB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="clouddesktop-bench-", dir=options.folder) as name:
        folder = Path(name)
        for kind, pack in PACKERS.items():
            packed = folder / f"data.{kind}"
            packed.write_bytes(pack(data))
            share = packed.stat().st_size / len(data)
            seconds = best(partial(spool, packed, kind, folder), rounds=options.rounds)
            tool = best(partial(run_tool, packed, kind), rounds=options.rounds)
            packed.write_bytes(pack(zeros))
            ratio = len(zeros) / packed.stat().st_size
            empty = best(partial(spool, packed, kind, folder), rounds=options.rounds)
            scale = GIB / len(data)
            print(
                f"| {kind} | {share:.1%} | {seconds * scale:.2f} | "
                f"{f'{tool * scale:.2f}' if shutil.which(kind) else '-'} | "
                f"{ratio:,.0f} | {empty * scale:.2f} |"
            )


def spool(packed: Path, kind: str, folder: Path) -> None:
    """Unpack a file as a copy does."""
    fd = os.open(packed, os.O_RDONLY)
    try:
        with Spool(folder / "spool").open_file(packed.name) as spool_file:
            unpack(LocalFile(fd), kind, spool_file)
    finally:
        os.close(fd)


def run_tool(packed: Path, kind: str) -> None:
    """Unpack a file by the tool of its kind, if it is there."""
    if shutil.which(kind):
        with packed.open("rb") as file:
            subprocess.run([kind, "-dc"], stdin=file, stdout=subprocess.DEVNULL, check=True)


def best(work: Callable[[], None], *, rounds: int) -> float:
    """Give the seconds of the fastest round."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
