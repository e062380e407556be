"""Errors on the wire: the only place where a failure becomes a google.rpc.Status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus

from google.protobuf.message import Message
from google.rpc import (  # type: ignore[import-untyped, unused-ignore]  # ships no types
    error_details_pb2 as details,
)
from google.rpc import status_pb2
from yandex.cloud.quota import quota_pb2

from clouddesktop.errors import Code, Failure, InvalidArgumentError

DOMAIN = "clouddesktop"
"""The `domain` of every ErrorInfo."""

HTTP_CODES = {
    Code.CANCELLED: 499,
    Code.UNKNOWN: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    Code.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    Code.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    Code.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    Code.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    Code.ABORTED: HTTPStatus.CONFLICT,
    Code.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    Code.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    Code.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.DATA_LOSS: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
}
"""As the public API maps them."""

_MOST_METADATA_BYTES = 6000
"""gRPC's clients take 8 KiB of metadata by default, names and ids included, and drop the rest."""

_MOST_TEXT_CHARACTERS = 400
_PRINTABLE_ASCII = range(0x20, 0x7F)


def to_status(failure: Failure, request_id: str) -> status_pb2.Status:
    """Word a failure with all its details; `request_id` finds it in the log."""
    status = status_pb2.Status(code=int(failure.code), message=_message_of(failure))
    for detail in _details_of(failure, request_id):
        # Maps in one order: whoever asks for an operation twice gets the same bytes.
        status.details.add().Pack(detail, deterministic=True)
    return status


def to_short_status(failure: Failure, request_id: str) -> status_pb2.Status:
    """Do as `to_status`, and leave out as much as gRPC's metadata has no room for."""
    status = to_status(failure, request_id)
    shown = len(failure.violations)
    while _metadata_size(status) > _MOST_METADATA_BYTES and shown > 1:
        shown //= 2
        status = to_status(_with_violations(failure, shown), request_id)
    if _metadata_size(status) > _MOST_METADATA_BYTES:
        short = replace(
            failure,
            message=_shortened(failure.message),
            remedy=_shortened(failure.remedy),
            facts={},
            violations=(),
        )
        status = to_status(short, request_id)
    return status


def _message_of(failure: Failure) -> str:
    # The public API's own wordings, such as `Image <id> not found`, end without a full stop and
    # stay as they are.
    if failure.remedy and failure.message.endswith("."):
        return f"{failure.message} {failure.remedy}"
    return failure.message


def _details_of(failure: Failure, request_id: str) -> list[Message]:
    facts = {**failure.facts, **({"remedy": failure.remedy} if failure.remedy else {})}
    found: list[Message] = [
        details.ErrorInfo(reason=failure.reason, domain=DOMAIN, metadata=facts),
        details.RequestInfo(request_id=request_id),
    ]
    if failure.violations:
        bad_request = details.BadRequest()
        for each in failure.violations:
            bad_request.field_violations.add(field=each.field, description=each.description)
        found.append(bad_request)
    if failure.code is Code.FAILED_PRECONDITION:
        precondition = details.PreconditionFailure()
        precondition.violations.add(
            type=failure.reason,
            subject=failure.facts.get("resource_id", ""),
            description=failure.message,
        )
        found.append(precondition)
    if "quota_id" in failure.facts:
        found.append(_quota_failure_of(failure.facts))
    if "resource_type" in failure.facts:
        found.append(
            details.ResourceInfo(
                resource_type=failure.facts["resource_type"],
                resource_name=failure.facts.get("resource_id", ""),
                description=failure.message,
            )
        )
    if failure.retry_after_seconds is not None:
        retry = details.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(failure.retry_after_seconds * 1000))
        found.append(retry)
    return found


def _quota_failure_of(facts: Mapping[str, str]) -> quota_pb2.QuotaFailure:
    failure = quota_pb2.QuotaFailure()
    failure.violations.add(
        metric=quota_pb2.QuotaMetric(
            name=facts["quota_id"], limit=int(facts["limit"]), usage=float(facts["usage"])
        ),
        required=int(facts["required"]),
    )
    return failure


def _with_violations(failure: Failure, shown: int) -> Failure:
    kept = failure.violations[:shown]
    left_out = len(failure.violations) - shown
    message = InvalidArgumentError.of_fields(kept).message
    return replace(failure, violations=kept, message=f"{message}\n({left_out} more)")


def _metadata_size(status: status_pb2.Status) -> int:
    """Count the message, percent-encoded, and the whole Status in base64."""
    message = sum(1 if each in _PRINTABLE_ASCII else 3 for each in status.message.encode())
    status_size: int = status.ByteSize()
    return message + -(-status_size // 3) * 4


def _shortened(text: str) -> str:
    if len(text) <= _MOST_TEXT_CHARACTERS:
        return text
    return f"{text[:_MOST_TEXT_CHARACTERS]}…"
