"""Each rule of each request that is served, on both of its sides, over the wire.

The requests are made from the descriptors' options by a reading of them that shares nothing with
the server's validator, so that a service is covered from the day on which it is served. They carry
no token, and validation comes first: a valid request gets past it and no further.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest

from clouddesktop.catalog.engine import Database
from contract.rule_cases import Case, iter_cases
from unit.api.serving import FakeCopies, Served, details_of, make_api, make_tokens, serving


def served_cases() -> list[Case]:
    """Make the cases of every method that takes requests; nothing here needs a database."""
    api = make_api(database=cast("Database", None), copies=FakeCopies(), tokens=make_tokens())
    return [
        case
        for method in api.methods
        if method.request_class is not None
        for case in iter_cases(method.path, method.request_class)
    ]


CASES = served_cases()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """One server for all cases: they change nothing."""
    async with serving(Path(tmp_path_factory.mktemp("rules"))) as running:
        yield running


async def violated_fields(served: Served, path: str, request: Message) -> set[str]:
    """Send a request without a token; tell which fields the refusal names."""
    call: Any = served.channel.unary_unary(
        path, request_serializer=_to_bytes, response_deserializer=bytes
    )
    try:
        await call(request, timeout=20)
    except grpc.aio.AioRpcError as error:
        if error.code() in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}:
            raise
        bad = details_of(error, BadRequest)
        return {each.field for detail in bad for each in detail.field_violations}
    return set()


def _to_bytes(message: Message) -> bytes:
    return message.SerializeToString()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", sorted({case.path for case in CASES}))
@pytest.mark.proves("validation.rules", "validation.first")
async def test_each_rule_of_a_method_holds_on_both_sides(served: Served, path: str) -> None:
    """What just breaks a rule is refused by the field's path; what just keeps it is not."""
    wrong = [
        f"{case}: {fields or 'nothing'} refused instead of {set(case.fields) or 'nothing'}"
        for case in CASES
        if case.path == path
        and (fields := await violated_fields(served, path, case.request)) != case.fields
    ]
    assert wrong == []


def test_every_kind_of_rule_is_among_the_cases() -> None:
    """An empty list of cases would pass: all kinds of rules that are served are there, twice."""
    for kind in ("required", "length", "pattern", "value", "size", "map_key", "exactly_one"):
        assert {bool(case.fields) for case in CASES if case.kind == kind} == {True, False}
    assert len(CASES) > 200
