"""Service accounts: subjects that programs call as, each in a folder, with keys of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount:
    """A service account; `id` is the subject's id in tokens and bindings."""

    id: str
    folder_id: str
    name: str
    created_at: datetime
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """Give JSON-ready values, to be kept as the result of an operation."""
        return {
            "id": self.id,
            "folder_id": self.folder_id,
            "name": self.name,
            "created_at": self.created_at.isoformat(),
            "description": self.description,
            "labels": dict(self.labels),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ServiceAccount:
        """Read back what `to_record` gave."""
        return cls(**{**record, "created_at": datetime.fromisoformat(record["created_at"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccountChanges:
    """What an update sets; None leaves as it is."""

    name: str | None = None
    description: str | None = None
    labels: Mapping[str, str] | None = None
