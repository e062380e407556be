"""Hostile files of the other formats, wrapped ones, and archives.

What a format's own writer made is given a lie at a time: each number of a header in turn, each
table's entries, each boundary cut. What no writer makes is written here, byte by byte.
Layouts: block/{vdi,vpc,vmdk,vhdx}.c of QEMU; POSIX.1-2001 "pax" for archives.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import zstandard

from hostile.qcow2_files import Qcow2File
from hostile.qcow2_samples import iter_targets
from hostile.verdicts import Sample, as_qemu, either, refused

FORMATS = ("vdi", "vpc", "vmdk", "vhdx")
REASONS = ("UNSAFE_DISK", "UNSUPPORTED_DISK_FORMAT", "DAMAGED_DISK")
MIB = 1 << 20

_FIELDS: Mapping[str, tuple[str, Mapping[str, tuple[int, int]]]] = {
    "vdi": (
        "little",
        {
            "version": (0x44, 4),
            "header-size": (0x48, 4),
            "type": (0x4C, 4),
            "map-offset": (0x154, 4),
            "data-offset": (0x158, 4),
            "disk-size": (0x170, 8),
            "block-size": (0x178, 4),
            "block-extra": (0x17C, 4),
            "blocks": (0x180, 4),
            "blocks-allocated": (0x184, 4),
            "map-entry": (0x200, 4),
            "parent": (0x198, 8),
        },
    ),
    "vpc": (
        "big",
        {
            "data-offset": (0x10, 8),
            "original-size": (0x28, 8),
            "current-size": (0x30, 8),
            "geometry": (0x38, 4),
            "type": (0x3C, 4),
            "table-offset": (0x210, 8),
            "table-entries": (0x21C, 4),
            "block-size": (0x220, 4),
            "parent": (0x240, 8),
            "table-entry": (0x600, 4),
        },
    ),
    "vmdk": (
        "little",
        {
            "version": (0x04, 4),
            "flags": (0x08, 4),
            "capacity": (0x0C, 8),
            "grain-size": (0x14, 8),
            "descriptor-offset": (0x1C, 8),
            "descriptor-size": (0x24, 8),
            "entries": (0x2C, 4),
            "spare-directory": (0x30, 8),
            "directory": (0x38, 8),
            "overhead": (0x40, 8),
            "compression": (0x4D, 2),
        },
    ),
    "vhdx": (
        "little",
        {
            "header-1": (64 << 10, 8),
            "header-2": (128 << 10, 8),
            "sequence": ((64 << 10) + 8, 8),
            "log-length": ((64 << 10) + 68, 4),
            "log-offset": ((64 << 10) + 72, 8),
            "regions": ((192 << 10) + 8, 4),
            "region-offset": ((192 << 10) + 32, 8),
            "region-length": ((192 << 10) + 40, 4),
        },
    ),
}


def iter_samples(canary: Path, bases: Mapping[str, bytes]) -> Iterator[Sample]:
    """Give all; `bases` are honest disks of each format, or none where only names matter."""
    for disk_format in FORMATS:
        base = bases.get(disk_format, b"")
        yield from _lies(disk_format, base)
        yield from _cuts(disk_format, base)
    yield from _descriptors(canary)
    yield from _odd_formats()
    yield from _bombs()
    yield from _archives(canary)


def _lies(disk_format: str, base: bytes) -> Iterator[Sample]:
    order, fields = _FIELDS[disk_format]
    for field, (offset, width) in fields.items():
        for name, value in {
            "0": 0,
            "1": 1,
            "half": 1 << (width * 8 - 1),
            "most": (1 << width * 8) - 1,
            "much": 1 << (width * 8 - 8),
        }.items():
            file = bytearray(base)
            file[offset : offset + width] = value.to_bytes(width, order)  # type: ignore[arg-type]
            yield as_qemu(f"{disk_format}-{field}-{name}", bytes(file), disk_format=disk_format)


def _cuts(disk_format: str, base: bytes) -> Iterator[Sample]:
    for cut in (511, 512, 513, 1024, 1536, 4096, 65535, 65536, 65537, 196608, 262144, 1 << 20):
        if cut >= len(base) > 0:
            yield as_qemu(f"{disk_format}-cut-{cut}", base, disk_format=disk_format)
            continue
        # What is left of a header may be too little to tell what it was.
        content = base[:cut].ljust(-(-min(cut, len(base)) // 512) * 512, b"\0")
        yield either(f"{disk_format}-cut-{cut}", base[:cut], content)


def _descriptors(canary: Path) -> Iterator[Sample]:
    for name, target in iter_targets(canary):
        for kind in ("FLAT", "VMFS", "SPARSE", "VMFSRDM", "VMFSRAW"):
            extent = f'RW 8192 {kind} "{target}"' + (" 0" if kind in ("FLAT", "VMFS") else "")
            yield refused(f"vmdk-text-{kind}-{name}", descriptor(extent), *REASONS)
    absolute = f'RW 8192 FLAT "{canary}" 0'
    embedded = bytearray(_sparse_header() + descriptor(absolute).ljust(10240, b"\0"))
    yield refused("vmdk-embedded-flat", bytes(embedded).ljust(MIB, b"\0"), *REASONS)
    twice = descriptor('RW 64 SPARSE "a.vmdk"\n' + absolute)
    yield refused("vmdk-two-extents", twice, *REASONS)
    parent = descriptor('RW 64 SPARSE "a.vmdk"').replace(b"ffffffff", b"12345678", 1)
    yield refused("vmdk-with-parent", parent, *REASONS)
    hint = parent + f'parentFileNameHint="{canary}"\n'.encode()
    yield refused("vmdk-with-parent-hint", hint, *REASONS)
    table = bytearray(descriptor(absolute).ljust(MIB, b"\0"))
    table[512:520] = b"EFI PART"
    table[510:512] = b"\x55\xaa"
    yield either("vmdk-text-with-gpt", bytes(table), bytes(table))  # raw to all readers


def descriptor(extent: str) -> bytes:
    return (
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
        f'createType="monolithicFlat"\n\n# Extent description\n{extent}\n\n'
        '# The Disk Data Base\nddb.virtualHWVersion = "4"\nddb.adapterType = "ide"\n'
    ).encode()


def _sparse_header() -> bytes:
    numbers = (0x564D444B, 1, 3, 8192, 128, 1, 20, 512, 21, 26, 128)
    return struct.pack("<IIIQQQQIQQQ", *numbers).ljust(512, b"\0")


def _odd_formats() -> Iterator[Sample]:
    yield refused("luks-1", b"LUKS\xba\xbe\0\1".ljust(4096, b"\0"), *REASONS)
    yield refused("luks-2", b"LUKS\xba\xbe\0\2".ljust(4096, b"\0"), *REASONS)
    yield refused(
        "qed", b"QED\0" + struct.pack("<IIIQ", 65536, 4, 1, 0).ljust(4096, b"\0"), *REASONS
    )
    empty = bytes(MIB)
    yield either("nothing-but-zeros", empty, empty)
    text = b"#" * 512 + b"\xff" * 512
    yield either("text-that-is-no-vmdk", text, text)


def _bombs() -> Iterator[Sample]:
    """Two GiB of zeros each, in many members; and archives in archives."""
    plain = bytes(64 * MIB)
    packed = {
        "gz": gzip.compress(plain, 9, mtime=0),
        "xz": lzma.compress(plain, preset=0),
        "zst": zstandard.ZstdCompressor().compress(plain),
        "bz2": bz2.compress(plain),
    }
    for name, member in packed.items():
        yield either(f"bomb-{name}", member * 32, b"")
        yield either(f"cut-{name}", member[: len(member) // 2])
        yield either(f"garbage-{name}", member[:20] + b"\xff" * 5000)
        nested = member
        for _ in range(5):
            nested = gzip.compress(nested, mtime=0)
        yield either(f"nested-{name}", nested, b"")
    qcow2 = Qcow2File(backing=b"/etc/passwd").build()
    yield refused("unsafe-in-gz", gzip.compress(qcow2, mtime=0), *REASONS)
    window = b"\x28\xb5\x2f\xfd\x00\xff" + b"\xff" * 4000  # asks for a window of terabytes
    yield either("window-zst", window)


def _archives(canary: Path) -> Iterator[Sample]:
    """An archive may be refused, read as the bytes that it is, or as its disk; never unpacked."""
    disk = Qcow2File().build()
    entity = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{canary}">]>'
    lol = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(12))
    false = b"SHA256(disk.qcow2)= 0000"
    laughs = f'<!DOCTYPE a [<!ENTITY l0 "ha">{lol}]>'
    for name, members in {
        "link": [link_of("disk.vmdk", str(canary))],
        "link-up": [link_of("disk.vmdk", f"../{canary.parent.name}/{canary.name}")],
        "hard-link": [link_of("disk.vmdk", str(canary), kind=tarfile.LNKTYPE)],
        "device": [link_of("disk.vmdk", "", kind=tarfile.CHRTYPE)],
        "absolute": [(member_of(str(canary), disk), disk)],
        "up": [(member_of(f"../../{canary.name}", disk), disk)],
        "entity": _ovf(f'<?xml version="1.0"?>{entity}<Envelope>&x;</Envelope>'),
        "laughs": _ovf(f'<?xml version="1.0"?>{laughs}<Envelope>&l12;</Envelope>'),
        "href-absolute": _ovf(_envelope(str(canary))),
        "href-up": _ovf(_envelope(f"../{canary.parent.name}/{canary.name}")),
        "href-url": _ovf(_envelope("http://127.0.0.1/disk.vmdk")),
        "many": [(member_of(f"m{index}", b""), b"") for index in range(5000)],
        "false-digest": [*_ovf(_envelope("disk.qcow2")), (member_of("a.mf", false), false)],
    }.items():
        file = tar_of(members)
        whole = file.ljust(-(-len(file) // 512) * 512, b"\0")
        content = b"".join(Qcow2File().data)
        yield either(f"tar-{name}", file, whole, content)
    huge = bytearray(tar_of([(member_of("disk.qcow2", disk), disk)]))
    huge[124:136] = b"\x80" + (1 << 62).to_bytes(11)
    yield either("tar-size-2-62", bytes(huge), bytes(huge), b"".join(Qcow2File().data))
    huge[124:136] = b"\xff" * 12
    yield either("tar-size-negative", bytes(huge), bytes(huge), b"".join(Qcow2File().data))


_Member = tuple[tarfile.TarInfo, bytes]


def member_of(name: str, content: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info


def link_of(name: str, target: str, *, kind: bytes = tarfile.SYMTYPE) -> _Member:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info, b""


def _ovf(text: str) -> list[_Member]:
    disk = Qcow2File().build()
    ovf = text.encode()
    return [(member_of("machine.ovf", ovf), ovf), (member_of("disk.qcow2", disk), disk)]


def _envelope(href: str) -> str:
    return (
        '<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" '
        'xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"><References>'
        f'<File ovf:href="{href}" ovf:id="f"/></References><DiskSection><Info/>'
        '<Disk ovf:diskId="d" ovf:fileRef="f" ovf:capacity="4194304"/></DiskSection></Envelope>'
    )


def tar_of(members: list[_Member]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()
