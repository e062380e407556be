"""Events of the audit log, in the form of the public cloud's; docs/audit.md shows one."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import Error as JsonError
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.api.status import to_status
from clouddesktop.errors import Code, Failure
from clouddesktop.iam.access import Caller
from clouddesktop.model.federation import issuer_name_of
from clouddesktop.telemetry import strike_out_secrets

_PREFIX = "yandex.cloud.audit"
_OWN_SOURCE = "clouddesktop"
_PEER = re.compile(r"(?:ipv[46]:)?(?P<host>.*):(?P<port>[0-9]+)")
_NAMESPACE = uuid.UUID("5c0f6f1c-8f0a-4f1e-9d2b-6f2a5f0f7a11")

FindCloudId = Callable[[str], str | None]
"""Tells the cloud of a folder."""


class EventStatus(StrEnum):
    """How far that is which an event tells of."""

    STARTED = "STARTED"
    DONE = "DONE"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"

    @classmethod
    def of_failure(cls, failure: Failure) -> EventStatus:
        return cls.CANCELLED if failure.code is Code.CANCELLED else cls.ERROR


def event_type_of(method: MethodDescriptor) -> str:
    """Name the event of a method as the public cloud does.

    DesktopImageService.Copy gives `….clouddesktop.CopyDesktopImage`, its CopyFromDesktop
    `….CopyDesktopImageFromDesktop`, FolderService.SetAccessBindings `….SetFolderAccessBindings`.
    """
    service = method.containing_service
    verb, rest = re.fullmatch(r"([A-Z][a-z]*)(.*)", method.name).groups()  # type: ignore[union-attr]  # names of methods are such
    noun = service.name.removesuffix("Service")
    return f"{_PREFIX}.{service.full_name.split('.')[2]}.{verb}{noun}{rest}"


def own_event_type(name: str) -> str:
    """Name the event of a request to one of our own paths, `start_run` as `….StartRun`."""
    return f"{_PREFIX}.{_OWN_SOURCE}.{name.title().replace('_', '')}"


def make_event(
    *,
    event_type: str,
    status: EventStatus,
    request_id: str,
    caller: Caller | None,
    find_cloud_id: FindCloudId,
    peer: str,
    user_agent: str,
    parameters: Mapping[str, Any],
    failure: Failure | None = None,
    outcome: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Build the event of a call; `outcome` has `operation_id`, `details` and `response`."""
    checks = [] if caller is None else caller.checks
    return {
        "event_id": str(uuid.uuid4()),
        "event_source": event_type.split(".")[3],
        "event_type": event_type,
        "event_time": _to_text(datetime.now(tz=UTC)),
        "authentication": _authentication_of(None if caller is None else caller.id),
        "authorization": {
            "authorized": caller is not None and all(is_granted for *_, is_granted in checks),
            "permissions": [
                {
                    "permission": str(permission),
                    "resource_type": str(resource.kind),
                    "resource_id": resource.id,
                    "authorized": is_granted,
                }
                for permission, resource, is_granted in checks
            ],
        },
        "resource_metadata": {"path": _path_of(caller, find_cloud_id)},
        "request_metadata": {
            **_split_peer(peer),
            "user_agent": user_agent,
            "request_id": request_id,
        },
        "event_status": str(status),
        **({} if failure is None else {"error": _error_of(failure, request_id)}),
        **(outcome or {}),
        "request_parameters": without_secrets(parameters),
    }


def make_end_event(
    *,
    event_type: str,
    operation: Operation,
    ended_with: Failure | None,
    folder_id: str,
    find_cloud_id: FindCloudId,
) -> dict[str, Any]:
    """Build the event of an operation's end; made twice, it has the same `event_id`."""
    status = EventStatus.DONE if ended_with is None else EventStatus.of_failure(ended_with)
    return {
        "event_id": str(uuid.uuid5(_NAMESPACE, f"{operation.id}/{status}")),
        "event_source": event_type.split(".")[3],
        "event_type": event_type,
        "event_time": operation.modified_at.ToJsonString(),
        "authentication": _authentication_of(operation.created_by),
        "resource_metadata": {"path": _folder_path(folder_id, find_cloud_id)},
        "event_status": str(status),
        **({} if ended_with is None else {"error": _error_of(ended_with, operation.id)}),
        **outcome_of(operation),
    }


