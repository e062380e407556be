"""What every call takes along: the token, and an idempotency key if it changes something."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from clouddesktop.client.identity import Tokens

_AUTHORIZATION = "authorization"
_IDEMPOTENCY_KEY = "idempotency-key"
_READING_METHODS = (b"/Get", b"/List")

_Continuation = Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]]


class AuthorizingInterceptor(grpc.aio.UnaryUnaryClientInterceptor):
    """Sends the IAM token, and tries once more with a new one when the server refuses it."""

    def __init__(self, tokens: Tokens | None) -> None:
        self._tokens = tokens

    async def intercept_unary_unary(
        self,
        continuation: _Continuation,
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        base = grpc.aio.Metadata(*(client_call_details.metadata or ()))
        if not _is_reading(client_call_details.method) and base.get(_IDEMPOTENCY_KEY) is None:
            base.add(_IDEMPOTENCY_KEY, str(uuid.uuid4()))
        if self._tokens is None:
            return await continuation(_with_metadata(client_call_details, base), request)
        token = await self._tokens.get()
        call = await continuation(_authorized(client_call_details, base, token), request)
        if await call.code() is not grpc.StatusCode.UNAUTHENTICATED:
            return call
        self._tokens.forget(token)
        token = await self._tokens.get()
        return await continuation(_authorized(client_call_details, base, token), request)


def _is_reading(method: str | bytes) -> bool:
    raw = method if isinstance(method, bytes) else method.encode()
    return raw[raw.rindex(b"/") :].startswith(_READING_METHODS)


def _authorized(
    details: grpc.aio.ClientCallDetails, base: grpc.aio.Metadata, token: str
) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*base, (_AUTHORIZATION, f"Bearer {token}"))
    return _with_metadata(details, metadata)


def _with_metadata(
    details: grpc.aio.ClientCallDetails, metadata: grpc.aio.Metadata
) -> grpc.aio.ClientCallDetails:
    return grpc.aio.ClientCallDetails(
        details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
    )
