"""The HTTP side: bytes, ranges, errors as Status, and what is not served."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import structlog
import uvicorn

from clouddesktop.api import http, http_edge
from clouddesktop.api.authentication import Callers
from clouddesktop.api.http import build_http_app
from clouddesktop.api.rest import RestApp
from clouddesktop.delivery.export import Exports, ImageNotReadyError
from clouddesktop.errors import DataLossError, NotFoundError, UnavailableError
from clouddesktop.iam.access import Access, Caller
from clouddesktop.ids import Digest
from clouddesktop.model.frame import Frame, parse_frames
from clouddesktop.model.manifest import Extent
from unit.api.serving import FakeCopies, make_api, make_database, make_tokens
from unit.iam.signing import sign

DISK = bytes(range(256)) * 41 + b"end"
EXTENTS = [Extent(offset=0, length=4096), Extent(offset=8192, length=len(DISK) - 8192)]


@dataclass
class FakeReader:
    """An image in memory; reading at or after `damaged_at` fails."""

    disk: bytes = DISK
    extents: list[Extent] = field(default_factory=lambda: EXTENTS)
    damaged_at: int | None = None
    reads: list[tuple[int, int]] = field(default_factory=list)
    may_read: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_read.set()

    @property
    def size(self) -> int:
        return len(self.disk)

    @property
    def chunk_size(self) -> int:
        return 4096

    def read_frames(self, first: int, count: int) -> list[Frame]:
        plain = self.read(first * 4096, min(count * 4096, self.size - first * 4096))
        return [
            Frame(
                number=first, codec=0, plain_size=len(plain), digest=Digest(b"d" * 32), stored=plain
            )
        ]

    def iter_extents(self) -> Iterator[Extent]:
        return iter(self.extents)

    def read(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        assert self.may_read.wait(20)
        if self.damaged_at is not None and offset + length > self.damaged_at:
            raise DataLossError("A chunk is damaged.")
        assert offset + length <= self.size
        return self.disk[offset : offset + length]


@dataclass
class FakeExports:
    """Opens `reader` for the id `e3v`."""

    reader: FakeReader = field(default_factory=FakeReader)
    failure: Exception | None = None

    def open_image(self, image_id: str, *, caller: Caller) -> FakeReader:
        assert caller.id == "ajeadmin"
        if self.failure is not None:
            raise self.failure
        if image_id != "e3v":
            raise NotFoundError.of_resource("Image", image_id)
        return self.reader


@dataclass
class Site:
    """A running HTTP server and an authorised client."""

    exports: FakeExports
    client: httpx.AsyncClient
    log: list[Any]

    @property
    def reader(self) -> FakeReader:
        return self.exports.reader


class _QuietServer(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Leave signals to the tests."""


@asynccontextmanager
async def running(exports: FakeExports, folder: Path) -> AsyncIterator[str]:
    tokens, database = make_tokens(), make_database(folder)
    callers = Callers(tokens=tokens, access=Access(database=database))
    api = make_api(database=database, copies=FakeCopies(), tokens=tokens)
    app = build_http_app(exports=cast("Exports", exports), callers=callers, rest=RestApp(api))
    config = uvicorn.Config(app, log_config=None, lifespan="off", access_log=False)
    server = _QuietServer(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await server.startup(sockets=[listener])
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            await server.shutdown(sockets=[listener])


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Site]:
    """A server on a free port, that reads in pieces of 1000 bytes."""
    monkeypatch.setattr(http, "_PIECE_SIZE", 1000)
    exports = FakeExports()
    token = make_tokens().exchange_jwt(sign()).token
    headers = {"authorization": f"Bearer {token}", "accept-encoding": "identity"}
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as log:
        async with (
            running(exports, tmp_path) as url,
            httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client,
        ):
            yield Site(exports=exports, client=client, log=log)
        assert token not in str(log)


