"""An HTTPS server whose answers a test writes itself, for those that no honest server gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parts.web import Handler, WebServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for; header names are in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is answered."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, value: Any, *, status: int = 200, **headers: str) -> Reply:
        names = {name.replace("_", "-"): text for name, text in headers.items()}
        return cls(status=status, body=json.dumps(value).encode(), headers=names)


class ScriptedServer(WebServer):
    """Answers by `script`; the requests are in `seen`."""

    def __init__(self, folder: Path, *, tls: Path) -> None:
        super().__init__(folder, tls=tls, handler=_ScriptedHandler)
        self.seen: list[Request] = []
        self.script: Callable[[Request], Reply] = lambda _request: Reply(status=404)


class _ScriptedHandler(Handler):
    def do_POST(self) -> None:  # noqa: N802  (http.server's name)
        self.answer()

    def answer(self) -> None:
        web = self.server.web
        assert isinstance(web, ScriptedServer)
        request = Request(
            method=self.command,
            path=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("content-length", "0"))),
        )
        with web.lock:
            web.seen.append(request)
        reply = web.script(request)
        self.send(reply.status, reply.body, reply.headers)
