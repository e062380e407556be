"""What Glance may answer beside what it should; the real one is in tests/integration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clouddesktop.errors import CloudDesktopError, InvalidArgumentError, NotFoundError
from clouddesktop.model.image import ComputeImage
from clouddesktop.source import glance_api
from clouddesktop.source.base import SourceChangedError, SourceUnreadableError, SourceUnsafeError
from clouddesktop.source.fetch import FetchFailedError, FetchForbiddenError
from clouddesktop.source.glance import GlanceMark, GlanceSource
from clouddesktop.source.glance_api import GlanceImage
from clouddesktop.source.keystone import OpenStackAccess
from clouddesktop.source.remote import RemoteFile, StreamedFile
from parts.scripted import Reply, Request, ScriptedServer

FIRST = "11111111-1111-4111-8111-111111111111"
SECOND = "22222222-2222-4222-8222-222222222222"
CONTENT = b"0123456789" * 300


@pytest.fixture
def web(tmp_path: Path) -> Iterator[ScriptedServer]:
    server = ScriptedServer(tmp_path, tls=tmp_path / "tls")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def make_source(web: ScriptedServer) -> Iterator[Callable[..., GlanceSource]]:
    made: list[GlanceSource] = []

    def make(path: str = "") -> GlanceSource:
        made.append(
            GlanceSource(
                name="cloud",
                folder_id="f",
                url=web.url + path,
                access=OpenStackAccess(token="token"),  # noqa: S106  (of nothing)
                ca_file=str(web.ca),
                stall_seconds=5,
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


MakeSource = Callable[..., GlanceSource]


def record(image_id: str = FIRST, **values: Any) -> dict[str, Any]:
    return {
        "id": image_id,
        "status": "active",
        "container_format": "bare",
        "size": len(CONTENT),
        "os_hash_algo": "sha512",
        "os_hash_value": "a" * 128,
        "checksum": "b" * 32,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-02T00:00:00Z",
        **values,
    }


def image(image_id: str = FIRST) -> ComputeImage:
    return ComputeImage(id=image_id, folder_id="f", source="cloud", location=image_id)


@pytest.mark.parametrize(
    "prefix", ["/v2/images", "/image/v2/images", "https://HOST/image/v2/images"]
)
def test_pages_follow_at_the_sources_own_path(
    make_source: MakeSource, web: ScriptedServer, prefix: str
) -> None:
    """Glance does not know of the path that a proxy put before it: the query is what counts."""
    host = web.url.removeprefix("https://").rstrip("/")

    def script(request: Request) -> Reply:
        if "marker=" in request.path:
            return Reply.of_json({"images": [record(SECOND)]})
        link = f"{prefix.replace('HOST', host)}?marker={FIRST}&limit=1"
        return Reply.of_json({"images": [record()], "next": link})

    web.script = script
    assert [each.id for each in make_source("image/v2/").iter_compute_images()] == [FIRST, SECOND]
    assert web.seen[-1].path == f"/image/v2/images?marker={FIRST}&limit=1"
    assert "status=active&container_format=bare" in web.seen[0].path


@pytest.mark.parametrize(
    "link", ["https://other.example/v2/images?marker=1", "//10.0.0.1/x", "http://x/"]
)
def test_pages_do_not_lead_elsewhere(
    make_source: MakeSource, web: ScriptedServer, link: str
) -> None:
    """A list that goes on at another server is refused before anything is sent there."""
    web.script = lambda _request: Reply.of_json({"images": [], "next": link})
    with pytest.raises(SourceUnsafeError, match="another server"):
        list(make_source().iter_compute_images())


def test_a_list_has_an_end(
    make_source: MakeSource, web: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glance_api, "_MOST_PAGES", 3)
    web.script = lambda _request: Reply.of_json({"images": [record()], "next": "/v2/images?x=y"})
    with pytest.raises(SourceUnreadableError, match="more than 3 pages"):
        list(make_source().iter_compute_images())
    assert len(web.seen) == 3


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[" * 100_000,
        b"[]",
        b'{"images": {}}',
        b'{"images": [1]}',
        b'{"images": [{"id": "../../etc"}]}',
        b'{"images": [{"id": "%s", "size": -1}]}' % FIRST.encode(),
        b'{"images": [{"id": "%s", "size": true}]}' % FIRST.encode(),
        b"\xff\xfe",
    ],
)
def test_nonsense_is_refused(make_source: MakeSource, web: ScriptedServer, body: bytes) -> None:
    """With the way out: the URL is likely another server's."""
    web.script = lambda _request: Reply(body=body)
    with pytest.raises(SourceUnreadableError, match="no Glance") as caught:
        list(make_source().iter_compute_images())
    assert "without /v2" in caught.value.remedy


