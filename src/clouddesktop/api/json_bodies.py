"""JSON bodies of our own HTTP calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from clouddesktop.errors import InvalidArgumentError

_MOST_BODY_BYTES = 64 << 10


async def read_json_object(request: Request, *, example: str) -> Mapping[str, Any]:
    """Read the request's body.

    Raises:
        InvalidArgumentError: it is too long or no JSON object; `example` shows one.
    """
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > _MOST_BODY_BYTES:
            raise InvalidArgumentError(
                f"The request's body is longer than {_MOST_BODY_BYTES} bytes."
            )
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise InvalidArgumentError(
            "The request's body is no JSON.", remedy=f"Send an object, such as {example}."
        ) from error
    if not isinstance(body, dict):
        raise InvalidArgumentError(
            "The request's body is no JSON object.", remedy=f"Send one, such as {example}."
        )
    request.scope["body"] = body  # for the audit log
    return body
