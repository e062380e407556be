"""Bytes in, bytes out: each method's answer is the one that the definitions ask for, to the byte.

The client here has no generated classes: it sends what wire.py encodes, and compares what comes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import permutations
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass

from clouddesktop.catalog.engine import Database
from golden.exchange import Exchange, filled
from golden.exchanges import iter_exchanges
from golden.prepared import COPIED, RUNNING, fill_catalogue
from golden.refusals import REFUSALS, Refusal
from golden.wire import Published
from unit.api.serving import FakeCopies, Served, make_api, make_tokens, metadata_of, serving

PUBLISHED = Published.read()
EXCHANGES = list(iter_exchanges())


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A server whose catalogue is as prepared.py says."""
    async with serving(tmp_path) as it:
        fill_catalogue(it)
        it.copies.answer = RUNNING
        yield it


async def call_raw(served: Served, method: str, request: bytes, *, authorized: bool = True) -> Any:
    """Call with bytes, and give the call and the answer's bytes."""
    call = served.channel.unary_unary(
        f"/{method}", request_serializer=bytes, response_deserializer=bytes
    )(request, metadata=[served.authorization] if authorized else [], timeout=20)
    return call, await call


def to_json(message_type: str, raw: bytes) -> Any:
    descriptor = descriptor_pool.Default().FindMessageTypeByName(message_type)
    return MessageToDict(GetMessageClass(descriptor).FromString(raw))


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda each: each.name)
@pytest.mark.proves("wire.answers")
async def test_answers_are_right_to_the_byte(served: Served, exchange: Exchange) -> None:
    """Fields, numbers, order, and nothing for defaults."""
    if exchange.copies_done:
        served.copies.answer = COPIED
    _, raw = await call_raw(served, exchange.method, PUBLISHED.encode(*exchange.request))
    answer_type, expected = exchange.answer
    expected = filled(expected, to_json(answer_type, raw))
    assert to_json(answer_type, raw) == expected
    assert raw == PUBLISHED.encode(answer_type, expected)


def test_every_method_that_is_served_has_an_exchange() -> None:
    """One that is added needs its own."""
    api = make_api(database=cast("Database", None), copies=FakeCopies(), tokens=make_tokens())
    assert {method.path for method in api.methods} == {f"/{each.method}" for each in EXCHANGES}


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: each.name)
async def test_refusals_are_right_to_the_byte(served: Served, refusal: Refusal) -> None:
    """The Status in `grpc-status-details-bin`, and its code and message beside it."""
    if refusal.cause is not None:
        served.copies.answer = refusal.cause
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call_raw(
            served,
            refusal.method,
            PUBLISHED.encode(*refusal.request),
            authorized=refusal.has_token,
        )
    metadata = metadata_of(caught.value)
    raw = metadata["grpc-status-details-bin"]
    expected = filled(refusal.status, to_json("google.rpc.Status", raw))
    assert to_json("google.rpc.Status", raw) == expected
    assert raw in encodings(expected)
    assert caught.value.code().value[0] == expected["code"]
    assert caught.value.details() == expected["message"]
    assert metadata["x-request-id"] == expected["details"][1]["requestId"]


def encodings(status: Any) -> list[bytes]:
    """Encode a Status with ErrorInfo's map in each order: protobuf leaves the order open."""
    info, *others = status["details"]
    return [
        PUBLISHED.encode(
            "google.rpc.Status",
            {**status, "details": [{**info, "metadata": dict(order)}, *others]},
        )
        for order in permutations(info.get("metadata", {}).items())
    ]
