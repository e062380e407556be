"""Errors: what the server says arrives whole, and silence is told apart from an answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from google.rpc import error_details_pb2, status_pb2

from clouddesktop.client import CallError, Code, connect
from clouddesktop.client.calls import failure_of_status, to_http_error
from clouddesktop.errors import FieldViolation
from unit.client.scripted_api import ScriptedApi, make_tls


def test_a_status_is_taken_apart() -> None:
    """Reason, remedy, facts, violations, delay and request id survive the wire."""
    status = status_pb2.Status(code=9, message="The disk is unsafe.")
    info = error_details_pb2.ErrorInfo(reason="UNSAFE_DISK", domain="clouddesktop")
    info.metadata.update({"remedy": "Flatten it.", "image": "debian12"})
    status.details.add().Pack(info)
    violation = error_details_pb2.BadRequest.FieldViolation(field="name", description="is long")
    status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    status.details.add().Pack(error_details_pb2.RequestInfo(request_id="r-1"))
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    status.details.add().Pack(retry)

    failure, request_id = failure_of_status(status)

    assert failure.code is Code.FAILED_PRECONDITION
    assert failure.reason == "UNSAFE_DISK"
    assert failure.remedy == "Flatten it."
    assert failure.facts == {"image": "debian12"}
    assert failure.violations == (FieldViolation(field="name", description="is long"),)
    assert failure.retry_after_seconds == 1.5
    assert request_id == "r-1"


def test_a_bare_status_still_says_something() -> None:
    """A code of tomorrow and an empty message are no reason to fall over."""
    failure, request_id = failure_of_status(status_pb2.Status(code=99))
    assert failure.code is Code.UNKNOWN
    assert failure.message
    assert request_id == ""


@pytest.mark.parametrize(
    ("body", "http_status", "code"),
    [
        ({"code": 5, "message": "Image x not found"}, 404, Code.NOT_FOUND),
        ({"code": 14, "message": "Later.", "details": []}, 503, Code.UNAVAILABLE),
        (None, 502, Code.UNAVAILABLE),
        (["no", "status"], 500, Code.UNKNOWN),
        ({"code": "x"}, 400, Code.UNKNOWN),
    ],
)
def test_http_errors_are_rebuilt(body: object, http_status: int, code: Code) -> None:
    """A proxy's answer without a Status becomes an error too."""
    error = to_http_error(body, url="https://host/x", http_status=http_status)
    assert error.code is code


async def test_an_answer_is_told_from_silence(api: ScriptedApi) -> None:
    """What the server refuses is the server's; a dead port is not."""
    async with connect(api.profile) as connection:
        with pytest.raises(CallError, match="Image none not found") as refused:
            await connection.get_image("none")
    assert refused.value.code is Code.NOT_FOUND

    async with connect(replace(api.profile, endpoint="127.0.0.1:1")) as connection:
        with pytest.raises(CallError, match="cannot be reached") as silent:
            await connection.get_image("none")
    assert silent.value.code is Code.UNAVAILABLE
    assert not silent.value.is_from_server
    assert "clouddesktop serve" in silent.value.remedy


async def test_a_foreign_certificate_is_named(api: ScriptedApi, tmp_path: Path) -> None:
    """The profile of another server does not fit, and the error says so."""
    other = make_tls(tmp_path / "tls")
    async with connect(replace(api.profile, ca=other.ca)) as connection:
        with pytest.raises(CallError, match="certificate"):
            await connection.get_image("none")
