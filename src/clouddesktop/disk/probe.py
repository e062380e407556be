"""What a file is, and whether it is safe to hand to a program that reads disks.

The decision is taken from the content alone, by oslo.utils' format inspector, before any other
program sees the file. Names and endings play no part.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from enum import StrEnum

from oslo_utils.imageutils import format_inspector

from clouddesktop.disk.errors import (
    DamagedDiskError,
    UnsafeDiskError,
    UnsupportedDiskError,
)
from clouddesktop.disk.file import DiskFile

PROBE_SIZE = 2 << 20
"""Bytes from the file's start that are inspected; the farthest header (VHDX) ends at 256 KiB."""

_PIECE_SIZE = 64 << 10
_QCOW_MAGIC = b"QFI\xfb"
_VHD_FOOTER_SIZE = 512
_VHD_COOKIE = b"conectix"

_AS_RAW = frozenset({"raw", "gpt", "iso"})
"""What is read byte by byte as it lies: no program interprets its content on our side, so that the
inspector's checks of partition tables (hybrid ones fail them) are not a matter of safety here."""

_COMPRESSIONS = {
    b"\x1f\x8b\x08": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
}

_NAMES = {
    "vhd": "VHD",
    "vhdx": "VHDX",
    "vmdk": "VMDK",
    "vdi": "VDI",
    "qed": "QED",
    "luks": "LUKS",
}

_FAILED_CHECKS = {
    "backing_file": "it has a backing file",
    "data_file": "its content lies in an external data file",
    "unknown_features": "it uses features that are not known",
    "descriptor": "its descriptor names other files or cannot be trusted",
    "footer": "its footer contradicts its header",
}

_FLATTEN = (
    "If you trust what it refers to, make one self-contained file of it with "
    "`qemu-img convert -O qcow2 OLD NEW` and copy that."
)
_CONVERT = "Convert it with `qemu-img convert -O qcow2 OLD NEW` and copy that."


class DiskFormat(StrEnum):
    """The formats that are served; the values are QEMU's names."""

    RAW = "raw"
    QCOW2 = "qcow2"


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
        _refuse_disguised(file)
        return DiskFormat.RAW
    if len(inspectors) > 1:
        listed = ", ".join(sorted(formats))
        raise UnsafeDiskError(
            f"The disk {name} is unsafe to read: it looks like several formats at once ({listed}).",
            remedy="If you know its format: `qemu-img convert -f FORMAT -O qcow2 OLD NEW`.",
            facts={"file": name, "formats": listed},
        )
    _check_safety(inspectors[0], name)
    if formats == {DiskFormat.QCOW2}:
        return DiskFormat.QCOW2
    raise _unsupported(name, _NAMES[inspectors[0].NAME])


def _inspect(file: DiskFile) -> Sequence[format_inspector.FileInspector]:
    wrapper = format_inspector.InspectWrapper(io.BytesIO(file.read_at(0, PROBE_SIZE)))
    while wrapper.read(_PIECE_SIZE):
        pass
    wrapper.close()
    try:
        return list(wrapper.formats or ())
    except AttributeError:
        # oslo.utils 10.2: VMDKInspector.format_match on a file that begins with 512 characters of
        # text and goes on with other bytes. Nothing that begins with text has another magic.
        return ()


def _check_safety(inspector: format_inspector.FileInspector, name: str) -> None:
    try:
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as error:
        failed = sorted(error.failures)
        if failed == ["unknown_features"]:
            raise UnsupportedDiskError(
                f"The disk {name} is a qcow2 file of a version or with features "
                "that are not served yet.",
                remedy=_CONVERT,
                facts={"file": name, "format": inspector.NAME},
            ) from error
        words = " and ".join(_FAILED_CHECKS.get(each, each.replace("_", " ")) for each in failed)
        raise UnsafeDiskError(
            f"The disk {name} is unsafe to read: {words}.",
            remedy=_FLATTEN,
            facts={"file": name, "format": inspector.NAME, "checks": ", ".join(failed)},
        ) from error
    except format_inspector.ImageFormatError as error:
        if inspector.NAME == DiskFormat.QCOW2:
            raise _truncated(name) from error
        # A part of another format lies past what is inspected; that format is refused anyway.


def _refuse_compressed(file: DiskFile) -> None:
    head = file.read_at(0, 8)
    for magic, compression in _COMPRESSIONS.items():
        if head.startswith(magic):
            raise UnsupportedDiskError(
                f"The disk {file.name} is compressed with {compression}, which is not served yet.",
                remedy="Decompress the file and copy that.",
                facts={"file": file.name, "format": compression},
            )


def _refuse_disguised(file: DiskFile) -> None:
    """Refuse what would pass for raw although it is not."""
    if file.read_at(0, len(_QCOW_MAGIC)) == _QCOW_MAGIC:
        raise _truncated(file.name)
    footer = file.read_at(max(0, file.size - _VHD_FOOTER_SIZE), _VHD_FOOTER_SIZE)
    if footer.startswith(_VHD_COOKIE):  # a VHD of fixed size has its header at the end only
        raise _unsupported(file.name, "VHD")


def _truncated(name: str) -> DamagedDiskError:
    return DamagedDiskError(
        f"The disk {name} is truncated: the file ends within its header.",
        remedy="Copy or download the file again.",
        facts={"file": name},
    )


def _unsupported(name: str, format_name: str) -> UnsupportedDiskError:
    return UnsupportedDiskError(
        f"The disk {name} is in the {format_name} format, which is not served yet.",
        remedy=_CONVERT,
        facts={"file": name, "format": format_name},
    )
