"""Errors of calls: the one place where what gRPC and google.rpc.Status say becomes ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.errors import CloudDesktopError, Code, Failure, FieldViolation

_DETAILS_KEY = "grpc-status-details-bin"
_REQUEST_ID_KEY = "x-request-id"
_CODES_OF_SILENCE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class CallError(CloudDesktopError):
    """A call failed: `code` and `reason` are the server's, `request_id` finds it in its log.

    `is_from_server` is False when no answer came: the server was not reached, or was too slow.
    """

    reason = "CALL_FAILED"

    def __init__(
        self, message: str, *, failure: Failure, request_id: str = "", is_from_server: bool = True
    ) -> None:
        super().__init__(message, remedy=failure.remedy, facts=failure.facts)
        self._failure = failure
        self.code = failure.code  # type: ignore[misc]  # not the class's: it came over the wire
        self.reason = failure.reason  # type: ignore[misc]  # the same
        self.request_id = request_id
        self.is_from_server = is_from_server

    @property
    def failure(self) -> Failure:
        return self._failure


class OperationFailedError(CallError):
    """The operation ended with an error; `operation` is its last state."""

    reason = "OPERATION_FAILED"

    def __init__(self, operation: Operation) -> None:
        failure, request_id = failure_of_status(operation.error)
        super().__init__(failure.message, failure=failure, request_id=request_id)
        self.operation = operation


@contextmanager
def translated_errors(target: str) -> Iterator[None]:
    """Turn gRPC's errors into CallError; `target` is the address that was called."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise to_call_error(error, target) from error


def to_call_error(error: grpc.aio.AioRpcError, target: str) -> CallError:
    """Rebuild what the server said; without an answer from it, say what kept us from it."""
    metadata = {str(key): value for key, value in error.trailing_metadata() or ()}
    raw = metadata.get(_DETAILS_KEY)
    request_id = _to_text(metadata.get(_REQUEST_ID_KEY, ""))
    status = status_pb2.Status(code=error.code().value[0], message=error.details() or "")
    if isinstance(raw, bytes):
        try:
            status = status_pb2.Status.FromString(raw)
        except DecodeError:
            request_id = request_id or "unknown"
    if raw is None and not request_id and error.code() in _CODES_OF_SILENCE:
        failure = _failure_without_answer(error.code(), error.details() or "", target)
        return CallError(failure.message, failure=failure, is_from_server=False)
    failure, status_request_id = failure_of_status(status)
    return CallError(failure.message, failure=failure, request_id=status_request_id or request_id)


def to_http_error(body: Any, *, url: str, http_status: int) -> CallError:
    """Rebuild what the server said over HTTP: a Status as JSON, or else only its HTTP status."""
    status = status_pb2.Status()
    try:
        ParseDict(body, status, ignore_unknown_fields=True)
    except (ParseError, TypeError, AttributeError):
        passing = http_status in (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE)
        status = status_pb2.Status(
            code=Code.UNAVAILABLE if passing else Code.UNKNOWN,
            message=f"{url} answered HTTP {http_status}, and no more.",
        )
    failure, request_id = failure_of_status(status)
    return CallError(failure.message, failure=failure, request_id=request_id)


def failure_of_status(status: status_pb2.Status) -> tuple[Failure, str]:
    """Take a Status apart: the failure, and the id of the request that it answers."""
    try:
        code = Code(status.code)
    except ValueError:
        code = Code.UNKNOWN
    reason, remedy, facts, request_id = code.name, "", {}, ""
    violations: list[FieldViolation] = []
    retry_after_seconds: float | None = None
    for detail in status.details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        request, retry = error_details_pb2.RequestInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            facts = dict(info.metadata)
            remedy = facts.pop("remedy", "")
            reason = info.reason or reason
        elif detail.Unpack(bad):
            violations += [
                FieldViolation(field=each.field, description=each.description)
                for each in bad.field_violations
            ]
        elif detail.Unpack(request):
            request_id = request.request_id
        elif detail.Unpack(retry):
            retry_after_seconds = retry.retry_delay.ToTimedelta().total_seconds()
    failure = Failure(
        code=code,
        reason=reason,
        message=status.message or f"The server answered {code.name} and said no more.",
        remedy=remedy,
        facts=facts,
        violations=tuple(violations),
        retry_after_seconds=retry_after_seconds,
    )
    return failure, request_id


def _failure_without_answer(code: grpc.StatusCode, details: str, target: str) -> Failure:
    if code is grpc.StatusCode.UNAVAILABLE and "CERTIFICATE_VERIFY_FAILED" in details:
        message = f"The certificate of the server at {target} is not the profile's."
        remedy = "Name the `tls/ca.pem` of that server's data folder as `ca` in the profile."
    elif code is grpc.StatusCode.UNAVAILABLE:
        message = f"The server at {target} cannot be reached: {details.rstrip('.')}."
        remedy = (
            "Check that `clouddesktop serve` runs there, and that the profile or --endpoint "
            "names its gRPC address."
        )
    else:
        message = f"The server at {target} did not answer in time."
        remedy = "Look at its load and its log, then try again."
    return Failure(code=Code(code.value[0]), reason=code.name, message=message, remedy=remedy)


def _to_text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
