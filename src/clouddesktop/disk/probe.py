"""What a file is, and whether it is safe to hand to a program that reads disks.

The decision is taken from the content alone, by oslo.utils' format inspector, before any other
program sees the file. Names and endings play no part.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from enum import StrEnum

from oslo_utils.imageutils import format_inspector

from clouddesktop.disk.errors import (
    DamagedDiskError,
    UnsafeDiskError,
    UnsupportedDiskError,
)
from clouddesktop.disk.file import DiskFile
from clouddesktop.disk.structure import CONVERT, FLATTEN
from clouddesktop.disk.unpack import find_compression
from clouddesktop.disk.vhd import COOKIE, is_fixed_vhd

PROBE_SIZE = 2 << 20
"""Bytes from the file's start that are inspected; the farthest header (VHDX) ends at 256 KiB."""

_PIECE_SIZE = 64 << 10
_HEAD_SIZE = 68

_QCOW_FEATURES = struct.Struct(">4sI64xQ")  # magic, version, incompatible features at byte 72
_QCOW_VERSION = 3
_SERVED_FEATURES = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4
"""Dirty and corrupt (looked at later), kind of compression, extended tables (QEMU's qcow2.txt)."""

_VMDK_MAGIC = b"KDMV"
_VMDK_TAIL_SIZE = 1536
"""Where a streamed file has its footer: the inspector takes the stream's end for the file's."""

_VDI_MAGIC_AT = 64
_VDI_MAGIC = b"\x7f\x10\xda\xbe"
_SERVED_MAGICS = (b"QFI\xfb", _VMDK_MAGIC, COOKIE, b"vhdxfile")
_UNSERVED = {
    b"QFI\xfb\0\0\0\1": "qcow (version 1)",
    b"COWD": "VMDK (ESX sparse)",
    b"WithoutFreeSpace": "Parallels",
    b"WithouFreSpacExt": "Parallels",
    b"QED\0": "QED",
    b"LUKS\xba\xbe": "LUKS",
    b"Bochs Virtual HD": "Bochs",
    b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop": "cloop",
}

_AS_RAW = frozenset({"raw", "gpt", "iso"})
"""What is read byte by byte as it lies: no program interprets its content on our side, so that the
inspector's checks of partition tables (hybrid ones fail them) are not a matter of safety here."""

_NAMES = {"qed": "QED", "luks": "LUKS"}

_FAILED_CHECKS = {
    "backing_file": "it has a backing file",
    "data_file": "its content lies in an external data file",
    "unknown_features": "it uses features that are not known",
    "descriptor": "its descriptor names other files or cannot be trusted",
    "footer": "its footer contradicts its header",
}


class DiskFormat(StrEnum):
    """The formats that are served, wherever their content lies; the values are QEMU's names."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VDI = "vdi"
    VHD = "vpc"
    VHDX = "vhdx"


_FORMATS = {
    "qcow2": DiskFormat.QCOW2,
    "vmdk": DiskFormat.VMDK,
    "vdi": DiskFormat.VDI,
    "vhd": DiskFormat.VHD,
    "vhdx": DiskFormat.VHDX,
}
"""The inspector's names of what is served."""


def probe_disk(file: DiskFile) -> DiskFormat:
    """Tell a file's format.

    Raises:
        UnsafeDiskError: the file refers to other files, or looks like several formats at once.
        UnsupportedDiskError: the format is not served yet.
        DamagedDiskError: the header is incomplete.
    """
    name = file.name
    _refuse_compressed(file)
    inspectors = _inspect(file)
    formats = {each.NAME for each in inspectors}
    if formats <= _AS_RAW:
        if is_fixed_vhd(file):
            return DiskFormat.VHD
        _refuse_disguised(file)
        return DiskFormat.RAW
    if len(inspectors) > 1:
        listed = ", ".join(sorted(formats))
        raise UnsafeDiskError(
            f"The disk {name} is unsafe to read: it looks like several formats at once ({listed}).",
            remedy="If you know its format: `qemu-img convert -f FORMAT -O qcow2 OLD NEW`.",
            facts={"file": name, "formats": listed},
        )
    _check_safety(inspectors[0], file)
    found = _FORMATS.get(inspectors[0].NAME)
    if found is None:
        raise _unsupported(file, _NAMES[inspectors[0].NAME])
    return found


