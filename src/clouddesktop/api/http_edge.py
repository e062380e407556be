"""The edge of the HTTP side: request ids, the log, and errors as google.rpc.Status in JSON.

Plain ASGI: Starlette's BaseHTTPMiddleware hides context variables from what it wraps.
"""

from __future__ import annotations

import asyncio
import time

import structlog
from google.protobuf.json_format import MessageToDict
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clouddesktop.api.auditing import Auditing
from clouddesktop.api.byte_ranges import RangeNotSatisfiableError
from clouddesktop.api.request_ids import client_ids, new_request_id, new_trace_id
from clouddesktop.api.rest_bindings import VerbNotAllowedError
from clouddesktop.api.status import HTTP_CODES, to_status
from clouddesktop.errors import CloudDesktopError, Code, Failure

_BETTER_STATUSES = {
    "RANGE_NOT_SATISFIABLE": 416,
    "METHOD_NOT_ALLOWED": 405,
    "BODY_TOO_LARGE": 413,
    "UPLOAD_TOO_LARGE": 413,
    "UPLOAD_MEDIA_TYPE": 415,
    "TUS_VERSION": 412,
}
"""By the reasons of errors: HTTP is more exact than the codes of gRPC."""

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_SEND_SECONDS = 60
"""How long a reader may take nothing at all before it is given up."""

_log = structlog.get_logger(__name__)


class HttpEdge:
    """Wraps the application: nothing that is raised inside goes further out.

    An error after the answer has begun ends the connection before the promised length, so that no
    client takes the answer for whole.
    """

    def __init__(self, app: ASGIApp, auditing: Auditing | None = None) -> None:
        self._app = app
        self._auditing = auditing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, send)
        scope["ids"] = {"request_id": request.id, "trace_id": request.trace_id}
        # A pipelined request inherits the context of the one before.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request.id)
        try:
            await self._app(scope, receive, request.audited(self._auditing))
        except CloudDesktopError as error:
            request.note(self._auditing, error.failure)
            if error.code in (Code.INTERNAL, Code.DATA_LOSS) or request.status:
                _log.exception("request failed")
            await request.fail(error.failure, receive, _headers_of(error))
        except TimeoutError:
            # Returning without the rest of the answer ends the connection.
            _log.warning("request given up: its reader takes nothing")
        except Exception as error:  # noqa: BLE001  (the border: nothing foreign leaves the server)
            _log.exception("request failed")
            await request.fail(Failure.of(error), receive, {})
        finally:
            request.log()


class _Request:
    """One request, and how far its answer has come."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.id = new_request_id()
        self.status = 0
        self.trace_id = new_trace_id()
        self._scope = scope
        self._send = send
        self._start = time.perf_counter()

    def audited(self, auditing: Auditing | None) -> Send:
        """Give a `send` by which what was done is in the audit log before its answer leaves."""
        if auditing is None or self._scope["method"] in _READS:
            return self.send

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.note(auditing, None)
            await self.send(message)

        return send

    def note(self, auditing: Auditing | None, failure: Failure | None) -> None:
        """Write to the audit log what has become of a request to one of our own paths."""
        # REST has no endpoint here: its calls are noted in the chain, as gRPC's are.
        name = getattr(self._scope.get("endpoint"), "__name__", "")
        if auditing is None or not name:
            return
        headers = Headers(scope=self._scope)
        auditing.note_request(
            name=name,
            is_change=self._scope["method"] not in _READS,
            request_id=self.id,
            caller=self._scope.get("caller"),
            peer=self._peer,
            user_agent=headers.get("user-agent", ""),
            parameters={**self._scope.get("path_params", {}), **self._scope.get("body", {})},
            failure=failure,
        )

    @property
    def _peer(self) -> str:
        client = self._scope.get("client")
        return f"{client[0]}:{client[1]}" if client else ""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.id
            headers["x-server-trace-id"] = self.trace_id
        async with asyncio.timeout(_SEND_SECONDS):
            await self._send(message)

    async def fail(self, failure: Failure, receive: Receive, headers: dict[str, str]) -> None:
        """Answer with the error if there is still time for that."""
        if self.status:
            return
        status = _BETTER_STATUSES.get(failure.reason, HTTP_CODES[failure.code])
        body = MessageToDict(to_status(failure, self.id))
        response = JSONResponse(body, status_code=status, headers=headers)
        await response(self._scope, receive, self.send)

    def log(self) -> None:
        headers = Headers(scope=self._scope)
        _log.info(
            "request",
            method=self._scope["method"],
            path=self._scope["path"],
            status=self.status,
            milliseconds=round((time.perf_counter() - self._start) * 1000, 2),
            peer=self._peer or None,
            **client_ids(headers.get),
        )


def _headers_of(error: CloudDesktopError) -> dict[str, str]:
    """Say in HTTP's own words what its clients look for there."""
    if error.code is Code.UNAUTHENTICATED:
        return {"www-authenticate": "Bearer"}
    if isinstance(error, RangeNotSatisfiableError):
        return {"content-range": f"bytes */{error.facts['size']}"}
    if isinstance(error, VerbNotAllowedError):
        return {"allow": error.facts["allow"]}
    retry_after_seconds = error.failure.retry_after_seconds
    if retry_after_seconds is not None:
        return {"retry-after": str(max(round(retry_after_seconds), 1))}
    return {}