def check_status(response: httpx.Response, *, http_status: int, code: int, reason: str) -> Any:
    """The body is a google.rpc.Status, and its ids are those of the headers."""
    assert response.status_code == http_status
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body["code"] == code
    details = {each["@type"].rpartition(".")[2]: each for each in body["details"]}
    assert details["ErrorInfo"]["reason"] == reason
    assert details["RequestInfo"]["requestId"] == response.headers["x-request-id"]
    assert response.headers["x-server-trace-id"]
    return body


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  (the other side is a thread or the log)
            await asyncio.sleep(0.01)


async def download(site: Site, received: bytearray) -> None:
    async with site.client.stream("GET", "/delivery/v1/images/e3v/disk") as response:
        async for piece in response.aiter_bytes():
            received += piece


async def test_the_whole_disk(site: Site) -> None:
    """Piece by piece, with its length in front."""
    response = await site.client.get("/delivery/v1/images/e3v/disk")
    assert response.status_code == 200
    assert response.content == DISK
    assert response.headers["content-length"] == str(len(DISK))
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["accept-ranges"] == "bytes"
    assert max(length for _, length in site.reader.reads) == 1000
    (line,) = site.log
    assert line["event"] == "request"
    assert line["status"] == 200
    assert line["subject"] == "ajeadmin"
    assert line["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (0, 1000), (999, 2001), (10000, len(DISK)), (5, 10005)]
)
async def test_a_range_of_it(site: Site, start: int, end: int) -> None:
    """206 with Content-Range, and nothing else is read."""
    response = await site.client.get(
        "/delivery/v1/images/e3v/disk", headers={"range": f"bytes={start}-{end - 1}"}
    )
    assert response.status_code == 206
    assert response.content == DISK[start:end]
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{len(DISK)}"
    assert response.headers["content-length"] == str(end - start)
    assert sum(length for _, length in site.reader.reads) == end - start


async def test_a_download_can_go_on_by_if_range(site: Site) -> None:
    """With the ETag of this image the range counts, with another one all of it comes."""
    etag = (await site.client.head("/delivery/v1/images/e3v/disk")).headers["etag"]
    for tag, status in ((etag, 206), ('"other"', 200)):
        response = await site.client.get(
            "/delivery/v1/images/e3v/disk", headers={"range": "bytes=100-", "if-range": tag}
        )
        assert response.status_code == status


async def test_a_range_past_the_end(site: Site) -> None:
    """416, with the size in Content-Range and a Status."""
    response = await site.client.get(
        "/delivery/v1/images/e3v/disk", headers={"range": f"bytes={len(DISK)}-"}
    )
    check_status(response, http_status=416, code=11, reason="RANGE_NOT_SATISFIABLE")
    assert response.headers["content-range"] == f"bytes */{len(DISK)}"


async def test_head_tells_the_length_and_reads_nothing(site: Site) -> None:
    """A Range does not matter to it."""
    response = await site.client.head(
        "/delivery/v1/images/e3v/disk", headers={"range": "bytes=0-1"}
    )
    assert response.status_code == 200
    assert response.headers["content-length"] == str(len(DISK))
    assert response.content == b""
    assert site.reader.reads == []


async def test_chunks_as_they_are_stored(site: Site) -> None:
    """Frames with their length in front, read at once."""
    response = await site.client.get("/delivery/v1/images/e3v/chunks?first=1&count=1")
    assert response.status_code == 200
    (frame,) = parse_frames(response.content)
    assert (frame.number, bytes(frame.stored)) == (1, DISK[4096:8192])
    assert response.headers["content-length"] == str(len(response.content))
    assert response.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("query", ["", "first=0", "first=0&count=x", "first=-1&count=1"])
async def test_a_range_of_chunks_that_is_none(site: Site, query: str) -> None:
    """The field that is wrong is named."""
    response = await site.client.get(f"/delivery/v1/images/e3v/chunks?{query}")
    check_status(response, http_status=400, code=3, reason="INVALID_ARGUMENT")
    assert site.reader.reads == []


