"""A proxy before a real S3 server that breaks what a test wants broken.

`faults` maps an object's path to faults as in `parts.web`; a request that meets none is passed on.
"""

from __future__ import annotations

import http.client
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from parts.web import Fault, Handler, WebServer

_HOP = frozenset({"connection", "content-length", "transfer-encoding", "date", "server"})


@dataclass
class Reply:
    """What the real server answers."""

    status: int
    headers: dict[str, str]
    body: bytes


class S3Proxy(WebServer):
    """Passes requests on as they are, so that their signatures hold."""

    def __init__(self, port: int) -> None:
        super().__init__(Path("/nowhere"), tls=None, handler=_ProxyHandler)
        self.port = port
        self.url = self.url.replace("localhost", "127.0.0.1").rstrip("/")


class _ProxyHandler(Handler):
    body = b""

    def do_GET(self) -> None:  # noqa: N802  (http.server's name)
        web = self.server.web
        self.body = self.rfile.read(int(self.headers.get("content-length", "0")))
        path = self.path.partition("?")[0]
        with web.lock:
            web.requests[path] += 1
            number = web.requests[path]
            web.headers.append({name.lower(): value for name, value in self.headers.items()})
        fault = web.faults.get(path)
        if fault is None or not fault(self, number):
            self.answer()

    def do_HEAD(self) -> None:  # noqa: N802  (the same)
        self.do_GET()

    def do_PUT(self) -> None:  # noqa: N802  (the same)
        self.do_GET()

    def do_DELETE(self) -> None:  # noqa: N802  (the same)
        self.do_GET()

    def answer(self) -> None:
        reply = ask(self)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)


def _body_of(handler: Handler) -> bytes:
    assert isinstance(handler, _ProxyHandler)
    return handler.body


def ask(handler: Handler, *, body: bytes | None = None) -> Reply:
    """Get the real server's answer to a handler's request, or to one with another body."""
    web = handler.server.web
    assert isinstance(web, S3Proxy)
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    try:
        connection.putrequest(
            handler.command, handler.path, skip_host=True, skip_accept_encoding=True
        )
        for name, value in handler.headers.items():
            connection.putheader(name, value)
        connection.endheaders(_body_of(handler) if body is None else body)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    headers = {
        name.lower(): value for name, value in response.getheaders() if name.lower() not in _HOP
    }
    length = response.headers.get("content-length", "0") if not body else str(len(body))
    return Reply(status=response.status, headers=headers | {"content-length": length}, body=body)


def altered(**changes: str) -> Fault:
    """Answer as the real server does, but for these headers."""

    def fault(handler: Handler, _number: int) -> bool:
        reply = ask(handler)
        reply.headers |= {name.replace("_", "-"): value for name, value in changes.items()}
        _send(handler, reply, reply.body)
        return True

    return fault


def refused(status: int, code: str) -> Fault:
    """Refuse as S3 does, with a code of its own."""

    def fault(handler: Handler, _number: int) -> bool:
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        handler.send(
            status, b"" if handler.command == "HEAD" else body, {"content-type": "application/xml"}
        )
        return True

    return fault


def only(method: str, fault: Fault) -> Fault:
    """Make a fault meet requests of one method alone."""
    return lambda handler, number: handler.command == method and fault(handler, number)


def lost_answer(handler: Handler, _number: int) -> bool:
    """Let the real server do what it is asked for, and hang up instead of an answer."""
    ask(handler)
    return hung_up(handler, _number)


def hung_up(handler: Handler, _number: int) -> bool:
    """Take the request, and hang up instead of passing it on."""
    handler.close_connection = True
    return True


def flipped_body(handler: Handler, _number: int) -> bool:
    """Pass the request on with one bit of its body changed."""
    body = bytearray(_body_of(handler))
    body[len(body) // 2] ^= 1
    reply = ask(handler, body=bytes(body))
    _send(handler, reply, reply.body)
    return True


def cut_body(handler: Handler, _number: int) -> bool:
    """Promise the whole answer, send a third of it, and hang up."""
    reply = ask(handler)
    _send(handler, reply, reply.body[: len(reply.body) // 3])
    handler.close_connection = True
    return True


def reset_body(handler: Handler, _number: int) -> bool:
    """Reset the connection in the middle of the body."""
    reply = ask(handler)
    _send(handler, reply, reply.body[: len(reply.body) // 2])
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True
    return True


def stall_body(handler: Handler, _number: int) -> bool:
    """Send a part of the body, and then nothing until the client hangs up."""
    reply = ask(handler)
    _send(handler, reply, reply.body[: len(reply.body) // 2])
    handler.connection.settimeout(20)
    handler.rfile.read(1)
    handler.close_connection = True
    return True


def _send(handler: Handler, reply: Reply, body: bytes) -> None:
    handler.send_response(reply.status)
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
    handler.wfile.flush()


@contextmanager
def proxying(port: int) -> Iterator[S3Proxy]:
    """Stand before the server at `port` of this machine until the end."""
    proxy = S3Proxy(port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