def _inspect(file: DiskFile) -> Sequence[format_inspector.FileInspector]:
    head = file.read_at(0, PROBE_SIZE)
    if head.startswith(_VMDK_MAGIC) and file.size > len(head):
        head += file.read_at(max(len(head), file.size - _VMDK_TAIL_SIZE), _VMDK_TAIL_SIZE)
    wrapper = format_inspector.InspectWrapper(io.BytesIO(head))
    while wrapper.read(_PIECE_SIZE):
        pass
    wrapper.close()
    try:
        return list(wrapper.formats or ())
    except AttributeError:
        # oslo.utils 10.2: VMDKInspector.format_match on a file that begins with 512 characters of
        # text and goes on with other bytes. Nothing that begins with text has another magic.
        return ()


def _check_safety(inspector: format_inspector.FileInspector, file: DiskFile) -> None:
    try:
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as error:
        failed = sorted(error.failures)
        if failed == ["unknown_features"]:
            if _has_known_features(file):
                return
            raise UnsupportedDiskError(
                f"The disk {file.name} is a qcow2 file of a version or with features "
                "that are not served.",
                remedy=CONVERT,
                facts={"file": file.name, "format": inspector.NAME},
            ) from error
        words = " and ".join(_FAILED_CHECKS.get(each, each.replace("_", " ")) for each in failed)
        raise UnsafeDiskError(
            f"The disk {file.name} is unsafe to read: {words}.",
            remedy=FLATTEN,
            facts={"file": file.name, "format": inspector.NAME, "checks": ", ".join(failed)},
        ) from error
    except format_inspector.ImageFormatError as error:
        if inspector.NAME in (DiskFormat.QCOW2, DiskFormat.VMDK):
            raise _truncated(file) from error
        # What lies past what is inspected is no matter of safety there; the format's check sees it.


def _has_known_features(file: DiskFile) -> bool:
    """Tell whether a qcow2 file's features are all served: the inspector knows fewer than QEMU."""
    head = file.read_at(0, _QCOW_FEATURES.size)
    if len(head) < _QCOW_FEATURES.size:
        return False
    _, version, features = _QCOW_FEATURES.unpack(head)
    return bool(version == _QCOW_VERSION and not features & ~_SERVED_FEATURES)


def _refuse_compressed(file: DiskFile) -> None:
    compression = find_compression(file)
    if compression is not None:
        raise UnsupportedDiskError(
            f"The disk {file.name} is compressed with {compression} more than once.",
            remedy="Decompress the file and copy that.",
            facts={"file": file.name, "format": compression},
        )


def _refuse_disguised(file: DiskFile) -> None:
    """Refuse what would pass for raw although it is not: pieces of headers, and rare formats."""
    head = file.read_at(0, _HEAD_SIZE)
    for magic, format_name in _UNSERVED.items():
        if head.startswith(magic):
            raise _unsupported(file, format_name)
    is_vdi = head[_VDI_MAGIC_AT:].startswith(_VDI_MAGIC) and head.startswith(b"<<<")
    if head.startswith(_SERVED_MAGICS) or is_vdi:
        raise _truncated(file)


def _truncated(file: DiskFile) -> DamagedDiskError:
    return DamagedDiskError(
        f"The disk {file.name} is truncated: the file ends within its header.",
        remedy="Copy or download the file again.",
        facts={"file": file.name},
    )


def _unsupported(file: DiskFile, format_name: str) -> UnsupportedDiskError:
    return UnsupportedDiskError(
        f"The disk {file.name} is in the {format_name} format, which is not served.",
        remedy=CONVERT,
        facts={"file": file.name, "format": format_name},
    )
