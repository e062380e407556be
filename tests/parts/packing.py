"""Large sparse disks, compressed without the time that compressing their zeros takes."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from pathlib import Path

import zstandard

from parts.disks import MIB, write_raw

_RUN = 64 * MIB
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
    "xz": lambda data: lzma.compress(data, preset=1),
}


def pack_repeated(target: Path, *, kind: str, head: bytes, run: bytes, times: int) -> None:
    """Write a compressed file of `head` and so many `run`s, each a member of its own."""
    packed = PACKERS[kind](run)
    with target.open("wb") as file:
        file.write(PACKERS[kind](head))
        for _ in range(times):
            file.write(packed)


def make_sparse(raw: Path, packed: Path, *, kind: str, head: bytes, size: int) -> None:
    """Write one disk twice, raw and compressed: `head`, and holes up to about `size` bytes."""
    times = size // _RUN
    write_raw(raw, size=len(head) + times * _RUN, data={0: head})
    pack_repeated(packed, kind=kind, head=head, run=bytes(_RUN), times=times)
