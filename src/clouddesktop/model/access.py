"""Who may call, and on what: subjects, the keys that prove who they are, resources, bindings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

ALL_AUTHENTICATED_USERS = "allAuthenticatedUsers"
"""The system's subject that stands for everybody with a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Who makes a call: the id of a service account, or of a federated user (federation.py)."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizedKey:
    """The public half of a service account's key; `public_key` is PEM."""

    id: str
    service_account_id: str
    created_at: datetime
    public_key: str
    description: str = ""

    def to_record(self) -> dict[str, str]:
        """Give JSON-ready values, to be kept as the result of an operation."""
        return {
            "id": self.id,
            "service_account_id": self.service_account_id,
            "created_at": self.created_at.isoformat(),
            "public_key": self.public_key,
            "description": self.description,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> AuthorizedKey:
        """Read back what `to_record` gave."""
        return cls(**{**record, "created_at": datetime.fromisoformat(record["created_at"])})


class ResourceKind(StrEnum):
    """What roles are bound on or checked for; the value is the resource's type in bindings."""

    CLOUD = "resource-manager.cloud"
    FOLDER = "resource-manager.folder"
    IMAGE = "vdi.image"
    COMPUTE_IMAGE = "compute.image"
    SERVICE_ACCOUNT = "iam.serviceAccount"
    KEY = "iam.key"
    OPERATION = "operation.operation"

    @property
    def word(self) -> str:
        """The word that errors have for it, as in `Folder b1g… not found`."""
        return _WORDS[self]


_WORDS = {
    ResourceKind.CLOUD: "Cloud",
    ResourceKind.FOLDER: "Folder",
    ResourceKind.IMAGE: "Image",
    ResourceKind.COMPUTE_IMAGE: "Image",
    ResourceKind.SERVICE_ACCOUNT: "ServiceAccount",
    ResourceKind.KEY: "Key",
    ResourceKind.OPERATION: "Operation",
}


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource and the folder that it lies in; of a folder, its own id.

    A cloud lies in none, and what belongs to the whole installation in one with an empty id.
    """

    kind: ResourceKind
    id: str
    folder_id: str | None

    @classmethod
    def of_cloud(cls, cloud_id: str) -> Resource:
        return cls(ResourceKind.CLOUD, cloud_id, None)

    @classmethod
    def of_folder(cls, folder_id: str) -> Resource:
        return cls(ResourceKind.FOLDER, folder_id, folder_id)

    @classmethod
    def of_image(cls, image_id: str, folder_id: str) -> Resource:
        return cls(ResourceKind.IMAGE, image_id, folder_id)

    @classmethod
    def of_service_account(cls, service_account_id: str, folder_id: str) -> Resource:
        return cls(ResourceKind.SERVICE_ACCOUNT, service_account_id, folder_id)

    @classmethod
    def of_key(cls, key_id: str, folder_id: str) -> Resource:
        return cls(ResourceKind.KEY, key_id, folder_id)

    @classmethod
    def of_compute_image(cls, image_id: str, folder_id: str) -> Resource:
        return cls(ResourceKind.COMPUTE_IMAGE, image_id, folder_id)


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class AccessBinding:
    """A role that a subject has on a resource and on all that lies in it.

    `subject_type` is one of the public API's: `userAccount`, `serviceAccount`, `federatedUser`,
    `system`.
    """

    role_id: str
    subject_id: str
    subject_type: str
