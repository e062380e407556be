"""Disks as the guest sees them, whatever the format of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

from clouddesktop.disk.file import DiskFile, FileWindow
from clouddesktop.disk.nbd import open_nbd_disk
from clouddesktop.disk.ova import find_disk, is_ova
from clouddesktop.disk.probe import DiskFormat, probe_disk
from clouddesktop.disk.qcow2 import check_qcow2
from clouddesktop.disk.raw import RawDisk
from clouddesktop.disk.sandbox import SandboxPolicy
from clouddesktop.disk.spool import Spool
from clouddesktop.disk.structure import check_disk_size, unsupported
from clouddesktop.disk.unpack import find_compression, name_without_ending, unpack
from clouddesktop.disk.vdi import check_vdi
from clouddesktop.disk.vhd import check_vhd
from clouddesktop.disk.vhdx import check_vhdx
from clouddesktop.disk.vmdk import check_vmdk
from clouddesktop.model.manifest import Extent


class Disk(Protocol):
    """An opened disk. Thread-safe."""

    @property
    def size(self) -> int:
        """Bytes that the guest sees, a multiple of 512."""

    def iter_extents(self) -> Iterator[Extent]:
        """Map the data: ascending, not overlapping, maybe touching.

        Holes and areas that are known to be zero are left out. Lazy, in bounded memory; each call
        starts anew.
        """

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the whole buffer with the bytes from `offset` on.

        Raises:
            ValueError: that is not all on the disk.
        """


_CHECKS = {
    DiskFormat.QCOW2: check_qcow2,
    DiskFormat.VMDK: check_vmdk,
    DiskFormat.VDI: check_vdi,
    DiskFormat.VHDX: check_vhdx,
}


@contextmanager
def open_disk(
    file: DiskFile,
    *,
    readers: int,
    spool: Spool | None = None,
    sandbox: SandboxPolicy = SandboxPolicy.REQUIRED,
    check_alive: Callable[[], None] = lambda: None,
) -> Iterator[Disk]:
    """Open the disk in a file, once it is found safe and whole.

    Of an OVA the first disk is meant. A compressed file is unpacked into `spool` first, or refused
    without one. `check_alive` is called again and again while that or a digest takes its time; it
    may raise to stop it. `readers` threads can read at a time without waiting for each other. The
    file stays the caller's and has to stay open. Whatever was started is gone at the end, also
    after an error.

    Raises:
        UnsafeDiskError, UnsupportedDiskError, DamagedDiskError: it is not read, as probe_disk says.
        SpoolFullError, SpoolUnusableError: there is no room to unpack it.
        SpoolClosedError: the server stops while it is unpacked.
        CloudDesktopError: it cannot be opened now, as open_nbd_disk says.
    """
    with ExitStack() as stack:
        is_archive = is_ova(file)
        if is_archive:
            file = find_disk(file, check_alive=check_alive)
        compression = find_compression(file)
        if compression is not None:
            if spool is None:
                raise unsupported(file, "is compressed", remedy="Unpack it and copy that.")
            name = name_without_ending(file.name)
            spool_file = stack.enter_context(spool.open_file(name, check_alive=check_alive))
            file = unpack(file, compression, spool_file)
        if (is_archive or compression is not None) and is_ova(file):
            raise unsupported(file, "is an archive inside another", remedy="Unpack the outer one.")
        yield stack.enter_context(_open_plain(file, readers=readers, sandbox=sandbox))


@contextmanager
def _open_plain(file: DiskFile, *, readers: int, sandbox: SandboxPolicy) -> Iterator[Disk]:
    found = probe_disk(file)
    options: dict[str, str] = {}
    if found is DiskFormat.RAW:
        raw = RawDisk(file)
        check_disk_size(file, raw.size)
        yield raw
        return
    if found is DiskFormat.VHD:
        layout = check_vhd(file)
        if layout.is_fixed:
            yield RawDisk(FileWindow(file, name=file.name, offset=0, size=layout.disk_size))
            return
        disk_size = layout.disk_size
        options["force_size_calc"] = layout.size_rule
    else:
        disk_size = _CHECKS[found](file)
    check_disk_size(file, disk_size)
    with open_nbd_disk(
        file,
        driver=found,
        options=options,
        readers=readers,
        size_hint=disk_size,
        sandbox=sandbox,
    ) as disk:
        yield disk
