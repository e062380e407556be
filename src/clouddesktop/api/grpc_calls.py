"""Calls that come by gRPC: from its bytes and metadata to the chain, and back."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc

from clouddesktop.api.calls import Call
from clouddesktop.api.served import Api, ServedMethod
from clouddesktop.api.status import to_short_status
from clouddesktop.errors import CloudDesktopError

DETAILS_KEY = "grpc-status-details-bin"

_CODES = {each.value[0]: each for each in grpc.StatusCode}


class ApiHandler(grpc.GenericRpcHandler):
    """Finds the handler of a call; one for a method that is not served says so with a Status."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._handlers = {
            method.path: _handler_of(api.find(method.path))
            for each in api.services
            for method in each.methods
        }

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        path = handler_call_details.method
        return self._handlers.get(path) or _handler_of(self._api.find(path))


def _handler_of(served: ServedMethod) -> grpc.RpcMethodHandler[bytes, bytes]:
    async def handle(raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        call = Call(
            method=served.method,
            metadata=dict(context.invocation_metadata() or ()),
            peer=context.peer(),
            raw=raw,
            seconds_left=context.time_remaining(),
        )
        await context.send_initial_metadata(tuple(call.ids.items()))
        try:
            answer = await served.proceed(call)
        except CloudDesktopError as error:
            await _abort(call, context, error)
        context.set_trailing_metadata(tuple(call.trailing.items()))
        return answer.SerializeToString()

    # Bytes in, bytes out: decoding belongs into the chain, where its errors get their words.
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(handle)
    return handler


async def _abort(
    call: Call, context: grpc.aio.ServicerContext[Any, Any], error: CloudDesktopError
) -> NoReturn:
    status = to_short_status(error.failure, call.request_id)
    await context.abort(
        _CODES[status.code],
        status.message,
        (*call.trailing.items(), (DETAILS_KEY, status.SerializeToString())),
    )
