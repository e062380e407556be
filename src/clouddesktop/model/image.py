"""Desktop images and the compute images that they are copied from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from clouddesktop.ids import Digest

MIN_DISK_STEP = 4 << 20
"""`min_disk_size` is the virtual disk's size rounded up to this many bytes."""


class ImageStatus(IntEnum):
    """Numbered as in the API's DesktopImage.Status. No ERROR: a failed copy leaves no image."""

    CREATING = 1
    ACTIVE = 2
    DELETING = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A desktop image. Sizes are bytes; 0 until the copy has found them out.

    `storage_size` is the stored (compressed) size of the image's own chunks, each counted once;
    `manifest` names the content once the image is ACTIVE.
    """

    id: str
    folder_id: str
    name: str
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    status: ImageStatus
    created_at: datetime
    storage_size: int = 0
    min_disk_size: int = 0
    manifest: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChanges:
    """What an update sets; None leaves as it is."""

    name: str | None = None
    description: str | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeImage:
    """A disk that somebody prepared, where it lies: `location` is a path inside its source."""

    id: str
    folder_id: str
    source: str
    location: str


def min_disk_size_of(disk_size: int) -> int:
    """Round a virtual disk's size in bytes up to the step in which disks are made."""
    return -(-disk_size // MIN_DISK_STEP) * MIN_DISK_STEP
