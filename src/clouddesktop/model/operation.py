"""Operations: what the API promises about work that takes time, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

from clouddesktop.errors import Failure


class OperationKind(StrEnum):
    """What an operation does; decides the types of its metadata and response."""

    COPY_IMAGE = "copy_image"
    DELETE_IMAGE = "delete_image"
    UPDATE_IMAGE = "update_image"
    CREATE_FOLDER = "create_folder"
    UPDATE_FOLDER = "update_folder"
    DELETE_FOLDER = "delete_folder"
    SET_FOLDER_BINDINGS = "set_folder_bindings"
    UPDATE_FOLDER_BINDINGS = "update_folder_bindings"
    SET_CLOUD_BINDINGS = "set_cloud_bindings"
    UPDATE_CLOUD_BINDINGS = "update_cloud_bindings"
    CREATE_COMPUTE_IMAGE = "create_compute_image"
    UPDATE_COMPUTE_IMAGE = "update_compute_image"
    DELETE_COMPUTE_IMAGE = "delete_compute_image"
    SET_COMPUTE_IMAGE_BINDINGS = "set_compute_image_bindings"
    UPDATE_COMPUTE_IMAGE_BINDINGS = "update_compute_image_bindings"
    CREATE_SERVICE_ACCOUNT = "create_service_account"
    UPDATE_SERVICE_ACCOUNT = "update_service_account"
    DELETE_SERVICE_ACCOUNT = "delete_service_account"
    SET_SERVICE_ACCOUNT_BINDINGS = "set_service_account_bindings"
    UPDATE_SERVICE_ACCOUNT_BINDINGS = "update_service_account_bindings"
    UPDATE_KEY = "update_key"
    DELETE_KEY = "delete_key"


class Priority(IntEnum):
    """Which of the copies that wait in one folder comes first; between folders it says nothing."""

    HIGH = 1
    NORMAL = 2
    LOW = 3


class Phase(StrEnum):
    """Where a copy stands, as clients see it in the progress figures."""

    QUEUED = "queued"
    PLANNING = "planning"
    COPYING = "copying"
    SEALING = "sealing"
    PUBLISHING = "publishing"
    ROLLING_BACK = "rolling_back"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a copy has come, in plain (uncompressed) bytes but for `bytes_stored`.

    `bytes_total` counts the chunks with data on the source's map, and is 0 until the plan is made.
    `bytes_done` = new + deduplicated + zero bytes. `bytes_stored` is what the new ones take in the
    store, compressed.
    """

    phase: Phase = Phase.QUEUED
    bytes_total: int = 0
    bytes_done: int = 0
    bytes_new: int = 0
    bytes_stored: int = 0
    bytes_deduplicated: int = 0
    bytes_zero: int = 0

    def to_record(self) -> dict[str, Any]:
        """JSON-ready values, the form of the `x-operation-progress` metadata."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """The caller's UUID for a request, and a digest that tells that request from others."""

    key: str
    request_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation as its caller may see it at one moment.

    It works on the resource `resource_id` in the folder `folder_id`, empty for what lies in none.
    `done` means that it came to `failure`, or to what its kind gives: `result`, the record of the
    resource as it was then, or nothing after a deletion. A failure may be there before: then the
    rollback is still running.
    """

    id: str
    kind: OperationKind
    description: str
    created_at: datetime
    created_by: str
    modified_at: datetime
    done: bool
    resource_id: str
    folder_id: str
    failure: Failure | None = None
    result: Mapping[str, Any] | None = None
    progress: Progress = field(default_factory=Progress)