def test_an_odd_image_hides_no_other(make_source: MakeSource, web: ScriptedServer) -> None:
    """Ids were free texts once."""
    records = [record("my-image"), record(SECOND), record(FIRST, size="large")]
    web.script = lambda _request: Reply.of_json({"images": records})
    assert [each.id for each in make_source().iter_compute_images()] == [SECOND]


@pytest.mark.parametrize("status", [403, 404, 300])
def test_a_refusal_is_final(make_source: MakeSource, web: ScriptedServer, status: int) -> None:
    web.script = lambda _request: Reply(status=status)
    with pytest.raises(SourceUnreadableError, match=f"HTTP {status}"):
        list(make_source().iter_compute_images())
    assert len(web.seen) == 1


def test_another_image_than_the_one_asked_for_is_none(
    make_source: MakeSource, web: ScriptedServer
) -> None:
    web.script = lambda _request: Reply.of_json(record(SECOND))
    assert make_source().find_compute_image(FIRST) is None
    with pytest.raises(NotFoundError):
        make_source().fingerprint(image())


def test_the_hash_is_the_mark() -> None:
    """Changes to names and tags are none of the data's; without a hash, any change may be."""
    first, renamed = (
        GlanceMark.of_image(GlanceImage.of_record(record(updated_at=each))) for each in "12"
    )
    assert first.to_text() == renamed.to_text()
    assert first.settled
    other = GlanceMark.of_image(GlanceImage.of_record(record(os_hash_value="c" * 128)))
    assert other.to_text() != first.to_text()
    bare: dict[str, Any] = {"os_hash_algo": None, "os_hash_value": None, "checksum": None}
    first, renamed = (
        GlanceMark.of_image(GlanceImage.of_record(record(updated_at=each, **bare))) for each in "12"
    )
    assert first.to_text() != renamed.to_text()
    assert not first.settled


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, f"sha512:{'a' * 128}"),
        ({"os_hash_algo": "SHA256", "os_hash_value": "A" * 64}, f"sha256:{'a' * 64}"),
        ({"os_hash_algo": "blake2b"}, f"md5:{'b' * 32}"),
        ({"os_hash_algo": "sha512", "os_hash_value": "short"}, f"md5:{'b' * 32}"),
        ({"os_hash_value": None}, f"md5:{'b' * 32}"),
        ({"os_hash_value": None, "checksum": None}, None),
    ],
)
def test_the_best_known_digest_is_verified(values: dict[str, Any], expected: str | None) -> None:
    found = GlanceImage.of_record(record(**values)).find_checksum()
    assert (None if found is None else found.to_text()) == expected


def serve(reply: Callable[[Request], Reply]) -> Callable[[Request], Reply]:
    """Answer data by `reply`, and the image's record as it is."""
    return lambda request: (
        reply(request) if request.path.endswith("/file") else Reply.of_json(record())
    )


