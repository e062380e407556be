"""Hostile qcow2 files, and odd ones that are honest."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hostile.qcow2_files import (
    BACKING_FORMAT,
    BITMAPS,
    COPIED,
    DATA_FILE_NAME,
    FEATURE_NAMES,
    Qcow2File,
    compressed_entry,
    deflated,
)
from hostile.verdicts import Sample, as_qemu, either, readable, refused

CLUSTER = 65536
UNSAFE = "UNSAFE_DISK"
DAMAGED = "DAMAGED_DISK"
UNSUPPORTED = "UNSUPPORTED_DISK_FORMAT"
PLAIN = Qcow2File()
CONTENT = b"".join(PLAIN.data)


def lying(**fields: Any) -> bytes:
    return dataclasses.replace(PLAIN, **fields).build()


def iter_samples(canary: Path) -> Iterator[Sample]:
    """Give all of them; `canary` is a file that those point at which point at anything."""
    yield from _references(canary)
    yield from _sizes()
    yield from _tables()
    yield from _reference_counts()
    yield from _compressed()
    yield from _headers()
    yield from _truncated()
    yield from _polyglots()


def iter_targets(canary: Path) -> Iterator[tuple[str, str]]:
    """Give names and what a file may be told to open."""
    yield "absolute", str(canary)
    yield "relative", f"../{canary.parent.name}/{canary.name}"
    yield "file-url", f"file:{canary}"
    yield "json-file", f'json:{{"driver": "file", "filename": "{canary}"}}'
    yield "json-raw", f'json:{{"driver":"raw","file":{{"driver":"file","filename":"{canary}"}}}}'
    yield "json-nbd", 'json:{"driver": "nbd", "host": "127.0.0.1", "port": "10809"}'
    yield "nbd", "nbd://127.0.0.1:10809/x"
    yield "nbd-unix", f"nbd:unix:{canary}"
    yield "https", "https://127.0.0.1/disk.qcow2"
    yield "fat", f"fat:{canary.parent}"
    yield "device", "/dev/vda"
    yield "memory", "/dev/mem"
    yield "passwd", "/etc/passwd"
    yield "own-memory", "/proc/self/mem"
    yield "environment", "/proc/self/environ"
    yield "init-root", "/proc/1/root/etc/shadow"
    yield "descriptor", "/proc/self/fd/0"
    yield "fdset", "/dev/fdset/1"


def _references(canary: Path) -> Iterator[Sample]:
    for name, target in iter_targets(canary):
        text = target.encode()
        yield refused(f"backing-{name}", lying(backing=text), UNSAFE)
        with_format = lying(backing=text, extensions=[(BACKING_FORMAT, b"raw")])
        yield refused(f"backing-format-{name}", with_format, UNSAFE)
        yield refused(
            f"data-file-{name}",
            lying(incompatible=4, autoclear=2, extensions=[(DATA_FILE_NAME, text)]),
            *(UNSAFE, UNSUPPORTED),
        )
        # The name without the flag plays no part: the data is in the file.
        yield either(
            f"data-file-name-only-{name}",
            lying(extensions=[(DATA_FILE_NAME, text)]),
            CONTENT,
        )
    yield refused("data-file-without-name", lying(incompatible=4), UNSAFE, UNSUPPORTED)
    yield refused("backing-without-name", lying(backing=b"\0" * 8), UNSAFE)
    yield refused("backing-long-name", lying(backing=b"a" * 5000), UNSAFE, DAMAGED)
    version_2 = lying(version=2, backing=str(canary).encode())
    yield refused("backing-version-2", version_2, UNSAFE)


def _sizes() -> Iterator[Sample]:
    for name, size in {
        "2-63": 1 << 63,
        "2-63-1": (1 << 63) - 1,
        "negative": -1,
        "negative-512": -512,
        "1-eib": 1 << 60,
        "1-eib-and-a-bit": (1 << 60) + 1,
        "65-tib": 65 << 40,
    }.items():
        yield refused(f"size-{name}", lying(disk_size=size))
        yield refused(f"size-{name}-small-table", lying(disk_size=size, l1_size=1))
        yield refused(f"size-{name}-no-table", lying(disk_size=size, l1_size=0))
        large = dataclasses.replace(PLAIN, disk_size=size, cluster_bits=21, l1_size=1 << 22)
        yield refused(f"size-{name}-large-clusters", large.build(), size=23 << 20)
    yield either("size-0", lying(disk_size=0, data=[]), b"")
    yield as_qemu("size-1", lying(disk_size=1))
    yield as_qemu("size-odd", lying(disk_size=100_001))


def _tables() -> Iterator[Sample]:
    file_size = 7 * CLUSTER
    for name, offset in {
        "outside": 1 << 40,
        "at-the-end": file_size,
        "across-the-end": file_size - 512,
        "unaligned": 3 * CLUSTER + 512,
        "negative": (1 << 64) - CLUSTER,
        "2-63": 1 << 63,
        "last": (1 << 56) - 512,
    }.items():
        yield refused(f"l1-{name}", lying(l1_offset=offset), DAMAGED)
        entry = offset & ((1 << 56) - 1)
        if entry:
            yield refused(f"l2-{name}", lying(l1={0: entry | COPIED}), DAMAGED)
    for name, offset in {
        "outside": 1 << 40,
        "at-the-end": file_size,
        "across-the-end": file_size - 512,
        "last": (1 << 56) - CLUSTER,
    }.items():
        yield refused(f"cluster-{name}", lying(l2={0: offset | COPIED}), DAMAGED)
    # What QEMU calls overlaps reads the file's own bytes, or is refused.
    yield as_qemu("l1-is-header", lying(l1_offset=0))
    looping = dataclasses.replace(PLAIN, l2={0: 4 * CLUSTER | COPIED})
    table = looping.build()[4 * CLUSTER : 5 * CLUSTER]
    yield either("cluster-is-its-table", looping.build(), table + PLAIN.data[1])
    yield either(
        "cluster-after-header",
        lying(l2={0: 1 * CLUSTER | COPIED}),
        PLAIN.build()[CLUSTER : 2 * CLUSTER] + PLAIN.data[1],
    )
    for index, name in enumerate(("header", "refcount-table", "refcounts", "l1", "l2", "data")):
        yield as_qemu(f"l2-is-{name}", lying(l1={0: index * CLUSTER | COPIED}))
    shared = dict.fromkeys(range(8000), 4 * CLUSTER | COPIED)
    yield refused("l2-shared", lying(disk_size=8000 << 29, l1=shared), DAMAGED)
    same = dict.fromkeys(range(8192), 5 * CLUSTER | COPIED)
    yield refused("clusters-shared", lying(disk_size=512 << 20, l2=same), DAMAGED)
    twice = {0: 5 * CLUSTER | COPIED, 1: 5 * CLUSTER | COPIED}
    yield either("cluster-twice", lying(l2=twice), PLAIN.data[0] * 2)
    for size in (0xFFFFFFFF, 0x7FFFFFFF, 1 << 25, (1 << 22) + 1):
        yield refused(f"l1-of-{size}", lying(l1_size=size), DAMAGED)
        yield refused(f"l1-of-{size}-in-a-hole", lying(l1_size=size), DAMAGED, size=8 << 40)
    reserved = {0: 5 * CLUSTER | 0x1FE, 1: 6 * CLUSTER | COPIED | 0x3F << 56}
    yield either("reserved-bits", lying(l2=reserved), CONTENT)
    yield readable("zero-flags", lying(l2={0: 1, 1: 6 * CLUSTER | 1 | COPIED}), b"")


def _reference_counts() -> Iterator[Sample]:
    for name, offset in {
        "outside": 1 << 50,
        "unaligned": 513,
        "header": 0,
        "2-63": 1 << 63,
    }.items():
        yield either(f"refcount-table-{name}", lying(refcount_table=offset), CONTENT)
        yield either(f"refcount-block-{name}", lying(refcount_block=offset), CONTENT)
    for clusters in (0, 1000, 0xFFFFFFFF):
        yield either(f"refcount-clusters-{clusters}", lying(refcount_clusters=clusters), CONTENT)
    for order in (0, 6, 7, 64, 0xFFFFFFFF):
        yield either(f"refcount-order-{order}", lying(refcount_order=order), CONTENT)
    for count, offset in ((1, 1 << 60), (0xFFFFFFFF, CLUSTER), (65536, CLUSTER), (3, 513)):
        yield either(
            f"snapshots-{count}-at-{offset}",
            lying(snapshots=count, snapshots_offset=offset),
            CONTENT,
        )


def _compressed() -> Iterator[Sample]:
    place = 7 * CLUSTER
    plain = bytes(random.Random(5).choices(range(16), k=CLUSTER))  # noqa: S311  (test data)
    good = deflated(plain)

    def with_cluster(packed: bytes, *, size: int | None = None, **fields: Any) -> bytes:
        entry = compressed_entry(place, len(packed) if size is None else size)
        return lying(l2={0: entry}, tail=packed, **fields)

    rest = PLAIN.data[1]
    yield readable("compressed", with_cluster(good + bytes(512)), plain + rest)
    yield readable("compressed-at-the-end", with_cluster(good), plain + rest)
    yield refused("compressed-cut", with_cluster(good[: len(good) // 2]), DAMAGED)
    yield refused(
        "compressed-cut-padded", with_cluster(good[:20_000].ljust(30_000, b"\0")), DAMAGED
    )
    yield refused("compressed-garbage", with_cluster(b"\xff" * 600), DAMAGED)
    yield refused("compressed-empty", with_cluster(b"\0" * 600), DAMAGED)
    yield refused("compressed-outside", with_cluster(good, size=60_000), DAMAGED)
    # It gives more than a cluster: QEMU takes the first 64 KiB, or says that it cannot.
    longer = deflated(plain + b"more" * 100_000)
    yield either("compressed-expands", with_cluster(longer[:60_000]), plain + rest)
    bomb = deflated(bytes(64 << 20))
    yield either("compressed-bomb", with_cluster(bomb[:CLUSTER]), bytes(CLUSTER) + rest)
    short = deflated(plain[:1000])
    yield refused("compressed-short", with_cluster(short.ljust(1024, b"\0")), DAMAGED)
    zstd = {"incompatible": 8, "compression": 1}
    yield refused(
        "zstd-garbage", with_cluster(b"\x28\xb5\x2f\xfd" + b"\xff" * 600, **zstd), DAMAGED
    )
    huge = b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 8 + b"\xff" * 600
    yield refused("zstd-huge-frame", with_cluster(huge, **zstd), DAMAGED)
    for kind in (2, 255):
        yield refused(f"compression-{kind}", with_cluster(good, incompatible=8, compression=kind))
    yield either("compression-without-flag", with_cluster(good, compression=1), plain + rest)
    many = {index: compressed_entry(place, len(good)) for index in range(8192)}
    yield either(
        "compressed-shared",
        lying(disk_size=64 << 20, l2=dict(list(many.items())[:1024]), tail=good + bytes(512)),
        plain * 1024,
    )
    large = Qcow2File(cluster_bits=21, disk_size=1 << 40, data=[])
    entry = compressed_entry(5 << 21, 3000, cluster_bits=21)
    large.l1 = {0: (4 << 21) | COPIED, 1: (5 << 21) + (1 << 21) | COPIED}
    table = b"".join(entry.to_bytes(8) for _ in range(1 << 18))
    large.tail = deflated(b"bomb" * (1 << 19)).ljust(1 << 21, b"\0") + table
    large.l2 = dict.fromkeys(range(1 << 18), entry)
    yield refused("compressed-1-tib-bomb", large.build(), "DISK_BOMB")


def _headers() -> Iterator[Sample]:
    for version in (0, 1, 4, 255, 0xFFFFFFFF):
        yield refused(f"version-{version}", lying(version=version))
    for bits in (0, 8, 22, 31, 63, 64, 0xFFFFFFFF):
        odd = bytearray(PLAIN.build())
        odd[20:24] = bits.to_bytes(4)
        yield refused(f"cluster-bits-{bits}", bytes(odd))
    for method in (1, 2, 3, 0xFFFFFFFF):
        yield refused(f"encryption-{method}", lying(encryption=method))
    for bit in (1, 3, 4, 5, 17, 31, 62, 63):
        yield as_qemu(f"feature-{bit}", lying(incompatible=1 << bit))
    yield either("dirty", lying(incompatible=1), CONTENT)
    for length in (0, 71, 72, 100, 104, 113, 1 << 16, 0xFFFFFFFF):
        yield either(f"header-length-{length}", lying(header_length=length), CONTENT)
    for name, extension in {
        "unknown": (0x12345678, b"x" * 100),
        "bitmaps": (BITMAPS, b"\xff" * 24),
        "bitmaps-short": (BITMAPS, b""),
        "features": (FEATURE_NAMES, b"\xff" * 4800),
        "crypto": (0x0537BE77, b"\xff" * 16),
        "format": (BACKING_FORMAT, b"json:{}"),
    }.items():
        for clear in (0, 1, 2, 3):
            file = lying(extensions=[extension], autoclear=clear)
            yield either(f"extension-{name}-{clear}", file, CONTENT)
    endless = lying(extensions=[(0x1234, b"")] * 2000, ends_extensions=False)
    yield either("extensions-endless", endless, CONTENT)
    for length in (1 << 16, 1 << 31, 0xFFFFFFFF):
        odd = bytearray(PLAIN.build())
        odd[112:120] = (0x1234).to_bytes(4) + length.to_bytes(4)
        yield either(f"extension-of-{length}", bytes(odd), CONTENT)


def _truncated() -> Iterator[Sample]:
    whole = PLAIN.build()
    boundaries = {5, 8, 20, 24, 32, 36, 48, 72, 100, 104, 105, 112, 120}
    boundaries |= {index * CLUSTER for index in range(1, 7)}
    for cut in sorted({boundary + step for boundary in boundaries for step in (-1, 0, 1)}):
        yield refused(f"truncated-{cut:06d}", whole[:cut], DAMAGED)
    yield refused("truncated-by-one", whole[:-1], DAMAGED)


def _polyglots() -> Iterator[Sample]:
    with_boot_record = bytearray(PLAIN.build())
    with_boot_record[510:512] = b"\x55\xaa"
    with_boot_record[446:462] = b"\x80\0\2\0\x83\xff\xff\xff\1\0\0\0\0\x10\0\0"
    yield either("qcow2-with-mbr", bytes(with_boot_record), CONTENT)
    iso = bytearray(PLAIN.build())
    iso[32768:32775] = b"\1CD001\1"
    yield refused("qcow2-with-iso", bytes(iso), UNSAFE)
    reverse = bytearray(2 << 20)
    reverse[32768:32775] = b"\1CD001\1"
    reverse[1 << 20 : (1 << 20) + len(PLAIN.build()[:CLUSTER])] = PLAIN.build()[:CLUSTER]
    yield readable("iso-with-qcow2-inside", bytes(reverse), bytes(reverse))
    vdi = bytearray(PLAIN.build())
    vdi[64:68] = b"\x7f\x10\xda\xbe"
    yield as_qemu("qcow2-with-vdi", bytes(vdi))
    vhd = PLAIN.build() + b"conectix".ljust(512, b"\0")
    yield either("qcow2-with-vhd-footer", vhd, CONTENT)
    gpt = bytearray(PLAIN.build())
    gpt[512:520] = b"EFI PART"
    yield either("qcow2-with-gpt", bytes(gpt), CONTENT)
