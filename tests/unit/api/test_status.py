"""Failures as google.rpc.Status."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped, unused-ignore]  # ships no types
    BadRequest,
    ErrorInfo,
    PreconditionFailure,
    RequestInfo,
    ResourceInfo,
    RetryInfo,
)
from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.api.status import HTTP_CODES, to_short_status, to_status
from clouddesktop.errors import (
    AlreadyExistsError,
    Code,
    FailedPreconditionError,
    Failure,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)


def unpack(status: Any) -> dict[type[Message], Any]:
    found = {}
    for detail in status.details:
        for each in (BadRequest, ErrorInfo, PreconditionFailure, RequestInfo, ResourceInfo):
            message = each()
            if detail.Unpack(message):
                found[each] = message
        retry = RetryInfo()
        if detail.Unpack(retry):
            found[RetryInfo] = retry
    assert len(found) == len(status.details)
    return found


def test_every_status_names_its_reason_and_its_request() -> None:
    """ErrorInfo and RequestInfo are always there; nothing else without a cause."""
    details = unpack(to_status(InternalError().failure, "r1"))
    assert set(details) == {ErrorInfo, RequestInfo}
    assert details[ErrorInfo].reason == "INTERNAL"
    assert details[ErrorInfo].domain == "clouddesktop"
    assert details[RequestInfo].request_id == "r1"


def test_a_failure_becomes_the_same_bytes_in_every_process() -> None:
    """Its facts are in order: a client may compare what it was told by two servers."""
    facts = {f"fact{number}": str(number) for number in range(8)}
    status = to_status(InternalError(facts=facts).failure, "r1")
    told = unpack(status)[ErrorInfo]
    assert told.SerializeToString(deterministic=True) in [each.value for each in status.details]


def test_the_way_out_follows_our_sentences_and_not_the_api_s_words() -> None:
    """`<Resource> <id> not found` stays as clients know it; the remedy is in ErrorInfo always."""
    ours = FailedPreconditionError("It is locked.", remedy="Unlock it.").failure
    theirs = AlreadyExistsError("Image with name x already exists", remedy="Take another.").failure
    assert to_status(ours, "r").message == "It is locked. Unlock it."
    assert to_status(theirs, "r").message == "Image with name x already exists"
    for failure in (ours, theirs):
        assert unpack(to_status(failure, "r"))[ErrorInfo].metadata["remedy"] == failure.remedy


def test_what_is_missing_is_told_as_a_resource() -> None:
    """ResourceInfo with type and name."""
    status = to_status(NotFoundError.of_resource("Image", "e3v").failure, "r")
    assert status.code == 5
    resource = unpack(status)[ResourceInfo]
    assert (resource.resource_type, resource.resource_name) == ("Image", "e3v")
    assert resource.description == "Image e3v not found"


def test_what_forbids_a_call_is_told_as_a_precondition() -> None:
    """PreconditionFailure with the reason as its type."""
    failure = FailedPreconditionError("It is locked.", facts={"resource_id": "e3v"}).failure
    (violation,) = unpack(to_status(failure, "r"))[PreconditionFailure].violations
    assert (violation.type, violation.subject) == ("FAILED_PRECONDITION", "e3v")
    assert violation.description == "It is locked."


def test_when_to_come_back_is_told_as_a_delay() -> None:
    """RetryInfo, to the millisecond."""
    failure = UnavailableError("Busy.", retry_after_seconds=1.5).failure
    delay = unpack(to_status(failure, "r"))[RetryInfo].retry_delay
    assert (delay.seconds, delay.nanos) == (1, 500_000_000)


def test_every_code_has_its_http_status() -> None:
    """The table of the public API, complete."""
    assert {code.name: int(status) for code, status in HTTP_CODES.items()} == {
        "CANCELLED": 499,
        "UNKNOWN": 500,
        "INVALID_ARGUMENT": 400,
        "DEADLINE_EXCEEDED": 504,
        "NOT_FOUND": 404,
        "ALREADY_EXISTS": 409,
        "PERMISSION_DENIED": 403,
        "RESOURCE_EXHAUSTED": 429,
        "FAILED_PRECONDITION": 400,
        "ABORTED": 409,
        "OUT_OF_RANGE": 400,
        "UNIMPLEMENTED": 501,
        "INTERNAL": 500,
        "UNAVAILABLE": 503,
        "DATA_LOSS": 500,
        "UNAUTHENTICATED": 401,
    }
    assert set(HTTP_CODES) == set(Code)


texts = st.text(st.characters(codec="utf-8"), max_size=3000)


@given(
    code=st.sampled_from(Code),
    message=texts,
    remedy=texts,
    facts=st.dictionaries(st.text("abc", min_size=1), texts, max_size=20),
    violations=st.lists(
        st.builds(FieldViolation, field=st.text(max_size=100), description=st.text(max_size=300)),
        max_size=200,
    ),
)
def test_a_short_status_always_fits_into_metadata(
    code: Code, message: str, remedy: str, facts: dict[str, str], violations: list[FieldViolation]
) -> None:
    """8 KiB with the message percent-encoded and the details in base64, whatever went wrong."""
    failure = Failure(
        code=code,
        reason="REASON",
        message=message,
        remedy=remedy,
        facts=facts,
        violations=violations,
    )
    status = to_short_status(failure, "r" * 36)
    encoded = len(status.message.encode()) * 3 + len(status.SerializeToString()) * 4 // 3
    assert encoded < 8192
    details = unpack(status)
    assert details[ErrorInfo].reason == "REASON"
    assert details[RequestInfo].request_id == "r" * 36
    assert status.code == code


@pytest.mark.parametrize("count", [1, 10, 500])
def test_as_many_violations_are_shown_as_fit(count: int) -> None:
    """And the message says how many are not."""
    violations = [
        FieldViolation(field=f"labels[k{number}]", description="Value is wrong")
        for number in range(count)
    ]
    status = to_short_status(InvalidArgumentError.of_fields(violations).failure, "r")
    shown = unpack(status)[BadRequest].field_violations
    lines = status.message.split("\n")
    assert [each.field for each in shown] == [each.field for each in violations[: len(shown)]]
    if count < 500:
        assert len(shown) == count
        assert len(lines) == count + 1
    else:
        assert 20 < len(shown) < count
        assert lines[-1] == f"({count - len(shown)} more)"
