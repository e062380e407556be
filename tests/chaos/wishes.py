"""What the chaos test asks for: copies of mixed images, most of which must succeed."""

from __future__ import annotations

import gzip
import random
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from parts.disks import MIB, convert, random_bytes, write_raw

_PIECE = MIB
_SPACING = 8 * MIB  # holes that are too large for a range to bridge: each piece is a range


class Kind(StrEnum):
    """What sort of image a copy is of."""

    RAW = "raw"
    SPARSE = "sparse"
    QCOW2 = "qcow2"
    COMPRESSED_QCOW2 = "compressed-qcow2"
    GZIPPED = "gzipped"
    AGAIN = "again"
    """One that was asked for before."""

    BROKEN = "broken"
    UNSAFE = "unsafe"
    VANISHING = "vanishing"
    """Its file goes away once the copy is accepted: who is quick succeeds all the same."""


MUST_FAIL = frozenset({Kind.BROKEN, Kind.UNSAFE})

_CYCLE = (
    *(Kind.RAW, Kind.SPARSE, Kind.QCOW2, Kind.AGAIN, Kind.GZIPPED, Kind.BROKEN),
    *(Kind.SPARSE, Kind.COMPRESSED_QCOW2, Kind.VANISHING, Kind.AGAIN, Kind.RAW, Kind.UNSAFE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A copy that is to be asked for, under one key however often; `truth` are the disk's bytes."""

    name: str
    kind: Kind
    key: str
    compute_image_id: str
    file: Path
    truth: Path


class WishMaker:
    """Makes disk images in the source's folder, and keeps what they must read as."""

    def __init__(self, *, sources_dir: Path, truths_dir: Path, seed: int) -> None:
        self._sources_dir = sources_dir
        self._truths_dir = truths_dir
        self._chance = random.Random(f"{seed} disks")  # noqa: S311  (test data)
        self._again: list[Wish] = []
        truths_dir.mkdir()

    def make(self, count: int) -> list[Wish]:
        return [self._make(number) for number in range(count)]

    def _make(self, number: int) -> Wish:
        kind = _CYCLE[number % len(_CYCLE)]
        name = f"wish{number}"
        key = str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
        if kind is Kind.AGAIN:
            before = self._chance.choice(self._again)
            return Wish(
                name=name,
                kind=kind,
                key=key,
                compute_image_id=before.compute_image_id,
                file=before.file,
                truth=before.truth,
            )
        truth = self._truths_dir / f"{name}.raw"
        self._write_truth(truth, kind)
        file = self._write_file(truth, kind)
        wish = Wish(name=name, kind=kind, key=key, compute_image_id=name, file=file, truth=truth)
        if kind not in MUST_FAIL and kind is not Kind.VANISHING:
            self._again.append(wish)
        return wish

    def _write_truth(self, path: Path, kind: Kind) -> None:
        pieces = self._chance.randint(2, 6)
        spacing = _SPACING if kind is not Kind.RAW else 2 * _PIECE
        data = {
            # Some pieces are in many disks: copies share chunks with each other.
            index * spacing: random_bytes(2 * _PIECE, seed=self._chance.choice((0, number)))
            for index, number in enumerate(self._chance.sample(range(1, 1 << 30), pieces))
        }
        tail = self._chance.randrange(0, 4) * 4096
        write_raw(path, size=pieces * spacing + tail, data=data)

    def _write_file(self, truth: Path, kind: Kind) -> Path:
        target = self._sources_dir / truth.stem
        match kind:
            case Kind.QCOW2 | Kind.BROKEN:
                file = target.with_suffix(".qcow2")
                convert(truth, file, "-O", "qcow2", source_format="raw")
                if kind is Kind.BROKEN:
                    with file.open("r+b") as opened:
                        opened.truncate(file.stat().st_size // 2)
            case Kind.COMPRESSED_QCOW2:
                file = target.with_suffix(".qcow2")
                convert(truth, file, "-c", "-O", "qcow2", source_format="raw")
            case Kind.UNSAFE:
                file = target.with_suffix(".qcow2")
                options = ("-f", "qcow2", "-b", str(truth), "-F", "raw")
                subprocess.run(["qemu-img", "create", "-q", *options, str(file)], check=True)
            case Kind.GZIPPED:
                file = target.with_suffix(".raw.gz")
                with truth.open("rb") as plain, gzip.open(file, "wb", compresslevel=1) as packed:
                    shutil.copyfileobj(plain, packed, 4 * MIB)
            case _:
                file = target.with_suffix(".raw")
                convert(truth, file, "-O", "raw", source_format="raw")
        return file
