"""The interceptors, one concern each; server.py lists them in their order."""

from __future__ import annotations

import asyncio
import re
import time

import structlog
from google.protobuf.message import DecodeError, Message

from clouddesktop.api.authentication import Callers
from clouddesktop.api.calls import Call, Proceed
from clouddesktop.api.request_ids import client_ids
from clouddesktop.api.validation import RequestValidator
from clouddesktop.errors import (
    CloudDesktopError,
    Code,
    DeadlineExceededError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
)

IDEMPOTENCY_KEY = "idempotency-key"

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_log = structlog.get_logger(__name__)


class RequestIds:
    """Puts the call's ids into the log and beside the answer."""

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        structlog.contextvars.bind_contextvars(request_id=call.request_id)
        call.trailing.update(call.ids)
        return await proceed(call)


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
                subject=None if call.authenticated is None else call.authenticated.id,
                peer=call.peer,
                **client_ids(call.find_metadata),
            )


class Errors:
    """Lets only errors of ours out; what is not ours loses its text."""

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        try:
            return await proceed(call)
        except CloudDesktopError as error:
            call.code = error.code
            if error.code in (Code.INTERNAL, Code.DATA_LOSS):
                _log.exception("call failed")
            raise
        except Exception as error:
            call.code = Code.INTERNAL
            _log.exception("call failed")
            raise InternalError from error


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


class Deadlines:
    """Ends a call when its client's time is over; what it has begun in a thread goes on."""

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        if call.seconds_left is None:
            return await proceed(call)
        try:
            async with asyncio.timeout(call.seconds_left):
                return await proceed(call)
        except TimeoutError as error:
            raise DeadlineExceededError(
                "The deadline has passed.",
                remedy="Ask for more time; what the call should do may be done all the same.",
            ) from error


class Validation:
    """Decodes the request and checks it with its idempotency key; names all that is wrong."""

    def __init__(self, validator: RequestValidator) -> None:
        self._validator = validator

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        request_class = call.method.request_class
        if request_class is None:
            return await proceed(call)
        if call.request is None:
            call.request = _decode(request_class, call.raw)
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


def _decode(request_class: type[Message], raw: bytes) -> Message:
    try:
        return request_class.FromString(raw)
    except DecodeError:
        raise InvalidArgumentError(
            f"The request's bytes are no {request_class.DESCRIPTOR.full_name}.",
            remedy="Generate the client from the API's current description.",
        ) from None


class Authentication:
    """Finds out who calls and what it may do; only open methods can be called by nobody."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        if not call.method.is_open:
            call.authenticated = await self._callers.find(
                call.find_metadata("authorization"),
                folder_id=getattr(call.request, "folder_id", ""),
            )
        return await proceed(call)
