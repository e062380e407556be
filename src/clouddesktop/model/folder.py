"""Clouds and folders: where images are kept, and what rights and quotas hang on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

SYSTEM_FOLDER_ID = ""
"""The folder of the images that belong to the whole installation; its cloud's id is the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """What folders lie in; quotas are counted by it."""

    id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """Where images are kept. It never changes its cloud."""

    id: str
    cloud_id: str
    name: str
    created_at: datetime
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """Give JSON-ready values, to be kept as the result of an operation."""
        return {
            "id": self.id,
            "cloud_id": self.cloud_id,
            "name": self.name,
            "created_at": self.created_at.isoformat(),
            "description": self.description,
            "labels": dict(self.labels),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Folder:
        """Read back what `to_record` gave."""
        return cls(**{**record, "created_at": datetime.fromisoformat(record["created_at"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderChanges:
    """What an update sets; None leaves as it is."""

    name: str | None = None
    description: str | None = None
    labels: Mapping[str, str] | None = None
