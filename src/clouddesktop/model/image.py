"""Desktop images and the compute images that they are copied from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any

from clouddesktop.ids import Digest, to_digest
from clouddesktop.model.folder import SYSTEM_FOLDER_ID

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

    @property
    def is_system(self) -> bool:
        """Whether it belongs to the whole installation."""
        return self.folder_id == SYSTEM_FOLDER_ID

    def to_record(self) -> dict[str, Any]:
        """Give JSON-ready values, to be kept as the result of an operation."""
        return {
            "id": self.id,
            "folder_id": self.folder_id,
            "name": self.name,
            "description": self.description,
            "labels": dict(self.labels),
            "status": int(self.status),
            "created_at": self.created_at.isoformat(),
            "storage_size": self.storage_size,
            "min_disk_size": self.min_disk_size,
            "manifest": None if self.manifest is None else self.manifest.hex(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Image:
        """Read back what `to_record` gave."""
        manifest = record["manifest"]
        return cls(
            id=record["id"],
            folder_id=record["folder_id"],
            name=record["name"],
            description=record["description"],
            labels=record["labels"],
            status=ImageStatus(record["status"]),
            created_at=datetime.fromisoformat(record["created_at"]),
            storage_size=record["storage_size"],
            min_disk_size=record["min_disk_size"],
            manifest=None if manifest is None else to_digest(bytes.fromhex(manifest)),
        )


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
