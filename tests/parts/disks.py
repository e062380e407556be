"""Disk images for tests, made by the real tools."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

MIB = 1 << 20


def write_raw(path: Path, *, size: int, data: dict[int, bytes]) -> None:
    """Write a sparse raw disk: `data` maps offsets to bytes, the rest are holes."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset, content in data.items():
            file.seek(offset)
            file.write(content)


def random_bytes(size: int, *, seed: int) -> bytes:
    """Give the same incompressible bytes for the same seed."""
    return random.Random(seed).randbytes(size)  # noqa: S311  (test data)


def convert(source: Path, target: Path, *options: str, source_format: str | None = None) -> None:
    """Convert a disk image by qemu-img."""
    given = [] if source_format is None else ["-f", source_format]
    subprocess.run(["qemu-img", "convert", *given, *options, str(source), str(target)], check=True)


def read_as_qemu(path: Path, *, disk_format: str, scratch: Path) -> bytes:
    """Give the disk's bytes as `qemu-img convert` reads them."""
    target = scratch / f"{path.name}.as-qemu-reads"
    convert(path, target, "-O", "raw", source_format=disk_format)
    try:
        return target.read_bytes()
    finally:
        target.unlink()


def is_same(left: Path, right: Path) -> bool:
    """Compare two files byte by byte, quickly also when they are large and sparse."""
    return (
        left.stat().st_size == right.stat().st_size
        and subprocess.run(["cmp", "--quiet", str(left), str(right)], check=False).returncode == 0
    )
