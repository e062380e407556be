"""qcow2 files, byte by byte, with whatever lies a writer of images would not tell.

Format: docs/interop/qcow2.txt of QEMU. Big-endian; offsets are the file's.

    cluster 0     1               2               3         4         5 ...
    header        refcount table  refcount block  L1 table  L2 table  data
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

MAGIC = b"QFI\xfb"
COPIED = 1 << 63
COMPRESSED = 1 << 62
DATA_FILE_NAME = 0x44415441
BACKING_FORMAT = 0xE2792ACA
BITMAPS = 0x23852875
FEATURE_NAMES = 0x6803F857


@dataclass(kw_only=True)
class Qcow2File:
    """A file of 4 MiB of disk with `data` in its first clusters; each field may lie."""

    data: list[bytes] = field(default_factory=lambda: [b"\xa5" * 65536, b"\x5a" * 65536])
    version: int = 3
    cluster_bits: int = 16
    disk_size: int = 4 << 20
    encryption: int = 0
    backing: bytes = b""
    incompatible: int = 0
    compatible: int = 0
    autoclear: int = 0
    refcount_order: int = 4
    header_length: int = 112
    compression: int = 0
    refcount_table: int | None = None
    refcount_clusters: int = 1
    refcount_block: int | None = None
    snapshots: int = 0
    snapshots_offset: int = 0
    l1_size: int | None = None
    l1_offset: int | None = None
    l1: dict[int, int] = field(default_factory=dict)
    l2: dict[int, int] = field(default_factory=dict)
    extensions: list[tuple[int, bytes]] = field(default_factory=list)
    ends_extensions: bool = True
    tail: bytes = b""

    @property
    def cluster_size(self) -> int:
        return 1 << self.cluster_bits

    def content(self) -> dict[int, bytes]:
        """What the disk holds if nothing lies: offsets and bytes."""
        return {index * self.cluster_size: each for index, each in enumerate(self.data)}

    def build(self) -> bytes:
        size = self.cluster_size
        entries = {
            index: (5 + index) * size | COPIED for index, each in enumerate(self.data) if each
        }
        table = bytearray(size)
        for index, entry in {**entries, **self.l2}.items():
            struct.pack_into(">Q", table, index * 8, entry)
        first = bytearray(size)
        for index, entry in {0: 4 * size | COPIED, **self.l1}.items():
            struct.pack_into(">Q", first, index * 8, entry)
        block = struct.pack(">H", 1) * (5 + len(self.data))
        clusters = [
            self._header(),
            struct.pack(">Q", 2 * size if self.refcount_block is None else self.refcount_block),
            block,
            bytes(first),
            bytes(table),
            *self.data,
        ]
        return b"".join(each.ljust(size, b"\0")[:size] for each in clusters) + self.tail

    def _header(self) -> bytes:
        size = self.cluster_size
        extensions = b"".join(
            struct.pack(">II", kind, len(body)) + body.ljust(-(-len(body) // 8) * 8, b"\0")
            for kind, body in self.extensions
        )
        if self.ends_extensions:
            extensions += bytes(8)
        backing_offset = 112 + len(extensions) if self.backing else 0
        per_table = size // 8 * size
        l1_size = max(1, -(-self.disk_size // per_table)) if self.l1_size is None else self.l1_size
        header = struct.pack(
            ">4sIQIIQIIQQIIQ",
            *(MAGIC, self.version, backing_offset, len(self.backing), self.cluster_bits),
            *(self.disk_size & (2**64 - 1), self.encryption, l1_size & 0xFFFFFFFF),
            3 * size if self.l1_offset is None else self.l1_offset,
            size if self.refcount_table is None else self.refcount_table,
            *(self.refcount_clusters, self.snapshots, self.snapshots_offset),
        )
        header += struct.pack(
            ">QQQIIB7x",
            *(self.incompatible, self.compatible, self.autoclear),
            *(self.refcount_order, self.header_length, self.compression),
        )
        return header + extensions + self.backing


def deflated(plain: bytes) -> bytes:
    """Compress as qcow2 wants it: raw deflate with a window of 4 KiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    return packer.compress(plain) + packer.flush()


def compressed_entry(offset: int, size: int, *, cluster_bits: int = 16) -> int:
    """Give the L2 entry of a compressed cluster at a place of the file."""
    sectors = (offset + size - 1) // 512 - offset // 512
    return COMPRESSED | sectors << (62 - (cluster_bits - 8)) | offset
