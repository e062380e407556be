"""The interceptors, one concern each; server.py lists them in their order."""

from __future__ import annotations

import asyncio
import re
import time
from typing import NoReturn

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from clouddesktop.api.authentication import authenticate
from clouddesktop.api.calls import Call, Proceed
from clouddesktop.api.request_ids import client_ids, new_request_id, new_trace_id
from clouddesktop.api.status import to_short_status
from clouddesktop.api.validation import RequestValidator
from clouddesktop.errors import (
    CloudDesktopError,
    Code,
    Failure,
    FieldViolation,
    InvalidArgumentError,
    ResourceExhaustedError,
)
from clouddesktop.iam.tokens import TokenService

DETAILS_KEY = "grpc-status-details-bin"
IDEMPOTENCY_KEY = "idempotency-key"

_GRPC_CODES = {each.value[0]: each for each in grpc.StatusCode}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_log = structlog.get_logger(__name__)


class RequestIds:
    """Gives each call its ids: in the log, in the headers before the answer and in the trailers."""

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        call.request_id, call.trace_id = new_request_id(), new_trace_id()
        structlog.contextvars.bind_contextvars(request_id=call.request_id)
        call.trailing["x-request-id"] = call.request_id
        call.trailing["x-server-trace-id"] = call.trace_id
        await call.context.send_initial_metadata(tuple(call.trailing.items()))
        answer = await proceed(call)
        call.context.set_trailing_metadata(tuple(call.trailing.items()))
        return answer


class CallLog:
    """Writes one line for each call when it is over."""

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        start = time.perf_counter()
        code = "INTERNAL"
        try:
            answer = await proceed(call)
            code = "OK"
            return answer  # noqa: TRY300  (an else would part the code from its answer)
        except asyncio.CancelledError:
            code = "CANCELLED"  # by the client or its deadline
            raise
        finally:
            _log.info(
                "call",
                method=call.method.path,
                code=code if call.code is None else call.code.name,
                milliseconds=round((time.perf_counter() - start) * 1000, 2),
                subject=None if call.caller is None else call.caller.id,
                peer=call.context.peer(),
                **client_ids(call.find_metadata),
            )


class Errors:
    """Turns what is raised into a status with details; what is not ours loses its text."""

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        try:
            return await proceed(call)
        except CloudDesktopError as error:
            failure = error.failure
            if failure.code in (Code.INTERNAL, Code.DATA_LOSS):
                _log.exception("call failed")
        except Exception as error:  # noqa: BLE001  (the border: nothing foreign leaves the server)
            _log.exception("call failed")
            failure = Failure.of(error)
        call.code = failure.code
        return await _abort(call, failure)


async def _abort(call: Call, failure: Failure) -> NoReturn:
    status = to_short_status(failure, call.request_id)
    await call.context.abort(
        _GRPC_CODES[status.code],
        status.message,
        (*call.trailing.items(), (DETAILS_KEY, status.SerializeToString())),
    )


class TooManyCallsError(ResourceExhaustedError):
    """The server is working on as many calls as it takes at a time."""

    reason = "TOO_MANY_CALLS"


class CallLimit:
    """Refuses calls beyond `most_calls` at a time, before any work is done for them."""

    def __init__(self, most_calls: int) -> None:
        self._most_calls = most_calls
        self._running = 0

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        if self._running >= self._most_calls:
            raise TooManyCallsError(
                f"The server is working on {self._running} calls already.",
                remedy="Try again after a pause.",
                retry_after_seconds=1,
            )
        self._running += 1
        try:
            return await proceed(call)
        finally:
            self._running -= 1


class Validation:
    """Decodes the request and checks it with its idempotency key; names all that is wrong."""

    def __init__(self, validator: RequestValidator) -> None:
        self._validator = validator

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        request_class = call.method.request_class
        if request_class is None:
            return await proceed(call)
        try:
            call.request = request_class.FromString(call.raw)
        except DecodeError:
            raise InvalidArgumentError(
                f"The request's bytes are no {request_class.DESCRIPTOR.full_name}.",
                remedy="Generate the client from the API's current description.",
            ) from None
        violations = self._validator.find_violations(call.request)
        if IDEMPOTENCY_KEY in call.metadata:
            key = call.find_metadata(IDEMPOTENCY_KEY) or ""
            if _UUID.fullmatch(key):
                call.idempotency_key = key.lower()
            else:
                violations.append(
                    FieldViolation(field=IDEMPOTENCY_KEY, description="Value must be a UUID")
                )
        if violations:
            raise InvalidArgumentError.of_fields(violations)
        return await proceed(call)


class Authentication:
    """Finds out who calls; only open methods can be called by nobody."""

    def __init__(self, tokens: TokenService) -> None:
        self._tokens = tokens

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        if not call.method.is_open:
            call.caller = authenticate(self._tokens, call.find_metadata("authorization"))
        return await proceed(call)
