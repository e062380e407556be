"""What a base image and its patches add to a store, by chunk size and level of zstd.

python benchmarks/chunking.py [BASE.raw LARGE.raw SMALL.raw]

Nothing is stored: chunks are hashed, looked up among those before, and compressed one by one. Takes
some minutes; the CPU seconds are those of hashing and compressing. See README.md in this folder.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import zstandard

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.patches import MADE, NAMES

from clouddesktop.content import digest_of

KIB = 1 << 10
MIB = 1 << 20
ENTRY = 52 + 40
"""Bytes that a chunk costs beside its own: in its pack's table, and in a manifest."""

VARIANTS = [(size, level) for level in (1, 3) for size in (64, 128, 256, 512, 1024)]


def main() -> None:
    """Print the table, a line a variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("disks", type=Path, nargs="*", default=MADE)
    disks = parser.parse_args().disks
    print(f"| chunk KiB | zstd | {' | '.join(f'{each} MiB' for each in NAMES)} | CPU s, base |")
    print("|---|---|---|---|---|---|", flush=True)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for line in threads.map(lambda variant: measure(disks, *variant), VARIANTS):
            print(line, flush=True)


def measure(disks: list[Path], size: int, level: int) -> str:
    """Take the three disks in their order through one variant."""
    known: set[bytes] = set()
    added: list[float] = []
    first_seconds = 0.0
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=False)
    for disk in disks:
        started = time.thread_time()
        total = 0
        for chunk in iter_chunks(disk, size * KIB):
            digest = digest_of(chunk)
            total += 40
            if digest not in known:
                known.add(digest)
                total += min(len(compressor.compress(chunk)), len(chunk)) + ENTRY - 40
        added.append(total / MIB)
        first_seconds = first_seconds or time.thread_time() - started
    cells = " | ".join(f"{each:.1f}" for each in added)
    return f"| {size} | {level} | {cells} | {first_seconds:.1f} |"


def iter_chunks(disk: Path, size: int) -> Iterator[bytes]:
    """Read the chunks that are not all zeros, holes left out."""
    zeros = bytes(size)
    end = disk.stat().st_size
    after = 0
    with disk.open("rb", buffering=0) as file:
        while after < end:
            try:
                data = os.lseek(file.fileno(), after, os.SEEK_DATA)
            except OSError:  # none after it
                return
            start = max(data // size * size, after)
            hole = os.lseek(file.fileno(), max(data, start), os.SEEK_HOLE)
            after = -(-hole // size) * size
            for position in range(start, after, size):
                chunk = os.pread(file.fileno(), size, position)
                if chunk != zeros[: len(chunk)]:
                    yield chunk


if __name__ == "__main__":
    main()
