"""What a GUID partition table (UEFI specification, chapter 5.3) says about its disk's size."""

from __future__ import annotations

import struct
import zlib

from clouddesktop.disk.file import DiskFile

_HEADER = struct.Struct("<8sIIIIQQ")  # signature, revision, size, CRC, reserved, own LBA, other LBA
_SIGNATURE = b"EFI PART"
_CRC_FIELD = slice(16, 20)
_MAX_HEADER_SIZE = 512
_SECTOR_SIZES = (512, 4096)


def find_gpt_disk_size(file: DiskFile) -> int | None:
    """Give the size in bytes of the disk that the table was made for; None without a valid table.

    The backup header lies in the disk's last sector, and the primary one tells which that is.
    """
    for sector_size in _SECTOR_SIZES:
        raw = file.read_at(sector_size, _MAX_HEADER_SIZE)
        if len(raw) < _MAX_HEADER_SIZE:
            return None
        signature, _, header_size, checksum, _, own_lba, backup_lba = _HEADER.unpack_from(raw)
        if signature != _SIGNATURE or not _HEADER.size <= header_size <= _MAX_HEADER_SIZE:
            continue
        header = bytearray(raw[:header_size])
        header[_CRC_FIELD] = bytes(4)
        if zlib.crc32(header) == checksum and own_lba == 1:
            return int(backup_lba + 1) * sector_size
    return None