async def test_a_missing_chunk_is_told(site: Site) -> None:
    """No part of the answer has been sent, so there is a Status."""
    site.reader.damaged_at = 0
    response = await site.client.get("/delivery/v1/images/e3v/chunks?first=0&count=1")
    check_status(response, http_status=500, code=15, reason="DATA_LOSS")


async def test_an_empty_disk(site: Site) -> None:
    """Has no bytes and no extents, and is no error."""
    site.exports.reader = FakeReader(disk=b"", extents=[])
    response = await site.client.get("/delivery/v1/images/e3v/disk")
    assert (response.status_code, response.content) == (200, b"")
    response = await site.client.get("/delivery/v1/images/e3v/extents")
    assert response.json() == {"size": "0", "chunk_size": "4096", "extents": []}


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2000])
async def test_where_the_data_lies(site: Site, count: int) -> None:
    """Numbers are strings, as int64 are in proto3's JSON."""
    site.reader.extents = [Extent(offset=number * 8, length=4) for number in range(count)]
    response = await site.client.get("/delivery/v1/images/e3v/extents")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "size": str(len(DISK)),
        "chunk_size": "4096",
        "extents": [{"offset": str(number * 8), "length": "4"} for number in range(count)],
    }


@pytest.mark.parametrize("path", ["extents", "disk", "chunks?first=0&count=1"])
@pytest.mark.parametrize("authorization", [None, "Bearer t1.a.b", "Basic abc"])
async def test_without_a_good_token_nothing_is_told(
    site: Site, path: str, authorization: str | None
) -> None:
    """Not even whether the image exists."""
    del site.client.headers["authorization"]
    headers = {} if authorization is None else {"authorization": authorization}
    for image_id in ("e3v", "none"):
        response = await site.client.get(f"/delivery/v1/images/{image_id}/{path}", headers=headers)
        reason = "TOKEN_INVALID" if authorization == "Bearer t1.a.b" else "TOKEN_MISSING"
        check_status(response, http_status=401, code=16, reason=reason)
        assert response.headers["www-authenticate"] == "Bearer"


async def test_errors_come_as_status_with_the_api_s_http_codes(site: Site) -> None:
    """Not found, not ready, busy, and broken without its text."""
    response = await site.client.get("/delivery/v1/images/none/disk")
    body = check_status(response, http_status=404, code=5, reason="NOT_FOUND")
    assert body["message"] == "Image none not found"
    response = await site.client.get(f"/delivery/v1/images/{'x' * 5000}/disk")
    check_status(response, http_status=404, code=5, reason="NOT_FOUND")
    assert len(response.content) < 2000
    site.exports.failure = ImageNotReadyError("It is being made.")
    response = await site.client.get("/delivery/v1/images/e3v/disk")
    check_status(response, http_status=400, code=9, reason="IMAGE_NOT_READY")
    site.exports.failure = UnavailableError("Busy.", retry_after_seconds=2)
    response = await site.client.get("/delivery/v1/images/e3v/disk")
    check_status(response, http_status=503, code=14, reason="UNAVAILABLE")
    assert response.headers["retry-after"] == "2"
    site.log.clear()
    site.exports.failure = RuntimeError("secret text")
    response = await site.client.get("/delivery/v1/images/e3v/disk")
    check_status(response, http_status=500, code=13, reason="INTERNAL")
    assert "secret text" not in response.text
    logged = [each for each in site.log if each.get("exc_info")]
    assert [each["request_id"] for each in logged] == [response.headers["x-request-id"]]


async def test_damage_in_the_first_piece_is_told(site: Site) -> None:
    """The answer has not begun: there is a Status."""
    site.reader.damaged_at = 0
    response = await site.client.get("/delivery/v1/images/e3v/disk")
    check_status(response, http_status=500, code=15, reason="DATA_LOSS")


