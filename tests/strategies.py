"""Hypothesis strategies for disks, and the builders that make real files of them.

A `DiskLayout` says what the guest sees; `build_raw` and `build_qcow2` make a file of it by the real
tools. What the file then reads as is asked of qemu-img, not computed here.
"""

from __future__ import annotations

import random
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hypothesis import strategies as st

from clouddesktop.model.manifest import CHUNK_SIZE

SECTOR_SIZE = 512
MAX_DISK_SIZE = 5 * CHUNK_SIZE


class PieceKind(StrEnum):
    """What a piece of a disk holds."""

    RANDOM = "random"
    TEXT = "text"  # compresses well
    ZERO = "zero"  # written zeros: no hole, unless a tool makes one of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A run that is written; later pieces overwrite earlier ones."""

    offset: int
    length: int
    kind: PieceKind
    seed: int

    def content(self) -> bytes:
        if self.kind is PieceKind.ZERO:
            return bytes(self.length)
        if self.kind is PieceKind.TEXT:
            line = b"line %d of a log\n" % self.seed
            return (line * (self.length // len(line) + 1))[: self.length]
        return random.Random(self.seed).randbytes(self.length)  # noqa: S311  (test data)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskLayout:
    """A disk's size in bytes, maybe unaligned, and what is written to it; the rest are holes."""

    size: int
    pieces: tuple[Piece, ...]


class QcowOrigin(StrEnum):
    """How a qcow2 file comes to be; each leaves other clusters behind."""

    CONVERTED = "converted"  # qemu-img convert
    CONVERTED_FULL = "converted in full"  # the same, zeros and holes written out
    COMPRESSED = "compressed"  # the same, with compressed clusters
    WRITTEN = "written"  # qemu-img create, then writes of a guest
    SNAPSHOT = "snapshot"  # the same, with an internal snapshot in between: shared clusters


@dataclass(frozen=True, slots=True, kw_only=True)
class QcowOptions:
    """The options of one qcow2 file, in QEMU's words."""

    origin: QcowOrigin
    cluster_size: int
    compat: str = "1.1"
    compression_type: str = "zlib"
    preallocation: str = "off"
    lazy_refcounts: bool = False
    extended_l2: bool = False

    def to_text(self) -> str:
        options = {
            "cluster_size": str(self.cluster_size),
            "compat": self.compat,
            "preallocation": self.preallocation,
        }
        if self.compat != "0.10":
            options["compression_type"] = self.compression_type
            options["lazy_refcounts"] = "on" if self.lazy_refcounts else "off"
            options["extended_l2"] = "on" if self.extended_l2 else "off"
        return ",".join(f"{name}={value}" for name, value in options.items())


_EDGES = (0, 1, SECTOR_SIZE - 1, SECTOR_SIZE, 4096, 65536, CHUNK_SIZE, CHUNK_SIZE + 1)
_CLUSTER_SIZES = (512, 1024, 4096, 65536, 2 << 20)
_LEAST_EXTENDED_CLUSTER = 16384
_PREALLOCATIONS = ("off", "metadata", "falloc", "full")


def disk_sizes(max_size: int = MAX_DISK_SIZE) -> st.SearchStrategy[int]:
    """Draw sizes in bytes from 0 on, with unaligned tails."""
    edges = [each for each in _EDGES if each <= max_size]
    return st.one_of(st.sampled_from(edges), st.integers(0, max_size))


@st.composite
def disk_layouts(draw: st.DrawFn, *, max_size: int = MAX_DISK_SIZE) -> DiskLayout:
    """Draw sparse disks: holes, runs of zeros, data at any alignment."""
    size = draw(disk_sizes(max_size))
    pieces = []
    for _ in range(draw(st.integers(0, 6)) if size else 0):
        unit = draw(st.sampled_from((1, SECTOR_SIZE, 4096, 65536)))
        offset = draw(st.integers(0, (size - 1) // unit)) * unit
        length = min(draw(st.integers(1, 40)) * draw(st.sampled_from((unit, 4096))), size - offset)
        kind = draw(st.sampled_from(PieceKind))
        seed = draw(st.integers(0, 99))
        pieces.append(Piece(offset=offset, length=length, kind=kind, seed=seed))
    return DiskLayout(size=size, pieces=tuple(pieces))


@st.composite
def qcow_options(draw: st.DrawFn) -> QcowOptions:
    """Draw the options of qcow2 files, only such as qemu-img accepts together."""
    origin = draw(st.sampled_from(QcowOrigin))
    compat = draw(st.sampled_from(("0.10", "1.1")))
    is_compressed = origin is QcowOrigin.COMPRESSED
    cluster_size = draw(st.sampled_from(_CLUSTER_SIZES))
    can_extend = compat == "1.1" and cluster_size >= _LEAST_EXTENDED_CLUSTER
    return QcowOptions(
        origin=origin,
        cluster_size=cluster_size,
        extended_l2=can_extend and draw(st.booleans()),
        compat=compat,
        compression_type=draw(st.sampled_from(("zlib", "zstd"))) if compat == "1.1" else "zlib",
        preallocation="off" if is_compressed else draw(st.sampled_from(_PREALLOCATIONS)),
        lazy_refcounts=compat == "1.1" and draw(st.booleans()),
    )


def other_formats() -> st.SearchStrategy[tuple[str, str]]:
    """Draw a format and its options, in QEMU's words."""
    return st.sampled_from(
        (
            ("vmdk", "subformat=monolithicSparse"),
            ("vmdk", "subformat=monolithicSparse,zeroed_grain=on"),
            ("vmdk", "subformat=streamOptimized"),
            ("vdi", "static=off"),
            ("vdi", "static=on"),
            ("vpc", "subformat=dynamic"),
            ("vpc", "subformat=dynamic,force_size=on"),
            ("vpc", "subformat=fixed"),
            ("vpc", "subformat=fixed,force_size=on"),
            ("vhdx", "subformat=dynamic"),
            ("vhdx", "subformat=dynamic,block_size=1M"),
            ("vhdx", "subformat=fixed"),
        )
    )


def build_other(path: Path, layout: DiskLayout, form: tuple[str, str]) -> Path:
    """Make a file in another format; uses a file beside it meanwhile."""
    disk_format, options = form
    raw = build_raw(path.with_name(f"{path.name}.raw"), layout)
    _run("qemu-img", "convert", "-f", "raw", "-O", disk_format, "-o", options, str(raw), str(path))
    raw.unlink()
    return path


def build_raw(path: Path, layout: DiskLayout) -> Path:
    """Make a sparse raw file."""
    with path.open("wb") as file:
        file.truncate(layout.size)
        for piece in layout.pieces:
            file.seek(piece.offset)
            file.write(piece.content())
    return path


def build_qcow2(path: Path, layout: DiskLayout, options: QcowOptions) -> Path:
    """Make a qcow2 file with the given options; uses a file beside it meanwhile."""
    if options.origin in (QcowOrigin.WRITTEN, QcowOrigin.SNAPSHOT):
        return _write_qcow2(path, layout, options)
    raw = build_raw(path.with_name(f"{path.name}.raw"), layout)
    flags = {
        QcowOrigin.COMPRESSED: ["-c"],
        QcowOrigin.CONVERTED_FULL: ["-S", "0"],
    }.get(options.origin, [])
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *flags]
    _run(*convert, "-o", options.to_text(), str(raw), str(path))
    raw.unlink()
    return path


def _write_qcow2(path: Path, layout: DiskLayout, options: QcowOptions) -> Path:
    size = -(-layout.size // SECTOR_SIZE) * SECTOR_SIZE
    _run("qemu-img", "create", "-f", "qcow2", "-o", options.to_text(), str(path), str(size))
    half = len(layout.pieces) // 2
    _write_pieces(path, layout.pieces[:half])
    if options.origin is QcowOrigin.SNAPSHOT:
        _run("qemu-img", "snapshot", "-c", "before", str(path))
    _write_pieces(path, layout.pieces[half:])
    return path


def _write_pieces(path: Path, pieces: tuple[Piece, ...]) -> None:
    commands = []
    for piece in pieces:
        # The byte never is 0, so that a lost write shows.
        how = {
            PieceKind.ZERO: "write -q -z" if piece.seed % 2 else "discard -q",
            PieceKind.RANDOM: f"write -q -P {piece.seed + 1}",
            PieceKind.TEXT: f"write -q -P {piece.seed + 101}",
        }[piece.kind]
        commands += ["-c", f"{how} {piece.offset} {piece.length}"]
    if commands:
        _run("qemu-io", "-f", "qcow2", *commands, str(path))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