def outcome_of(operation: Operation) -> dict[str, Any]:
    """Say what an operation is about, and what it has come to if it is done."""
    outcome: dict[str, Any] = {"operation_id": operation.id}
    details = _unpacked(operation, "metadata")
    if operation.WhichOneof("result") == "response":
        outcome["response"] = _unpacked(operation, "response")
        name = outcome["response"].get("name")
        details = {**details, **({"image_name": name} if name and "image_id" in details else {})}
    return {"details": details, **outcome}


def parameters_of(request: Message | None) -> dict[str, Any]:
    """Give a request as JSON-ready values, by its fields' own names."""
    if request is None:
        return {}
    try:
        return _to_dict(request)
    except JsonError:
        # Refused requests are noted too: with masks and instants that JSON has no form for.
        return {
            name: value
            for field, _ in request.ListFields()
            for name, value in _field_to_dict(request, field.name).items()
        }


def _field_to_dict(request: Message, name: str) -> dict[str, Any]:
    alone = type(request)()
    alone.CopyFrom(request)
    for field, _ in request.ListFields():
        if field.name != name:
            alone.ClearField(field.name)
    try:
        return _to_dict(alone)
    except JsonError:
        return {name: str(getattr(request, name))}


def _to_dict(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return found


def without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """Strike out what is secret by its name or its form, however deep it lies."""
    cleaned = {
        name: without_secrets(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
    }
    return dict(strike_out_secrets(None, "", cleaned))


def _unpacked(operation: Operation, field: str) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(
        getattr(operation, field), preserving_proto_field_name=True
    )
    found.pop("@type", None)
    return found


def _authentication_of(subject_id: str | None) -> dict[str, Any]:
    if not subject_id:
        return {"authenticated": False}
    issuer_name = issuer_name_of(subject_id)
    return {
        "authenticated": True,
        "subject_type": "FEDERATED_USER_ACCOUNT" if issuer_name else "SERVICE_ACCOUNT",
        "subject_id": subject_id,
        **({"federation_id": issuer_name} if issuer_name else {}),
    }


def _path_of(caller: Caller | None, find_cloud_id: FindCloudId) -> list[dict[str, str]]:
    """Go from the cloud down to the first resource that a permission was needed on."""
    if caller is None or not caller.checks:
        return []
    resource = caller.checks[0][1]
    path = [] if resource.folder_id is None else _folder_path(resource.folder_id, find_cloud_id)
    own = {"resource_type": str(resource.kind), "resource_id": resource.id}
    return path if path and path[-1] == own else [*path, own]


def _folder_path(folder_id: str, find_cloud_id: FindCloudId) -> list[dict[str, str]]:
    cloud_id = find_cloud_id(folder_id) if folder_id else None
    if cloud_id is None:
        return []
    return [
        {"resource_type": "resource-manager.cloud", "resource_id": cloud_id},
        {"resource_type": "resource-manager.folder", "resource_id": folder_id},
    ]


def _split_peer(peer: str) -> dict[str, Any]:
    match = _PEER.fullmatch(peer)
    if match is None:
        return {"remote_address": peer}
    # gRPC writes an IPv6 address percent-encoded, in brackets.
    host = match["host"].replace("%5B", "").replace("%5D", "").strip("[]")
    return {"remote_address": host, "remote_port": match["port"]}


def _error_of(failure: Failure, request_id: str) -> dict[str, Any]:
    error: dict[str, Any] = MessageToDict(
        to_status(failure, request_id), preserving_proto_field_name=True
    )
    return error


def _to_text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
