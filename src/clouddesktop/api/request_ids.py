"""The ids that a request goes by in answers and in the log."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable

_MOST_CHARACTERS = 100


def new_request_id() -> str:
    return str(uuid.uuid4())


def new_trace_id() -> str:
    """Make one in the public API's form, trace:span:parent:flags; ours has a single span."""
    drawn = secrets.token_hex(16)
    trace, span = drawn[:16], drawn[16:]
    return f"{trace}:{span}:{trace}:1"


def client_ids(find_header: Callable[[str], str | None]) -> dict[str, str]:
    """Take the ids that the client gave to its request, for the log."""
    found = {
        "client_request_id": find_header("x-client-request-id"),
        "client_trace_id": find_header("x-client-trace-id"),
    }
    return {name: value[:_MOST_CHARACTERS] for name, value in found.items() if value}
