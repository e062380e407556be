"""A call on its way through the interceptors, and how these are put around a method.

    gRPC ── bytes ──> RequestIds ─> CallLog ─> Errors ─> CallLimit ─> Validation ─> Authentication
                                                                           message <── method ──┘

The chain is put together once for each method, at start-up, so that a call pays for what is done in
it and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import grpc
from google.protobuf.message import Message

from clouddesktop.errors import Code
from clouddesktop.model.access import Subject

Answer = Callable[[Any, "Call"], Awaitable[Message]]
"""A method: takes the request and the call."""

Proceed = Callable[["Call"], Awaitable[Message]]
"""The rest of the chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method as it is served; `is_open` means that it needs no token."""

    path: str
    request_class: type[Message] | None
    answer: Answer
    is_open: bool = False


@dataclass(slots=True, kw_only=True)
class Call:
    """One call. What an interceptor finds out is there for those after it, and for the method."""

    method: Method
    context: grpc.aio.ServicerContext[Any, Any]
    metadata: Mapping[str, str | bytes]
    raw: bytes
    request_id: str = ""
    trace_id: str = ""
    request: Message | None = None
    idempotency_key: str | None = None
    caller: Subject | None = None
    code: Code | None = None
    trailing: dict[str, str] = field(default_factory=dict)

    @property
    def subject(self) -> Subject:
        """Who calls; open methods have nobody."""
        if self.caller is None:
            raise AssertionError("The method is open: nobody was authenticated.")
        return self.caller

    def find_metadata(self, key: str) -> str | None:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None


class Interceptor(Protocol):
    """One concern of every call."""

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        """Do something before and after `proceed`, which runs the rest."""


Handler = Callable[[bytes, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[bytes]]


def chain(method: Method, interceptors: Sequence[Interceptor]) -> Handler:
    """Put the interceptors, the outermost first, around a method."""

    async def answer(call: Call) -> Message:
        return await method.answer(call.request, call)

    proceed: Proceed = answer
    for each in reversed(interceptors):
        proceed = partial(each, proceed=proceed)

    async def handle(raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        metadata = dict(context.invocation_metadata() or ())
        call = Call(method=method, context=context, metadata=metadata, raw=raw)
        message = await proceed(call)
        return message.SerializeToString()

    return handle
