"""An HTTPS server as a source: what it holds, and reading it through every fault that may pass."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clouddesktop.errors import NotFoundError, UnavailableError
from clouddesktop.model.image import ComputeImage
from clouddesktop.source.base import SourceChangedError, SourceUnreadableError
from clouddesktop.source.fetch import FetchForbiddenError
from clouddesktop.source.https import HttpsSource
from clouddesktop.source.remote import BLOCK_SIZE, RemoteFile, StreamedFile
from clouddesktop.source.retrying import AdaptiveLimit, RetriesExhaustedError, RetryBudget
from parts.disks import random_bytes
from parts.web import Fault, Handler, WebServer, cut_body, once, serving, status

CONTENT = random_bytes(5 * BLOCK_SIZE + 12345, seed=11)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "disk.raw").write_bytes(CONTENT)
    with serving(folder, tls=tmp_path / "tls") as server:
        yield server


@pytest.fixture
def make_source(web: WebServer) -> Iterator[Callable[..., HttpsSource]]:
    made: list[HttpsSource] = []

    def make(path: str = "", *, stall_seconds: float = 10) -> HttpsSource:
        made.append(
            HttpsSource(
                name="web",
                folder_id="f",
                url=web.url + path,
                ca_file=str(web.ca),
                stall_seconds=stall_seconds,
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


def image(location: str = "disk.raw") -> ComputeImage:
    return ComputeImage(id="disk", folder_id="f", source="web", location=location)


def read(source: HttpsSource) -> bytes:
    with source.open_file(image()) as file:
        assert isinstance(file, RemoteFile)
        content = file.read_at(0, file.size)
        file.check_unchanged(file.fingerprint.to_text())
        return content


def test_a_folder_is_known_by_its_index(
    make_source: Callable[..., HttpsSource], web: WebServer
) -> None:
    """What has an image's name is a compute image; names are data and nothing more."""
    for name in ("b.qcow2", "notes.txt", "c.raw.xz"):
        (web.folder / name).touch()
    (web.folder / "..%2f..%2fetc%2fpasswd.raw").touch()
    found = list(make_source().iter_compute_images())
    assert [(each.id, each.location) for each in found] == [
        ("b", "b.qcow2"),
        ("c", "c.raw.xz"),
        ("disk", "disk.raw"),
    ]


def test_a_folder_without_an_index_is_known_by_its_checksums(
    make_source: Callable[..., HttpsSource], web: WebServer
) -> None:
    """Lines of sha256sum, in both of its forms."""
    web.has_index = False
    with pytest.raises(SourceUnreadableError, match="SHA256SUMS"):
        make_source().find_compute_image("disk")
    sums = f"{'0' * 64} *disk.raw\nSHA256 (e.qcow2) = {'1' * 64}\n{'2' * 64}  ../x.raw\nnonsense\n"
    (web.folder / "SHA256SUMS").write_text(sums)
    assert [each.id for each in make_source().iter_compute_images()] == ["disk", "e"]


def test_a_list_of_checksums_is_believed(
    make_source: Callable[..., HttpsSource], web: WebServer
) -> None:
    """The nearest one, and the better of two."""
    assert make_source().find_checksum(image()) is None
    (web.folder / "MD5SUMS").write_text(f"{'3' * 32}  disk.raw\n")
    found = make_source().find_checksum(image())
    assert found is not None
    assert found.to_text() == f"md5:{'3' * 32}"
    (web.folder / "SHA256SUMS").write_text(f"{'0' * 64} *disk.raw\n")
    found = make_source().find_checksum(image())
    assert found is not None
    assert found.to_text() == f"sha256:{'0' * 64}"
    (web.folder / "SHA512SUMS").write_text(f"SHA512 (disk.raw) = {'1' * 128}\n")
    found = make_source().find_checksum(image())
    assert found is not None
    assert found.algorithm == "sha512"
    (web.folder / "disk.raw.sha256").write_text(f"{'4' * 64}\n")
    found = make_source().find_checksum(image())
    assert found is not None
    assert found.to_text() == f"sha256:{'4' * 64}"


def test_a_single_file_is_a_source_of_one_image(make_source: Callable[..., HttpsSource]) -> None:
    """Nothing is asked for to know it."""
    assert [each.id for each in make_source("disk.raw").iter_compute_images()] == ["disk"]
    assert read(make_source("disk.raw")) == CONTENT


