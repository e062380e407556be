"""Compute images that were imported; those that lie in sources are known by their place alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any

from clouddesktop.ids import Digest, to_digest


class ComputeImageStatus(IntEnum):
    """Numbered as in the API's compute Image.Status. A failed import leaves no image."""

    CREATING = 1
    READY = 2
    ERROR = 3
    DELETING = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedImage:
    """A compute image whose content is in the store. Sizes are bytes; 0 until they are known."""

    id: str
    folder_id: str
    name: str
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    family: str = ""
    os_type: int = 0
    status: ComputeImageStatus
    created_at: datetime
    storage_size: int = 0
    min_disk_size: int = 0
    manifest: Digest | None = None

    def to_record(self) -> dict[str, Any]:
        """Give JSON-ready values, to be kept as the result of an operation."""
        return {
            "id": self.id,
            "folder_id": self.folder_id,
            "name": self.name,
            "description": self.description,
            "labels": dict(self.labels),
            "family": self.family,
            "os_type": self.os_type,
            "status": int(self.status),
            "created_at": self.created_at.isoformat(),
            "storage_size": self.storage_size,
            "min_disk_size": self.min_disk_size,
            "manifest": None if self.manifest is None else self.manifest.hex(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ImportedImage:
        """Read back what `to_record` gave."""
        manifest = record["manifest"]
        converted = {
            "status": ComputeImageStatus(record["status"]),
            "created_at": datetime.fromisoformat(record["created_at"]),
            "manifest": None if manifest is None else to_digest(bytes.fromhex(manifest)),
        }
        return cls(**{**record, **converted})


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeImageChanges:
    """What an update sets; None leaves as it is."""

    name: str | None = None
    description: str | None = None
    labels: Mapping[str, str] | None = None
    min_disk_size: int | None = None