def by_ranges(**headers: str) -> Callable[[Request], Reply]:
    def reply(request: Request) -> Reply:
        first, last = map(int, request.headers["range"].removeprefix("bytes=").split("-"))
        given = {"content-range": f"bytes {first}-{last}/{len(CONTENT)}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return Reply(status=206, body=CONTENT[first : last + 1], headers=given)

    return reply


def read(source: GlanceSource) -> bytes:
    with source.open_file(image()) as file:
        if isinstance(file, StreamedFile):
            return b"".join(file.iter_bytes())
        return file.read_at(0, file.size)


def test_data_of_another_md5_is_of_another_image(
    make_source: MakeSource, web: ScriptedServer
) -> None:
    """Glance sends it with each range; a proxy may leave it out."""
    for headers in ({}, {"content_md5": "B" * 32}):
        web.script = serve(by_ranges(**headers))
        assert read(make_source()) == CONTENT
    web.script = serve(by_ranges(content_md5="c" * 32))
    with pytest.raises(SourceChangedError, match="its MD5 is another"):
        read(make_source())
    whole = Reply(body=CONTENT, headers={"content-md5": "c" * 32})
    web.script = serve(lambda _request: whole)
    with pytest.raises(SourceChangedError, match="its MD5 is another"):
        read(make_source())


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (Reply(body=CONTENT + b"x"), SourceChangedError, "more than"),
        (Reply(status=403), SourceUnreadableError, "HTTP 403"),
        (Reply(status=404), NotFoundError, "not found"),
        (Reply(status=204), SourceUnreadableError, "has no data"),
        (
            Reply(status=206, body=b"x", headers={"content-range": "bytes 0-0/17"}),
            SourceChangedError,
            "Glance says 3000 bytes",
        ),
    ],
)
def test_other_data_is_refused(
    make_source: MakeSource,
    web: ScriptedServer,
    reply: Reply,
    error: type[CloudDesktopError],
    words: str,
) -> None:
    """Whatever comes instead of the bytes that Glance promised."""
    web.script = serve(lambda _request: reply)
    with pytest.raises(error, match=words):
        read(make_source())


@pytest.mark.parametrize("status", [204, 403, 404, 416])
def test_what_is_answered_for_a_deleted_image_is_explained(
    make_source: MakeSource, web: ScriptedServer, status: int
) -> None:
    """It went while its data was read: the change is the news, whatever Glance makes of it."""
    web.script = serve(by_ranges())
    with make_source().open_file(image()) as file:
        assert isinstance(file, RemoteFile)
        web.script = lambda request: Reply(status=status if request.path.endswith("/file") else 404)
        with pytest.raises(SourceChangedError, match="it is gone"):
            file.read_at(0, file.size)


def test_a_redirect_to_a_private_address_is_refused(
    make_source: MakeSource, web: ScriptedServer, tmp_path: Path
) -> None:
    """Nothing arrives there, the token least of all."""
    other = ScriptedServer(tmp_path, tls=tmp_path / "tls")
    other.start()
    web.script = serve(lambda _request: Reply(status=302, headers={"location": other.url}))
    with pytest.raises(FetchForbiddenError, match="not of the Internet"):
        read(make_source())
    assert other.seen == []
    other.stop()


def test_data_that_ends_early_broke_off(make_source: MakeSource, web: ScriptedServer) -> None:
    """Even where the server calls it whole; the spool fetches it again."""
    web.script = serve(lambda _request: Reply(body=CONTENT[:-1]))
    with pytest.raises(FetchFailedError, match="after 2999 of 3000 bytes"):
        read(make_source())


def test_a_size_is_what_glance_says(make_source: MakeSource, web: ScriptedServer) -> None:
    web.script = serve(by_ranges())
    with make_source().open_file(image()) as file:
        assert isinstance(file, RemoteFile)
        assert file.size == len(CONTENT)


@pytest.mark.parametrize(
    "path", ["?status=queued", "?tag=a&marker=b", "?", "?tag", "?=x", "v2#x", "?limit=1"]
)
def test_a_query_has_filters_only(make_source: MakeSource, path: str) -> None:
    """What clouddesktop sets itself cannot be set; the error names it."""
    if path == "?":
        make_source(path)
        return
    with pytest.raises(InvalidArgumentError, match="no filter"):
        make_source(path)


def test_a_login_in_the_url_is_refused() -> None:
    """It would be in every log."""
    with pytest.raises(FetchForbiddenError) as caught:
        GlanceSource(
            name="cloud",
            folder_id="f",
            url="https://user:hunter2@glance.example/",
            access=None,
            ca_file=None,
            stall_seconds=1,
        )
    assert "hunter2" not in str(caught.value.failure)
    assert "variables" in caught.value.remedy
