"""Waiting for an operation: its end, its outages, its limits."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.client import (
    CallError,
    Code,
    OperationView,
    Phase,
    Profile,
    Progress,
    WaitTimeoutError,
    connect,
    image_id_of,
)
from clouddesktop.client.operations import find_progress, wait_until_done
from clouddesktop.errors import Failure
from unit.client.scripted_api import (
    IMAGE_ID,
    OPERATION_ID,
    ScriptedApi,
    Tls,
    an_image,
    an_operation,
    serving_grpc,
)

_COUNTS = st.integers(min_value=0, max_value=2**63 - 1)


@given(phase=st.sampled_from(Phase), total=_COUNTS, done=_COUNTS, zero=_COUNTS)
def test_progress_survives_the_wire(*, phase: Phase, total: int, done: int, zero: int) -> None:
    """What the server writes is what the client reads."""
    progress = Progress(phase=phase, bytes_total=total, bytes_done=done, bytes_zero=zero)
    metadata = (("other", "x"), ("x-operation-progress", json.dumps(progress.to_record())))
    assert find_progress(metadata) == progress


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", "{}", '{"phase": "tomorrow"}', '{"phase": "done", "bytes_done": []}'],
)
def test_progress_that_is_not_understood_is_left_out(text: str) -> None:
    """A newer or broken server costs the bar, not the wait."""
    assert find_progress((("x-operation-progress", text),)) is None
    assert find_progress(None) is None


def test_unknown_figures_are_ignored() -> None:
    """A newer server may send more."""
    text = '{"phase": "copying", "bytes_done": 5, "bytes_teleported": 9}'
    assert find_progress((("x-operation-progress", text),)) == Progress(
        phase=Phase.COPYING, bytes_done=5
    )


async def test_the_wait_ends_with_the_operation(api: ScriptedApi) -> None:
    """Every look is reported, the last one too."""
    api.let_copy_succeed()
    seen: list[OperationView] = []
    async with connect(api.profile) as connection:
        operation = await connection.wait_operation(
            OPERATION_ID, on_progress=seen.append, poll_seconds=0.01
        )
    assert operation.done
    assert image_id_of(operation) == IMAGE_ID
    assert [each.progress.bytes_done for each in seen if each.progress] == [500, 1000]


async def test_a_failed_operation_is_returned(api: ScriptedApi) -> None:
    """Its error is the caller's to judge; an error of an operation not yet done is no end."""
    rolling_back = an_operation(error=(9, "Unsafe."))
    rolling_back.done = False
    api.looks = [(rolling_back, None), (an_operation(error=(9, "Unsafe.")), None)]
    async with connect(api.profile) as connection:
        operation = await connection.wait_operation(OPERATION_ID, poll_seconds=0.01)
    assert operation.done
    assert operation.error.message == "Unsafe."


async def test_an_unknown_operation_ends_the_wait_at_once(api: ScriptedApi) -> None:
    """What was never seen is not waited for."""
    async with connect(api.profile) as connection:
        with pytest.raises(CallError, match="not found"):
            await connection.wait_operation("e3onone")


async def test_a_restart_of_the_server_does_not_end_the_wait(
    api_folder: Path, api_tls: Tls
) -> None:
    """The server goes away and comes back at the same address, without its tokens."""
    scripted = ScriptedApi(
        profile=Profile(endpoint="", ca=api_tls.ca, key=api_folder / "key.json"),
        looks=[(an_operation(), None)],
    )
    outages: list[CallError] = []
    is_down, is_seen = asyncio.Event(), asyncio.Event()

    def note(error: CallError) -> None:
        outages.append(error)
        is_down.set()

    serving = serving_grpc(scripted, address="127.0.0.1:0", credentials=api_tls.grpc)
    address = f"127.0.0.1:{serving.__enter__()}"
    profile = Profile(endpoint=address, ca=api_tls.ca, key=api_folder / "key.json")
    async with connect(profile) as connection, asyncio.timeout(60):
        wait = asyncio.ensure_future(
            connection.wait_operation(
                OPERATION_ID,
                on_progress=lambda _: is_seen.set(),
                on_outage=note,
                poll_seconds=0.02,
            )
        )
        await is_seen.wait()
        await asyncio.to_thread(serving.__exit__, None, None, None)
        await is_down.wait()
        scripted.issued_tokens.clear()
        scripted.looks = [(an_operation(response=an_image()), None)]
        with serving_grpc(scripted, address=address, credentials=api_tls.grpc):
            operation = await wait
    assert operation.done
    assert {each.code for each in outages} == {Code.UNAVAILABLE}


async def test_the_wait_has_an_end(api: ScriptedApi) -> None:
    """The error says how to pick the operation up again."""
    api.looks = [(an_operation(), None)]
    async with connect(api.profile) as connection:
        with pytest.raises(WaitTimeoutError) as caught:
            await connection.wait_operation(OPERATION_ID, timeout_seconds=0, poll_seconds=0.01)
    assert f"clouddesktop operation wait {OPERATION_ID}" in caught.value.remedy


async def test_an_error_that_stays_ends_the_wait() -> None:
    """Only what may pass is waited out."""
    answers: list[OperationView | CallError] = [
        OperationView(operation=an_operation()),
        _call_error(grpc.StatusCode.UNAVAILABLE),
        _call_error(grpc.StatusCode.PERMISSION_DENIED),
    ]

    async def look() -> OperationView:
        answer = answers.pop(0)
        if isinstance(answer, CallError):
            raise answer
        return answer

    outages: list[CallError] = []
    with pytest.raises(CallError) as caught:
        await wait_until_done(
            look,
            operation_id=OPERATION_ID,
            on_progress=lambda _: None,
            on_outage=outages.append,
            timeout_seconds=60,
            poll_seconds=0.001,
        )
    assert caught.value.code is Code.PERMISSION_DENIED
    assert [each.code for each in outages] == [Code.UNAVAILABLE]


def _call_error(code: grpc.StatusCode) -> CallError:
    failure = Failure(code=Code(code.value[0]), reason=code.name, message="Scripted.")
    return CallError(failure.message, failure=failure)
