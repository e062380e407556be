"""Raw files, read as they lie."""

from __future__ import annotations

from collections.abc import Iterator

from clouddesktop.disk.errors import DamagedDiskError
from clouddesktop.disk.file import DiskFile
from clouddesktop.disk.gpt import find_gpt_disk_size
from clouddesktop.model.manifest import Extent

SECTOR_SIZE = 512


class RawDisk:
    """A raw file as a disk. Does not own the file. Thread-safe."""

    def __init__(self, file: DiskFile) -> None:
        """Take over the size that the file has now.

        Raises:
            DamagedDiskError: the partition table describes a longer disk.
        """
        self._file = file
        # QEMU shows a guest whole sectors, the rest of the last one as zeros.
        self._size = -(-file.size // SECTOR_SIZE) * SECTOR_SIZE
        _check_complete(file, size=self._size)

    @property
    def size(self) -> int:
        return self._size

    def iter_extents(self) -> Iterator[Extent]:
        return self._file.iter_extents()

    def read_into(self, offset: int, buffer: memoryview) -> None:
        end = offset + len(buffer)
        if offset < 0 or end > self._size:
            raise ValueError(f"Bytes {offset} to {end} are not on a disk of {self._size} bytes.")
        in_file = max(0, min(end, self._file.size) - offset)
        if in_file:
            self._file.read_into(offset, buffer[:in_file])
        buffer[in_file:] = bytes(len(buffer) - in_file)


def _check_complete(file: DiskFile, *, size: int) -> None:
    wanted = find_gpt_disk_size(file)
    if wanted is not None and wanted > size:
        raise DamagedDiskError(
            f"The disk {file.name} is truncated: its partition table describes {wanted} bytes, "
            f"the file has {size}.",
            remedy="Copy or download the file again.",
            facts={"file": file.name, "size": str(size), "expected_size": str(wanted)},
        )
