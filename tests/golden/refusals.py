"""Calls that are refused, and the Status that clients get: written by hand, as exchanges.py is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from clouddesktop.errors import (
    AlreadyExistsError,
    CloudDesktopError,
    FailedPreconditionError,
    ResourceExhaustedError,
)
from golden.prepared import ANY, IMAGES, Json
from unit.api.serving import FOLDER_ID

RPC = "google.rpc"
SERVICE = f"{IMAGES}.DesktopImageService"
REQUEST_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OUR_WORDS = re.compile(r".+", re.DOTALL)
COPY = {"folderId": FOLDER_ID, "name": "x", "imageId": "debian12"}
COPY_REQUEST = f"{IMAGES}.CopyDesktopImageRequest"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A call and its Status; `cause` is what copying fails with."""

    name: str
    method: str
    request: tuple[str, Json]
    status: Json
    http_status: int
    rest: tuple[str, str, Json]
    cause: CloudDesktopError | None = None
    has_token: bool = True


def status(code: int, message: Any, reason: str, *details: Json, **metadata: Any) -> Json:
    """Word a Status: ErrorInfo and RequestInfo come first and always."""
    info: Json = {"@type": f"{ANY}{RPC}.ErrorInfo", "reason": reason, "domain": "clouddesktop"}
    request_info = {"@type": f"{ANY}{RPC}.RequestInfo", "requestId": REQUEST_ID}
    return {
        "code": code,
        "message": message,
        "details": [
            {**info, **({"metadata": metadata} if metadata else {})},
            request_info,
            *details,
        ],
    }


REFUSALS = [
    Refusal(
        name="what is not there",
        method=f"{SERVICE}/Get",
        request=(f"{IMAGES}.GetDesktopImageRequest", {"imageId": "e3vnone"}),
        rest=("GET", "/cloud-desktop/v1/images/e3vnone", None),
        http_status=404,
        status=status(
            5,
            "Image e3vnone not found",
            "NOT_FOUND",
            {
                "@type": f"{ANY}{RPC}.ResourceInfo",
                "resourceType": "Image",
                "resourceName": "e3vnone",
                "description": "Image e3vnone not found",
            },
            resource_type="Image",
            resource_id="e3vnone",
        ),
    ),
    Refusal(
        name="what breaks rules",
        method=f"{SERVICE}/Copy",
        request=(COPY_REQUEST, {**COPY, "folderId": "", "name": "x" * 51}),
        rest=("POST", "/cloud-desktop/v1/images:copy", {**COPY, "folderId": "", "name": "x" * 51}),
        http_status=400,
        status=status(
            3,
            "Validation error:\nfolder_id: Field is required\n"
            "name: Length must be less than or equal to 50",
            "INVALID_ARGUMENT",
            {
                "@type": f"{ANY}{RPC}.BadRequest",
                "fieldViolations": [
                    {"field": "folder_id", "description": "Field is required"},
                    {"field": "name", "description": "Length must be less than or equal to 50"},
                ],
            },
        ),
    ),
    Refusal(
        name="nobody",
        method=f"{SERVICE}/Copy",
        request=(COPY_REQUEST, COPY),
        rest=("POST", "/cloud-desktop/v1/images:copy", COPY),
        http_status=401,
        status=status(16, OUR_WORDS, "TOKEN_MISSING", remedy=OUR_WORDS),
        has_token=False,
    ),
    Refusal(
        name="a name that is taken",
        method=f"{SERVICE}/Copy",
        request=(COPY_REQUEST, COPY),
        rest=("POST", "/cloud-desktop/v1/images:copy", COPY),
        http_status=409,
        status=status(6, "Image with name x already exists", "ALREADY_EXISTS"),
        cause=AlreadyExistsError("Image with name x already exists"),
    ),
    Refusal(
        name="what cannot be done now",
        method=f"{SERVICE}/Copy",
        request=(COPY_REQUEST, COPY),
        rest=("POST", "/cloud-desktop/v1/images:copy", COPY),
        http_status=400,
        status=status(
            9,
            "It is locked.",
            "FAILED_PRECONDITION",
            {
                "@type": f"{ANY}{RPC}.PreconditionFailure",
                "violations": [{"type": "FAILED_PRECONDITION", "description": "It is locked."}],
            },
        ),
        cause=FailedPreconditionError("It is locked."),
    ),
    Refusal(
        name="what may be tried again",
        method=f"{SERVICE}/Copy",
        request=(COPY_REQUEST, COPY),
        rest=("POST", "/cloud-desktop/v1/images:copy", COPY),
        http_status=429,
        status=status(
            8,
            "Too many.",
            "RESOURCE_EXHAUSTED",
            {"@type": f"{ANY}{RPC}.RetryInfo", "retryDelay": "1.500s"},
        ),
        cause=ResourceExhaustedError("Too many.", retry_after_seconds=1.5),
    ),
    Refusal(
        name="more than a quota allows",
        method=f"{SERVICE}/Copy",
        request=(COPY_REQUEST, COPY),
        rest=("POST", "/cloud-desktop/v1/images:copy", COPY),
        http_status=429,
        status=status(
            8,
            "Quota limit vdi.desktopImages.count exceeded",
            "RESOURCE_EXHAUSTED",
            {
                "@type": f"{ANY}yandex.cloud.quota.QuotaFailure",
                "violations": [
                    {
                        "metric": {"name": "vdi.desktopImages.count", "limit": "8", "usage": 8.0},
                        "required": "9",
                    }
                ],
            },
            quota_id="vdi.desktopImages.count",
            limit="8",
            usage="8",
            required="9",
        ),
        cause=ResourceExhaustedError(
            "Quota limit vdi.desktopImages.count exceeded",
            facts={
                "quota_id": "vdi.desktopImages.count",
                "limit": "8",
                "usage": "8",
                "required": "9",
            },
        ),
    ),
    Refusal(
        name="what is not served",
        method=f"{SERVICE}/CopyFromDesktop",
        request=(f"{IMAGES}.CopyFromDesktopRequest", {"desktopId": "e3vdesktop"}),
        rest=("POST", "/cloud-desktop/v1/images:copyFromDesktop", {"desktopId": "e3vdesktop"}),
        http_status=501,
        status=status(
            12, OUR_WORDS, "UNIMPLEMENTED", method=f"{SERVICE}.CopyFromDesktop", remedy=OUR_WORDS
        ),
    ),
]