async def test_damage_later_on_breaks_the_answer(site: Site) -> None:
    """The bytes so far are right, the promised length is not reached, the log says why, once."""
    site.reader.damaged_at = 5000
    received = bytearray()
    with pytest.raises(httpx.RemoteProtocolError):
        await download(site, received)
    assert DISK.startswith(received)
    assert len(received) <= 5000
    assert len([each for each in site.log if each.get("exc_info")]) == 1


async def test_a_client_that_leaves_stops_the_reading(site: Site) -> None:
    """Pieces that nobody takes are not read."""
    site.exports.reader = FakeReader(disk=bytes(50_000_000))
    async with site.client.stream("GET", "/delivery/v1/images/e3v/disk") as response:
        await anext(response.aiter_bytes())
    await wait_until(lambda: any(each["event"] == "request" for each in site.log))
    assert len(site.reader.reads) < 50_000


async def test_a_slow_reader_keeps_nobody_else_waiting(site: Site) -> None:
    """The loop stays free while threads read."""
    site.reader.may_read.clear()
    async with asyncio.TaskGroup() as group:
        downloads = [
            group.create_task(site.client.get("/delivery/v1/images/e3v/disk")) for _ in range(6)
        ]
        await wait_until(lambda: len(site.reader.reads) >= 4)
        assert (await site.client.get("/healthz")).status_code == 200
        site.reader.may_read.set()
    assert all(each.result().content == DISK for each in downloads)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/cloud-desktop/v2/images"),
        ("GET", "/delivery/v1/images/e3v/disk/"),
    ],
)
async def test_what_is_at_no_path_is_not_found(site: Site, method: str, path: str) -> None:
    """404 with a Status that says so."""
    response = await site.client.request(method, path)
    body = check_status(response, http_status=404, code=5, reason="ROUTE_NOT_FOUND")
    assert f"{method} {path}" in body["message"]


async def test_health_needs_no_token(site: Site) -> None:
    """For load balancers."""
    del site.client.headers["authorization"]
    response = await site.client.get("/healthz")
    assert response.status_code == 200
    assert json.loads(response.content) == {"status": "SERVING"}


@pytest.mark.parametrize("path", ["disk", "chunks?first=0&count=12000"])
async def test_downloads_beyond_the_bound_are_told_to_come_back(
    site: Site, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """429 with Retry-After while others are sent, and served again after them."""
    monkeypatch.setattr(http, "_MOST_DOWNLOADS", 1)
    site.exports.reader = FakeReader(disk=bytes(50_000_000))
    async with site.client.stream("GET", f"/delivery/v1/images/e3v/{path}") as response:
        pieces = response.aiter_bytes()  # held: the answer is closed with its iterator
        await anext(pieces)
        for other in ("disk", "chunks?first=0&count=1"):
            refused = await site.client.get(f"/delivery/v1/images/e3v/{other}")
            check_status(refused, http_status=429, code=8, reason="TOO_MANY_DOWNLOADS")
            assert refused.headers["retry-after"] == "1"
    await wait_until(lambda: any(each["event"] == "request" for each in site.log))
    site.exports.reader = FakeReader()
    served = await site.client.get("/delivery/v1/images/e3v/disk")
    assert served.content == DISK


async def test_a_reader_that_takes_nothing_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place is free for others then."""
    monkeypatch.setattr(http_edge, "_SEND_SECONDS", 0.2)
    site.exports.reader = FakeReader(disk=bytes(50_000_000))
    async with site.client.stream("GET", "/delivery/v1/images/e3v/disk"):
        await wait_until(lambda: any("given up" in each["event"] for each in site.log))


async def test_another_verb_is_not_allowed(site: Site) -> None:
    """405 and which are, whatever it is called."""
    for method, path in (("FOO", "/healthz"), ("DELETE", "/delivery/v1/images/e3v/disk")):
        response = await site.client.request(method, path)
        check_status(response, http_status=405, code=12, reason="METHOD_NOT_ALLOWED")
        assert "GET" in response.headers["allow"]