def test_a_file_that_is_not_there_is_not_found(make_source: Callable[..., HttpsSource]) -> None:
    with pytest.raises(NotFoundError, match="Image disk not found"):
        make_source().fingerprint(image("other.raw"))


def test_any_part_is_read_exactly(make_source: Callable[..., HttpsSource]) -> None:
    """Across blocks, in any order."""
    places = random.Random(5)  # noqa: S311  (test data)
    with make_source().open_file(image()) as file:
        assert isinstance(file, RemoteFile)
        assert (file.name, file.size, file.fd) == ("disk.raw", len(CONTENT), None)
        for _ in range(40):
            start = places.randrange(len(CONTENT))
            length = places.randrange(1, min(BLOCK_SIZE * 2, len(CONTENT) - start) + 1)
            assert file.read_at(start, length) == CONTENT[start : start + length]
        assert file.read_at(len(CONTENT) - 3, 100) == CONTENT[-3:]
        with pytest.raises(ValueError, match="are not in a file"):
            file.read_into(len(CONTENT) - 1, memoryview(bytearray(2)))


def test_reading_in_order_fetches_each_byte_once(
    make_source: Callable[..., HttpsSource], web: WebServer
) -> None:
    """Read ahead, and kept until it is used."""
    assert read(make_source()) == CONTENT
    assert web.requests["/disk.raw"] == 1 + 6  # the probe, and six blocks


def stall(handler: Handler, _number: int) -> bool:
    """Give nothing at all until the client hangs up."""
    handler.connection.settimeout(20)
    handler.rfile.read(1)
    handler.close_connection = True
    return True


def hang_up(handler: Handler, _number: int) -> bool:
    handler.close_connection = True
    handler.connection.close()
    return True


@pytest.mark.parametrize(
    "fault",
    [
        once(cut_body, at=2, times=4),
        once(hang_up, at=2, times=3),
        once(hang_up, at=1),
        once(status(503), at=2, times=2),
        once(status(500), at=1),
        once(status(429, retry_after="0"), at=3, times=3),
        once(status(408), at=2),
        once(stall, at=2),
    ],
    ids=["cut", "reset", "reset at once", "503", "500 at once", "429", "408", "stall"],
)
def test_what_passes_is_tried_again(
    make_source: Callable[..., HttpsSource], web: WebServer, fault: Fault
) -> None:
    """And the bytes are right."""
    web.faults["/disk.raw"] = fault
    assert read(make_source(stall_seconds=0.5)) == CONTENT


def test_a_transfer_that_breaks_off_goes_on_from_where_it_was(
    make_source: Callable[..., HttpsSource], web: WebServer
) -> None:
    """What was received is not asked for again."""
    web.faults["/disk.raw"] = once(cut_body, at=2)
    with make_source().open_file(image()) as file:
        assert isinstance(file, RemoteFile)
        assert file.read_at(0, 10) == CONTENT[:10]
    starts = [each["range"].split("=")[1].split("-")[0] for each in web.headers if "range" in each]
    assert [each for each in starts if int(each) % BLOCK_SIZE] == [
        each for each in starts if int(each) % BLOCK_SIZE == BLOCK_SIZE // 3
    ]
    assert any(int(each) % BLOCK_SIZE for each in starts)


@pytest.mark.parametrize("code", [401, 403, 410, 451])
def test_a_refusal_is_final(
    make_source: Callable[..., HttpsSource], web: WebServer, code: int
) -> None:
    """Asking again would not help."""
    web.faults["/disk.raw"] = status(code)
    with pytest.raises((SourceUnreadableError, NotFoundError)):
        read(make_source())
    assert web.requests["/disk.raw"] == 1


def wrong_range(handler: Handler, _number: int) -> bool:
    handler.send(206, b"x" * 10, {"content-range": f"bytes 5-14/{len(CONTENT)}"})
    return True


def longer(handler: Handler, _number: int) -> bool:
    handler.send(206, b"x", {"content-range": f"bytes 0-0/{len(CONTENT) + 1}"})
    return True


def new_version(handler: Handler, number: int) -> bool:
    if number == 3:
        web = handler.server.web
        (web.folder / "disk.raw").write_bytes(CONTENT[::-1])
    return False


