"""What can be wrong with a disk, whichever part of this package finds it."""

from __future__ import annotations

from clouddesktop.errors import AbortedError, FailedPreconditionError, UnavailableError


class UnsafeDiskError(FailedPreconditionError):
    """Reading the disk would make a program open something that the file names, or guess at it."""

    reason = "UNSAFE_DISK"


class UnsupportedDiskError(FailedPreconditionError):
    """The disk's format, or a feature it uses, is known and not served yet."""

    reason = "UNSUPPORTED_DISK_FORMAT"


class DamagedDiskError(FailedPreconditionError):
    """The file is truncated or contradicts itself; what is missing is never read as zeros."""

    reason = "DAMAGED_DISK"


class DiskBombError(FailedPreconditionError):
    """The file unpacks to far more than disks do, so it was made to fill or to busy the server."""

    reason = "DISK_BOMB"


class DiskStalledError(UnavailableError):
    """The program that reads the disk gave nothing for too long, and was ended."""

    reason = "DISK_STALLED"


class DiskInUseError(FailedPreconditionError):
    """Another program has the disk open for writing."""

    reason = "DISK_IN_USE"


class DiskUnreadableError(FailedPreconditionError):
    """The file was open already, but the program that reads it may not open it again."""

    reason = "DISK_UNREADABLE"


class DiskShrankError(AbortedError):
    """The file became shorter while it was read."""

    reason = "DISK_SHRANK"


class MissingProgramError(FailedPreconditionError):
    """A program or library that reads disks is not installed."""

    reason = "MISSING_PROGRAM"
