"""A call on its way through the interceptors, and how these are put around a method.

    gRPC ┐
         ├─> RequestIds > CallLog > Errors > CallLimit > Deadlines > Validation > Authentication
    REST ┘                                                        message <── method ──┘

The chain is put together once for each method, at start-up, so that a call pays for what is done in
it and nothing else. It knows nothing of the wire: what comes by gRPC and by REST goes through the
same one, and the adapter of each puts the answer, or the error that leaves the chain, on its wire.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from google.protobuf.message import Message

from clouddesktop.api.request_ids import new_request_id, new_trace_id
from clouddesktop.errors import Code
from clouddesktop.iam.access import Caller

Answer = Callable[[Any, "Call"], Awaitable[Message]]
"""A method: takes the request and the call."""

Proceed = Callable[["Call"], Awaitable[Message]]
"""The rest of the chain; raises CloudDesktopError and nothing else of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method as it is served; `is_open` means that it needs no token.

    `is_change` tells what changes something from what reads; the audit log calls it `event_type`.
    """

    path: str
    request_class: type[Message] | None
    answer: Answer
    is_open: bool = False
    is_change: bool = False
    event_type: str = ""


@dataclass(slots=True, kw_only=True)
class Call:
    """One call. What an interceptor finds out is there for those after it, and for the method.

    The request comes as bytes in `raw`, or decoded in `request`. `metadata` has lower-case keys.
    `seconds_left` is the time until the client's deadline; None without one. `trailing` goes out
    with the answer or the error.
    """

    method: Method
    metadata: Mapping[str, str | bytes]
    peer: str
    raw: bytes = b""
    request: Message | None = None
    seconds_left: float | None = None
    request_id: str = field(default_factory=new_request_id)
    trace_id: str = field(default_factory=new_trace_id)
    idempotency_key: str | None = None
    authenticated: Caller | None = None
    code: Code | None = None
    trailing: dict[str, str] = field(default_factory=dict)

    @property
    def ids(self) -> dict[str, str]:
        """The ids by which the client knows its request."""
        return {"x-request-id": self.request_id, "x-server-trace-id": self.trace_id}

    @property
    def caller(self) -> Caller:
        """Who calls, and what it may do; open methods have nobody."""
        if self.authenticated is None:
            raise AssertionError("The method is open: nobody was authenticated.")
        return self.authenticated

    def find_metadata(self, key: str) -> str | None:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None


class Interceptor(Protocol):
    """One concern of every call."""

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        """Do something before and after `proceed`, which runs the rest."""


def chain(method: Method, interceptors: Sequence[Interceptor]) -> Proceed:
    """Put the interceptors, the outermost first, around a method."""

    async def answer(call: Call) -> Message:
        return await method.answer(call.request, call)

    proceed: Proceed = answer
    for each in reversed(interceptors):
        proceed = partial(each, proceed=proceed)
    return proceed
