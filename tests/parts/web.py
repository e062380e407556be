"""A real HTTPS server on this machine, with a certificate of its own and faults where a test wants.

`faults` maps a path to a function that gets the request's handler and its number for that path; it
answers itself and returns True, or returns False to let the server answer as it should.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from clouddesktop.app.tls import prepare_tls

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")

Fault = Callable[["Handler", int], bool]


class WebServer:
    """Serves the files of a folder by ranges, with an index page and strong ETags."""

    def __init__(
        self,
        folder: Path,
        *,
        tls: Path | None,
        handler: type[Handler] | None = None,
        port: int = 0,
    ) -> None:
        self.folder = folder
        self.faults: dict[str, Fault] = {}
        self.has_index = True
        self.has_etags = True
        self.requests: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), handler or Handler)
        self._server.web = self
        self.ca: Path | None = None
        if tls is not None:
            files = prepare_tls(tls, names={"localhost", "127.0.0.1"})
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files.certificate, files.key)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self.ca = files.ca
        self.url = f"{'http' if tls is None else 'https'}://localhost:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    web: WebServer
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are what the tests are about."""


class Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        web = self.server.web
        with web.lock:
            web.requests[self.path] += 1
            number = web.requests[self.path]
            web.headers.append({name.lower(): value for name, value in self.headers.items()})
        fault = web.faults.get(self.path)
        if fault is None or not fault(self, number):
            self.answer()

    def answer(self) -> None:
        """Answer as a good server does."""
        web = self.server.web
        if self.path == "/" and web.has_index:
            links = "".join(f'<a href="{each.name}">x</a>' for each in web.folder.iterdir())
            self.send(200, f"<html>{links}</html>".encode(), {"content-type": "text/html"})
            return
        path = web.folder / self.path.removeprefix("/")
        if not path.is_file():
            self.send(404, b"not here", {})
            return
        content = path.read_bytes()
        headers = {}
        if web.has_etags:
            headers["etag"] = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
            if self.headers.get("if-match", headers["etag"]) != headers["etag"]:
                self.send(412, b"", headers)
                return
        wanted = _RANGE.fullmatch(self.headers.get("range", ""))
        if wanted is None:
            self.send(200, content, headers)
            return
        first, last = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
        if first >= len(content):
            self.send(416, b"", {**headers, "content-range": f"bytes */{len(content)}"})
            return
        headers["content-range"] = f"bytes {first}-{last}/{len(content)}"
        self.send(206, content[first : last + 1], headers)

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Answer with a body whose length is told."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (http.server's name)
        """Keep the tests' output free of requests."""


@contextmanager
def serving(folder: Path, *, tls: Path | None) -> Iterator[WebServer]:
    """Serve a folder until the end."""
    web = WebServer(folder, tls=tls)
    web.start()
    try:
        yield web
    finally:
        web.stop()


def once(fault: Fault, *, at: int = 1, times: int = 1) -> Fault:
    """Make a fault happen at the request of that number, and at some after it, only."""
    return lambda handler, number: at <= number < at + times and fault(handler, number)


def status(code: int, **headers: str) -> Fault:
    def fault(handler: Handler, _number: int) -> bool:
        handler.send(code, b"", {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return fault


def cut_body(handler: Handler, _number: int) -> bool:
    """Promise the whole range, send a third of it, and hang up."""
    content = (handler.server.web.folder / handler.path[1:]).read_bytes()
    wanted = _RANGE.fullmatch(handler.headers.get("range", ""))
    assert wanted is not None
    first, last = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
    handler.send_response(206)
    handler.send_header("etag", f'"{hashlib.sha256(content).hexdigest()[:20]}"')
    handler.send_header("content-range", f"bytes {first}-{last}/{len(content)}")
    handler.send_header("content-length", str(last - first + 1))
    handler.end_headers()
    handler.wfile.write(content[first : first + (last - first + 1) // 3])
    handler.wfile.flush()
    handler.close_connection = True
    return True
