"""The gRPC server."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection

from clouddesktop.api.grpc_calls import ApiHandler
from clouddesktop.api.health import make_health_handler
from clouddesktop.api.served import Api
from clouddesktop.errors import UnavailableError

_MOST_REQUEST_BYTES = 1 << 20
"""The largest request of this API, 64 labels and a description, takes some 20 KiB."""

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", _MOST_REQUEST_BYTES),
    ("grpc.max_concurrent_streams", 1000),  # of one connection
    ("grpc.keepalive_time_ms", 60_000),  # a client that is gone is noticed within 80 s
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # clients may ping this often
)


class GrpcServer:
    """Serves the API with the standard health and reflection services.

    `address` is HOST:PORT, port 0 for any that is free. Without `credentials` it speaks plaintext.
    With `reuses_port` it listens beside others that do so, too.
    """

    def __init__(
        self,
        *,
        address: str,
        credentials: grpc.ServerCredentials | None,
        api: Api,
        reuses_port: bool = False,
    ) -> None:
        # Not grpc's default: a second server would take half of the first one's calls.
        self._options = (*_OPTIONS, ("grpc.so_reuseport", int(reuses_port)))
        self._address = address
        self._credentials = credentials
        self._api = api
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Start to serve.

        Returns:
            The port.

        Raises:
            UnavailableError: the address is taken or is not this machine's.
        """
        # Made here, not in the constructor: it belongs to the running event loop.
        server = grpc.aio.server(options=self._options)
        names = [each.descriptor.full_name for each in self._api.services]
        server.add_generic_rpc_handlers((make_health_handler(self._health),))
        reflection.enable_server_reflection(
            (*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )
        # Last: it answers whatever nobody else does.
        server.add_generic_rpc_handlers((ApiHandler(self._api),))
        port = self._listen(server)
        await server.start()
        self._server = server
        for name in names:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return port

    async def stop(self, grace_seconds: float) -> None:
        """Take no new calls, and cancel those that are not over in time; may be called twice."""
        if self._server is None:
            return
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)

    def _listen(self, server: grpc.aio.Server) -> int:
        try:
            if self._credentials is None:
                return server.add_insecure_port(self._address)
            return server.add_secure_port(self._address, self._credentials)
        except RuntimeError as error:
            raise UnavailableError(
                f"The server cannot listen on {self._address}.",
                remedy="Choose another address, or port 0 for any free one.",
                facts={"address": self._address},
            ) from error
