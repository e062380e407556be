"""The guard: where a fetcher goes, and where it does not, however it is led."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clouddesktop.source import fetch
from clouddesktop.source.addresses import is_public
from clouddesktop.source.fetch import Fetcher, FetchFailedError, FetchForbiddenError
from parts.web import WebServer, serving, status


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "disk.raw").write_bytes(b"content")
    with serving(folder, tls=tmp_path / "tls") as server:
        yield server


@pytest.fixture
def fetcher(web: WebServer) -> Iterator[Fetcher]:
    made = Fetcher(web.url, ca_file=str(web.ca), stall_seconds=5)
    yield made
    made.close()


def read(fetcher: Fetcher, url: str, **headers: str) -> bytes:
    with fetcher.get(url, headers) as answer:
        return answer.read(most=1000)


def test_the_operators_own_host_is_trusted(fetcher: Fetcher, web: WebServer) -> None:
    """Also when it is this very machine."""
    assert read(fetcher, f"{web.url}disk.raw") == b"content"


def test_a_strangers_certificate_is_refused(web: WebServer) -> None:
    """Only the authorities that are given count."""
    fetcher = Fetcher(web.url, stall_seconds=5)
    with pytest.raises(FetchFailedError, match=r"certificate|CERTIFICATE"):
        read(fetcher, web.url)
    fetcher.close()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "0.0.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "::127.0.0.1", "::10.0.0.5", "::ffff:0:10.0.0.5", "64:ff9b:1::a00:5", "fec0::1",
        "192.88.99.1", "2002:7f00:1::", "2002:a00:1::", "not an address",
    ],
)  # fmt: skip
def test_private_and_special_addresses_are_not_public(address: str) -> None:
    """Also those that hide in IPv6 addresses (CVE-2026-34881: odd spellings passed)."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::1]",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0", "169.254.169.254",
    ],
)  # fmt: skip
def test_a_redirect_into_this_machine_is_refused_however_it_is_spelt(
    fetcher: Fetcher, web: WebServer, host: str
) -> None:
    """CVE-2026-34881: web-download followed redirects, and took odd spellings of addresses."""
    port = web.url.rpartition(":")[2].rstrip("/")
    target = f"https://{host}:{port}/disk.raw"
    web.faults["/away"] = status(302, location=target)
    with pytest.raises(FetchForbiddenError):
        read(fetcher, f"{web.url}away")
    assert web.requests["/disk.raw"] == 0


def test_each_redirect_is_looked_at(fetcher: Fetcher, web: WebServer) -> None:
    """CVE-2026-34881: the first URL was checked, and what it led to was not."""
    web.faults["/one"] = status(307, location="/two")
    web.faults["/two"] = status(308, location="https://127.0.0.2/secret")
    with pytest.raises(FetchForbiddenError, match="not of the Internet"):
        read(fetcher, f"{web.url}one")


def test_redirects_end(fetcher: Fetcher, web: WebServer) -> None:
    """A loop is an error."""
    web.faults["/loop"] = status(302, location="/loop")
    with pytest.raises(FetchForbiddenError, match="redirects"):
        read(fetcher, f"{web.url}loop")
    assert web.requests["/loop"] == 6


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/x", "file:///etc/passwd", "ftp://example.org/x", "gopher://x/",
        "https://user:password@example.org/", "https://exa\nmple.org/",
        "https://example.org:99999/", "https://example.org\\@127.0.0.1/", "glance+https://x/",
    ],
)  # fmt: skip
def test_other_urls_are_refused(fetcher: Fetcher, web: WebServer, url: str) -> None:
    """As the first one, and behind a redirect."""
    with pytest.raises(FetchForbiddenError):
        read(fetcher, url)
    if "\n" not in url:
        web.faults["/away"] = status(302, location=url)
        with pytest.raises(FetchForbiddenError):
            read(fetcher, f"{web.url}away")


def test_what_is_connected_to_is_what_was_checked(
    fetcher: Fetcher, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that stands for another address a moment later changes nothing: it is asked once."""
    answers = iter([["8.8.8.8", "127.0.0.1"], ["127.0.0.1"]])
    asked: list[str] = []

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    monkeypatch.setattr(fetch, "resolve", resolve)
    port = web.url.rpartition(":")[2]
    for _ in range(2):
        with pytest.raises(FetchForbiddenError, match="not of the Internet"):
            read(fetcher, f"https://rebinding.example:{port}disk.raw")
    assert asked == ["rebinding.example"] * 2
    assert web.requests["/disk.raw"] == 0


def test_credentials_stay_with_their_origin(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect to another origin gets none of them; one inside the origin does."""
    monkeypatch.setattr(fetch, "is_public", lambda _address, **_options: True)
    with serving(web.folder, tls=tmp_path / "tls") as other:
        fetcher = Fetcher(web.url, ca_file=str(web.ca), stall_seconds=5)
        web.faults["/away"] = status(302, location=f"{other.url}disk.raw")
        web.faults["/here"] = status(302, location="/disk.raw")
        secrets = {"authorization": "Bearer x", "x-auth-token": "y", "range": "bytes=0-1"}
        for path in ("away", "here"):
            with fetcher.get(f"{web.url}{path}", secrets) as answer:
                assert answer.read(most=100) == b"co"
        fetcher.close()
        assert "range" in other.headers[0]
        assert not {"authorization", "x-auth-token"} & set(other.headers[0])
    assert all(each["x-auth-token"] == "y" for each in web.headers)


def test_secrets_of_a_url_are_not_told() -> None:
    """Signed URLs and passwords stay out of errors and logs."""
    with pytest.raises(FetchForbiddenError) as caught:
        Fetcher("https://user:hunter2@example.org/x?signature=abc", stall_seconds=1)
    text = str(caught.value.failure)
    assert "hunter2" not in text
    assert "abc" not in text


def test_a_long_answer_is_cut(fetcher: Fetcher, web: WebServer) -> None:
    """What should be small is bounded."""
    (web.folder / "disk.raw").write_bytes(bytes(5000))
    with pytest.raises(FetchForbiddenError, match="more than 1000 bytes"):
        read(fetcher, f"{web.url}disk.raw")


def test_a_body_is_sent_to_the_sources_own_host_only(fetcher: Fetcher) -> None:
    """It may hold a secret."""
    with (
        pytest.raises(FetchForbiddenError, match="meant for"),
        fetcher.post("https://8.8.8.8", b""),
    ):
        raise AssertionError("This is not reached.")


def test_http_is_for_this_machine_only() -> None:
    """Even when the operator asks for it."""
    Fetcher("http://127.0.0.1:1/", stall_seconds=1).close()
    with pytest.raises(FetchForbiddenError, match="not of https"):
        Fetcher("http://10.0.0.5/", stall_seconds=1)
