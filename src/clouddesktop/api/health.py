"""The standard health service (grpc.health.v1), as it may be asked by anybody.

grpcio's own registration answers undecodable requests with its insides and a traceback in the log.
"""

from __future__ import annotations

from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse


def make_health_handler(servicer: health.aio.HealthServicer) -> grpc.GenericRpcHandler:
    """Make the handler of both methods, for a server's generic handlers."""

    async def check(request: HealthCheckRequest | None, context: Any) -> HealthCheckResponse:
        if request is None:
            return await _refuse(context)
        return await servicer.Check(request, context)

    async def watch(request: HealthCheckRequest | None, context: Any) -> None:
        if request is None:
            await _refuse(context)
        await servicer.Watch(request, context)

    serialize = HealthCheckResponse.SerializeToString
    handler: grpc.GenericRpcHandler = grpc.method_handlers_generic_handler(
        health.SERVICE_NAME,
        {
            "Check": grpc.unary_unary_rpc_method_handler(check, _decode, serialize),
            "Watch": grpc.unary_stream_rpc_method_handler(watch, _decode, serialize),
        },
    )
    return handler


def _decode(raw: bytes) -> HealthCheckRequest | None:
    try:
        return HealthCheckRequest.FromString(raw)
    except DecodeError:
        return None


async def _refuse(context: Any) -> NoReturn:
    await context.abort(
        grpc.StatusCode.INVALID_ARGUMENT, "The request's bytes are no HealthCheckRequest."
    )
    raise AssertionError("abort() raises.")
