"""The errors of clouddesktop: one family for each thing a caller can do about it.

A special case is a subclass beside the code that raises it and overrides `reason` only. No wire
type appears here: `api.status` alone turns an error into a google.rpc.Status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import IntEnum
from typing import Any, ClassVar, Self

_MOST_ID_CHARACTERS = 50
"""The longest id of the API."""


class Code(IntEnum):
    """The canonical codes, numbered as gRPC numbers them (google/rpc/code.proto)."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One broken rule: `field` in the request's snake_case path, and what is wrong with it."""

    field: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error as plain values, to be kept in the catalogue or put on the wire.

    `to_record` gives JSON-ready values and `from_record` reads them back, also those written by an
    earlier version.
    """

    code: Code
    reason: str
    message: str
    remedy: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    violations: Sequence[FieldViolation] = ()
    retry_after_seconds: float | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe any error; one that is not ours becomes INTERNAL and loses its text."""
        if isinstance(error, CloudDesktopError):
            return error.failure
        return InternalError().failure

    def to_record(self) -> dict[str, Any]:
        record = asdict(self)
        record["code"] = int(self.code)
        record["facts"] = dict(self.facts)
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Failure:
        return cls(
            code=Code(record["code"]),
            reason=record["reason"],
            message=record["message"],
            remedy=record.get("remedy", ""),
            facts=dict(record.get("facts") or {}),
            violations=tuple(FieldViolation(**each) for each in record.get("violations") or ()),
            retry_after_seconds=record.get("retry_after_seconds"),
        )


class CloudDesktopError(Exception):
    """The root of every error that clouddesktop raises on purpose.

    `message` says what went wrong and where, as one sentence; `remedy` says the way out; `facts`
    holds the values behind it, never a secret. `reason` is stable; the list of them only grows
    (docs/errors.md).
    """

    code: ClassVar[Code] = Code.INTERNAL
    reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self, message: str, *, remedy: str = "", facts: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.facts = dict(facts or {})

    @property
    def failure(self) -> Failure:
        return Failure(
            code=self.code,
            reason=self.reason,
            message=self.message,
            remedy=self.remedy,
            facts=self.facts,
        )


class InvalidArgumentError(CloudDesktopError):
    """The request breaks a rule in any state of the system; carries every violation at once."""

    code = Code.INVALID_ARGUMENT
    reason = "INVALID_ARGUMENT"

    def __init__(
        self,
        message: str,
        *,
        violations: Sequence[FieldViolation] = (),
        remedy: str = "",
        facts: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, facts=facts)
        self.violations = tuple(violations)

    @classmethod
    def of_fields(cls, violations: Sequence[FieldViolation]) -> Self:
        """Word the violations as the public API does: `Validation error:` and a line each."""
        lines = [f"{each.field}: {each.description}" for each in violations]
        return cls("\n".join(["Validation error:", *lines]), violations=violations)

    @property
    def failure(self) -> Failure:
        return replace(super().failure, violations=self.violations)


class NotFoundError(CloudDesktopError):
    """The resource does not exist, or the caller may not know that it does."""

    code = Code.NOT_FOUND
    reason = "NOT_FOUND"

    @classmethod
    def of_resource(cls, resource_type: str, resource_id: str) -> Self:
        """Word it as the public API does: `<Resource> <id> not found`; a long id is cut."""
        if len(resource_id) > _MOST_ID_CHARACTERS:
            resource_id = f"{resource_id[:_MOST_ID_CHARACTERS]}…"
        return cls(
            f"{resource_type} {resource_id} not found",
            facts={"resource_type": resource_type, "resource_id": resource_id},
        )


class AlreadyExistsError(CloudDesktopError):
    """What the call would make is there already; nothing was changed."""

    code = Code.ALREADY_EXISTS
    reason = "ALREADY_EXISTS"


class FailedPreconditionError(CloudDesktopError):
    """The system's state forbids the call; repeating it helps only after that state has changed."""

    code = Code.FAILED_PRECONDITION
    reason = "FAILED_PRECONDITION"


class AbortedError(CloudDesktopError):
    """Something changed underneath; nothing was published, and the whole call may be repeated."""

    code = Code.ABORTED
    reason = "ABORTED"


class _RetryableError(CloudDesktopError):
    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        remedy: str = "",
        facts: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, facts=facts)
        self.retry_after_seconds = retry_after_seconds

    @property
    def failure(self) -> Failure:
        return replace(super().failure, retry_after_seconds=self.retry_after_seconds)


class ResourceExhaustedError(_RetryableError):
    """A quota, a rate or a disk is used up."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "RESOURCE_EXHAUSTED"


class UnavailableError(_RetryableError):
    """A part is out of reach for now; the same call may go through later."""

    code = Code.UNAVAILABLE
    reason = "UNAVAILABLE"


class PermissionDeniedError(CloudDesktopError):
    """The caller is known and may not do this."""

    code = Code.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class UnauthenticatedError(CloudDesktopError):
    """The caller did not prove who it is."""

    code = Code.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class DeadlineExceededError(CloudDesktopError):
    """The caller's deadline passed; the call may still have taken effect."""

    code = Code.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class OperationCancelledError(CloudDesktopError):
    """The operation was cancelled on request and rolled back."""

    code = Code.CANCELLED
    reason = "CANCELLED"


class UnimplementedError(CloudDesktopError):
    """The API has this call or option, and this version does not serve it."""

    code = Code.UNIMPLEMENTED
    reason = "UNIMPLEMENTED"


class DataLossError(CloudDesktopError):
    """Bytes are not what they were when they were written; nothing wrong is handed out."""

    code = Code.DATA_LOSS
    reason = "DATA_LOSS"


class InternalError(CloudDesktopError):
    """A fault of ours. Its text is the log's, found by the request's id; callers see none of it."""

    code = Code.INTERNAL
    reason = "INTERNAL"

    def __init__(
        self,
        message: str = "Internal error.",
        *,
        remedy: str = "Look for the request's id in the server's log.",
        facts: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, facts=facts)