@pytest.mark.parametrize(
    "fault",
    [once(wrong_range, at=2), once(longer, at=2), new_version, once(status(416), at=2)],
    ids=["wrong range", "longer", "another version", "shorter"],
)
def test_a_file_that_changes_is_noticed(
    make_source: Callable[..., HttpsSource], web: WebServer, fault: Fault
) -> None:
    """Whatever the server says instead of the bytes that were asked for."""
    web.faults["/disk.raw"] = fault
    with pytest.raises(SourceChangedError, match=r"disk\.raw.*changed"):
        read(make_source())


def test_a_server_without_ranges_gives_the_whole_file(
    make_source: Callable[..., HttpsSource], web: WebServer
) -> None:
    """As a stream; it is noticed when that is another version."""

    def ignore(handler: Handler, _number: int) -> bool:
        handler.send(200, CONTENT, {})
        return True

    web.faults["/disk.raw"] = ignore
    with make_source().open_file(image()) as file:
        assert isinstance(file, StreamedFile)
        assert b"".join(file.iter_bytes()) == CONTENT
        file.check_unchanged(file.fingerprint.to_text())
        web.faults["/disk.raw"] = page_of(CONTENT[:-1])
        with pytest.raises(SourceChangedError, match="bytes, and had"):
            list(file.iter_bytes())
        web.faults["/disk.raw"] = status(403)
        with pytest.raises(SourceUnreadableError):
            list(file.iter_bytes())


def test_without_a_strong_etag_nothing_is_remembered(
    make_source: Callable[..., HttpsSource], web: WebServer
) -> None:
    """Such content may change unseen; a copy of it works all the same."""
    assert make_source().fingerprint(image()).settled
    web.has_etags = False
    assert not make_source().fingerprint(image()).settled
    assert read(make_source()) == CONTENT


def test_failures_have_an_end(make_source: Callable[..., HttpsSource], web: WebServer) -> None:
    """Then the error says what failed, and how often."""
    web.faults["/disk.raw"] = once(status(503, retry_after="0"), at=2, times=10**6)
    source = make_source()
    waits: list[float] = []
    budget = RetryBudget(in_a_row=4, in_all=100, wait=waits.append)
    with source.open_file(image()) as file:
        assert isinstance(file, RemoteFile)
        file._reader._budget = budget  # type: ignore[attr-defined]
        with pytest.raises(RetriesExhaustedError, match=r"HTTP 503 \(4 times in a row\)"):
            file.read_at(0, 10)
    assert waits[0] < waits[-1]


def test_a_server_says_when_to_come_back() -> None:
    """And is believed, within a bound."""
    waits: list[float] = []
    budget = RetryBudget(in_a_row=9, in_all=9, wait=waits.append)
    from_server = UnavailableError("busy", retry_after_seconds=7)
    budget.spend(1, from_server)
    budget.spend(2, UnavailableError("busy", retry_after_seconds=10**9))
    assert waits == [7, 120]


def test_requests_in_flight_adapt() -> None:
    """More while all goes well, half after a failure, never none."""
    limit = AdaptiveLimit(first=2, most=8)
    for _ in range(200):
        with limit.turn():
            pass
    assert limit.limit == 8
    for expected in (4, 2, 1, 1):
        with pytest.raises(UnavailableError), limit.turn():
            raise UnavailableError("busy")
        assert limit.limit == expected


def page_of(content: bytes) -> Fault:
    def fault(handler: Handler, _number: int) -> bool:
        handler.send(200, content, {})
        return True

    return fault


def test_a_hostile_index_leads_nowhere(
    make_source: Callable[..., HttpsSource], web: WebServer
) -> None:
    """Links to other hosts and folders are left out; endless pages are cut."""
    links = [
        "https://10.0.0.1/a.raw",
        "//evil/b.raw",
        "sub/c.raw",
        "/d/e.raw",
        "f%2Fg.raw",
        "h.raw",
    ]
    page = "".join(f"<a href='{each}'>x</a>" for each in links).encode()
    web.faults["/"] = page_of(page)
    assert [each.location for each in make_source().iter_compute_images()] == ["h.raw"]
    web.faults["/"] = page_of(bytes(9 << 20))
    with pytest.raises(FetchForbiddenError, match="more than"):
        make_source().find_compute_image("h")
