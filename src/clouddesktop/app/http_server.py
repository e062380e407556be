"""uvicorn inside a process that handles its signals itself."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from clouddesktop.app.tls import TlsFiles


class HttpServer:
    """Serves one ASGI application on one listening socket."""

    def __init__(self, app: ASGIApp, *, listener: socket.socket, tls: TlsFiles | None) -> None:
        self._listener = listener
        self._server = _QuietServer(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                ssl_certfile=None if tls is None else tls.certificate,
                ssl_keyfile=None if tls is None else tls.key,
                timeout_graceful_shutdown=10,
            )
        )

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listener.getsockname()[1])

    async def run(self) -> None:
        """Serve until `stop`; the socket is closed then."""
        await self._server.serve(sockets=[self._listener])

    async def wait_started(self) -> None:
        """Wait until requests are answered."""
        while not self._server.started:  # noqa: ASYNC110  (uvicorn has a flag and no event)
            await asyncio.sleep(0.01)

    def stop(self) -> None:
        """Take no further request; `run` returns when those there are have been answered."""
        self._server.should_exit = True


class _QuietServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
