"""A bucket of a real S3 server as a source: what it holds, and reading it through every fault."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import obstore
import pytest

from clouddesktop.errors import InvalidArgumentError, NotFoundError
from clouddesktop.model.image import ComputeImage
from clouddesktop.s3 import S3Access
from clouddesktop.source import ranges
from clouddesktop.source.base import (
    AmbiguousComputeImageError,
    SourceChangedError,
    SourceUnreadableError,
)
from clouddesktop.source.fetch import FetchFailedError
from clouddesktop.source.remote import BLOCK_SIZE
from clouddesktop.source.retrying import RetriesExhaustedError, RetryBudget
from clouddesktop.source.s3 import S3Source
from parts.disks import random_bytes
from parts.s3_proxy import (
    S3Proxy,
    altered,
    cut_body,
    proxying,
    refused,
    reset_body,
    stall_body,
)
from parts.seaweedfs import (
    ACCESS_KEY_ID,
    BUCKET,
    POWERLESS_KEY_ID,
    REGION,
    SECRET_ACCESS_KEY,
    VERSIONED_BUCKET,
    SeaweedFS,
)
from parts.web import Fault, Handler, once, serving, status

CONTENT = random_bytes(5 * BLOCK_SIZE + 12345, seed=12)


class Folder:
    """A prefix of this test's own, with one disk below it."""

    def __init__(self, server: SeaweedFS, *, bucket: str = BUCKET) -> None:
        self.server = server
        self.bucket = bucket
        self.store = server.open_bucket(bucket)
        self.prefix = server.new_prefix()
        self.put("disk.raw", CONTENT)

    def put(self, name: str, content: bytes, **attributes: str) -> None:
        obstore.put(self.store, f"{self.prefix}/{name}", content, attributes=attributes)

    def delete(self, name: str) -> None:
        obstore.delete(self.store, f"{self.prefix}/{name}")

    def path_of(self, name: str) -> str:
        return f"/{self.bucket}/{self.prefix}/{name}"


@pytest.fixture
def folder(seaweedfs: SeaweedFS) -> Folder:
    return Folder(seaweedfs)


@pytest.fixture
def proxy(seaweedfs: SeaweedFS) -> Iterator[S3Proxy]:
    with proxying(seaweedfs.port) as server:
        yield server


def make_source(
    folder: Folder,
    path: str = "/",
    *,
    url: str | None = None,
    endpoint: str | None = None,
    key: str | None = ACCESS_KEY_ID,
    bucket: str | None = None,
    ca_file: Path | None = None,
    stall_seconds: float = 10,
) -> S3Source:
    return S3Source(
        name="s3",
        folder_id="f",
        url=url or f"s3://{bucket or folder.bucket}/{folder.prefix}{path}",
        access=S3Access(
            endpoint=endpoint or folder.server.endpoint,
            region=REGION,
            access_key_id=key,
            secret_access_key=None if key is None else SECRET_ACCESS_KEY,
        ),
        ca_file=ca_file,
        stall_seconds=stall_seconds,
    )


def image(location: str = "disk.raw") -> ComputeImage:
    return ComputeImage(id="disk", folder_id="f", source="s3", location=location)


def read(source: S3Source) -> bytes:
    with source.open_file(image()) as file:
        content = file.read_at(0, file.size)
        file.check_unchanged(file.fingerprint.to_text())
        return content


def test_a_prefix_is_a_folder(folder: Folder) -> None:
    """What lies directly below it and has an image's name is a compute image."""
    for name in ("b.qcow2", "notes.txt", "c d+ü%41.raw.xz", "below/e.raw"):
        folder.put(name, b"x")
    obstore.put(folder.store, "root.raw", b"x")
    expected = [("b", "b.qcow2"), ("c d+ü%41", "c d+ü%41.raw.xz"), ("disk", "disk.raw")]
    for path in ("", "/"):
        found = make_source(folder, path).iter_compute_images()
        assert [(each.id, each.location) for each in found] == expected
    obstore.put(folder.store, "root.raw", b"x")
    url = f"s3://{folder.bucket}"
    found = make_source(folder, url=url).iter_compute_images()
    assert [each.id for each in found] == ["root"]
    assert list(make_source(folder, "/empty").iter_compute_images()) == []


def test_a_name_of_any_characters_is_read(folder: Folder) -> None:
    """It is data all the way to the server."""
    for name in ("c d+ü%41.raw", "?x=1&y#z.raw"):
        folder.put(name, b"text")
        with make_source(folder).open_file(image(name)) as file:
            assert file.read_at(0, 9) == b"text"
    folder.put("%20.raw", b"text")
    source = make_source(folder, "/%2520.raw")
    assert [each.location for each in source.iter_compute_images()] == ["%20.raw"]


def test_an_id_of_two_objects_names_both(folder: Folder) -> None:
    folder.put("disk.qcow2", b"x")
    with pytest.raises(AmbiguousComputeImageError, match=r"disk\.qcow2 and disk\.raw"):
        make_source(folder).find_compute_image("disk")
    assert make_source(folder).find_compute_image("none") is None


def test_a_single_object_is_a_source_of_one_image(folder: Folder) -> None:
    """Nothing is asked for to know it."""
    source = make_source(folder, "/disk.raw")
    assert [each.id for each in source.iter_compute_images()] == ["disk"]
    assert read(source) == CONTENT


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///x", "s3://b", "s3://u:p@bucket/x", "s3://bucket/x?y"]
)
def test_other_urls_are_invalid(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="not understood") as caught:
        S3Source(
            name="s3", folder_id="f", url=url, access=S3Access(), ca_file=None, stall_seconds=1
        )
    assert "s3://BUCKET/PREFIX" in caught.value.remedy
    assert "u:p" not in str(caught.value)


def test_the_mark_shows_each_write(folder: Folder) -> None:
    """Equal while nothing is written; what an ETag pins is remembered."""
    source = make_source(folder)
    first = source.fingerprint(image())
    assert first.settled
    assert first.size == len(CONTENT)
    assert source.fingerprint(image()).to_text() == first.to_text()
    folder.put("disk.raw", CONTENT[::-1])
    assert source.fingerprint(image()).to_text() != first.to_text()
    with pytest.raises(NotFoundError, match="Image disk not found"):
        source.fingerprint(image("other.raw"))


def test_any_part_is_read_exactly(folder: Folder) -> None:
    """Across blocks, in any order."""
    places = random.Random(6)  # noqa: S311  (test data)
    with make_source(folder).open_file(image()) as file:
        assert (file.name, file.size, file.fd) == ("disk.raw", len(CONTENT), None)
        for _ in range(40):
            start = places.randrange(len(CONTENT))
            length = places.randrange(1, min(BLOCK_SIZE * 2, len(CONTENT) - start) + 1)
            assert file.read_at(start, length) == CONTENT[start : start + length]
        assert file.read_at(len(CONTENT) - 3, 100) == CONTENT[-3:]


def test_what_is_stored_is_what_is_read(folder: Folder) -> None:
    """Empty objects, and such as were uploaded with an encoding: nothing is decoded on the way."""
    folder.put("disk.raw", b"")
    assert read(make_source(folder)) == b""
    folder.put("disk.raw", b"not gzip at all", **{"Content-Encoding": "gzip"})
    assert read(make_source(folder)) == b"not gzip at all"


def test_checksums_are_found_beside_the_object_and_on_it(folder: Folder) -> None:
    """The nearest one counts: a file of its own, a list, the object's metadata."""
    source = make_source(folder)
    assert source.find_checksum(image()) is None
    folder.put("disk.raw", CONTENT, sha256="3" * 64, md5="no digest")
    expected = [f"sha256:{'3' * 64}", f"md5:{'2' * 32}", f"sha512:{'1' * 128}", f"md5:{'0' * 32}"]
    found = [source.find_checksum(image())]
    beside = {
        "MD5SUMS": f"{'2' * 32}  disk.raw\n",
        "SHA512SUMS": f"SHA512 (disk.raw) = {'1' * 128}\n",
        "disk.raw.md5": "0" * 32,
    }
    for name, text in beside.items():
        folder.put(name, text.encode())
        found.append(source.find_checksum(image()))
    assert [each and each.to_text() for each in found] == expected


def through(proxy: S3Proxy, folder: Folder, *, stall_seconds: float = 10) -> S3Source:
    return make_source(folder, endpoint=proxy.url, stall_seconds=stall_seconds)


def hang_up(handler: Handler, _number: int) -> bool:
    handler.close_connection = True
    handler.connection.close()
    return True


@pytest.mark.parametrize(
    "fault",
    [
        once(cut_body, at=2, times=4),
        once(reset_body, at=2, times=3),
        once(hang_up, at=1, times=2),
        once(refused(503, "SlowDown"), at=2, times=3),
        once(refused(500, "InternalError"), at=1),
        once(refused(429, "TooManyRequests"), at=3),
        once(stall_body, at=2),
    ],
    ids=["cut", "reset", "hang up at once", "503", "500 at once", "429", "stall"],
)
def test_what_passes_is_tried_again(folder: Folder, proxy: S3Proxy, fault: Fault) -> None:
    """And the bytes are right."""
    proxy.faults[folder.path_of("disk.raw")] = fault
    assert read(through(proxy, folder, stall_seconds=1)) == CONTENT


def test_a_list_is_asked_for_again(folder: Folder, proxy: S3Proxy) -> None:
    """So are the small texts beside the image."""
    folder.put("SHA256SUMS", f"{'1' * 64}  disk.raw\n".encode())
    proxy.faults[f"/{folder.bucket}"] = once(refused(503, "SlowDown"), times=2)
    proxy.faults[folder.path_of("SHA256SUMS")] = once(cut_body)
    source = through(proxy, folder)
    found = source.find_compute_image("disk")
    assert found is not None
    checksum = source.find_checksum(found)
    assert checksum is not None
    assert checksum.digest == "1" * 64


def test_a_transfer_that_breaks_off_goes_on_from_where_it_was(
    folder: Folder, proxy: S3Proxy
) -> None:
    """What was received is not asked for again, and obstore repeats nothing by itself."""
    proxy.faults[folder.path_of("disk.raw")] = once(cut_body, at=2)
    with through(proxy, folder).open_file(image()) as file:
        assert file.read_at(0, file.size) == CONTENT
    asked = [each["range"].partition("=")[2] for each in proxy.headers if "range" in each]
    starts = [int(each.partition("-")[0]) for each in asked]
    resumed = [each for each in starts if each % BLOCK_SIZE]
    assert len(resumed) == 1
    assert resumed[0] % BLOCK_SIZE == pytest.approx(BLOCK_SIZE // 3, abs=64 << 10)
    assert len(asked) == 1 + 6 + 1  # the probe, the blocks, what was missing of one


def test_failures_have_an_end(folder: Folder, proxy: S3Proxy) -> None:
    """Then the error says what failed, how often, and where."""
    proxy.faults[folder.path_of("disk.raw")] = once(refused(503, "SlowDown"), at=2, times=10**6)
    with through(proxy, folder).open_file(image()) as file:
        waits: list[float] = []
        budget = RetryBudget(in_a_row=4, in_all=100, wait=waits.append)
        file._reader._budget = budget  # type: ignore[attr-defined]
        with pytest.raises(
            RetriesExhaustedError, match=r"HTTP 503 \(SlowDown\) for disk\.raw .*4 times in a row"
        ):
            file.read_at(0, 10)
    assert waits[0] < waits[-1]


def test_a_server_that_is_not_there_is_said_to_be(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the system's own words for it."""
    monkeypatch.setattr(ranges, "_ATTEMPTS", 1)
    source = make_source(folder, endpoint="http://127.0.0.1:1")
    with pytest.raises(RetriesExhaustedError, match=r"its list .*: connection refused"):
        source.find_compute_image("disk")
    with pytest.raises(
        RetriesExhaustedError, match=r"give disk\.raw .*: connection refused"
    ) as caught:
        source.fingerprint(image())
    assert isinstance(caught.value.__cause__, FetchFailedError)
    assert "AWS_ENDPOINT_URL" in caught.value.remedy


def write_anew(folder: Folder) -> Fault:
    def fault(_handler: Handler, number: int) -> bool:
        if number == 3:
            folder.put("disk.raw", CONTENT[::-1])
        return False

    return fault


def delete(folder: Folder) -> Fault:
    def fault(_handler: Handler, number: int) -> bool:
        if number == 3:
            folder.delete("disk.raw")
        return False

    return fault


@pytest.mark.parametrize(
    "make_fault",
    [
        write_anew,
        delete,
        lambda _: once(altered(etag='"another"'), at=2),
        lambda _: once(altered(content_range=f"bytes 5-14/{len(CONTENT)}"), at=2),
        lambda _: once(altered(content_range=f"bytes 0-{BLOCK_SIZE - 1}/{len(CONTENT) + 1}"), at=2),
        lambda _: once(refused(416, "InvalidRange"), at=2),
    ],
    ids=["replaced", "deleted", "another etag", "another range", "longer", "shorter"],
)
def test_an_object_that_changes_is_noticed(
    folder: Folder, proxy: S3Proxy, make_fault: Callable[[Folder], Fault]
) -> None:
    """Whatever the server says instead of the bytes that were asked for."""
    proxy.faults[folder.path_of("disk.raw")] = make_fault(folder)
    with pytest.raises(SourceChangedError, match=r"disk\.raw.*changed"):
        read(through(proxy, folder))


def test_a_version_is_read_to_its_end(seaweedfs: SeaweedFS, proxy: S3Proxy) -> None:
    """Where a bucket keeps versions, one that is replaced meanwhile is still whole."""
    folder = Folder(seaweedfs, bucket=VERSIONED_BUCKET)
    proxy.faults[folder.path_of("disk.raw")] = write_anew(folder)
    source = through(proxy, folder)
    before = source.fingerprint(image())
    assert before.version
    assert read(source) == CONTENT
    after = source.fingerprint(image())
    assert after.version != before.version
    assert read(source) == CONTENT[::-1]


def test_versions_that_may_not_be_read_are_pinned_by_their_etag(
    seaweedfs: SeaweedFS, proxy: S3Proxy
) -> None:
    """Asking for one by its id takes another right than reading the newest."""
    folder = Folder(seaweedfs, bucket=VERSIONED_BUCKET)

    def forbid_versions(handler: Handler, number: int) -> bool:
        if "versionId" in handler.path:
            return refused(403, "AccessDenied")(handler, number)
        return False

    proxy.faults[folder.path_of("disk.raw")] = forbid_versions
    assert read(through(proxy, folder)) == CONTENT
    assert all("if-match" in each for each in proxy.headers[1:])


@pytest.mark.parametrize(
    ("key", "code"),
    [("nobody", "InvalidAccessKeyId"), (POWERLESS_KEY_ID, "AccessDenied"), (None, "AccessDenied")],
)
def test_who_may_not_read_is_told_so_at_once(folder: Folder, key: str | None, code: str) -> None:
    """With S3's word for it, and where the keys come from."""
    source = make_source(folder, key=key)
    for ask in (lambda: source.find_compute_image("disk"), lambda: source.fingerprint(image())):
        with pytest.raises(SourceUnreadableError, match=rf"HTTP 403 \({code}\)") as caught:
            ask()
        assert "AWS_ACCESS_KEY_ID" in caught.value.remedy
        assert "policy" in caught.value.remedy
        assert SECRET_ACCESS_KEY not in repr(vars(caught.value))


def test_a_bucket_that_is_not_there_is_said_to_be_missing(folder: Folder) -> None:
    source = make_source(folder, bucket="missing")
    for ask in (lambda: source.find_compute_image("disk"), lambda: source.fingerprint(image())):
        with pytest.raises(SourceUnreadableError, match=r"NoSuchBucket.*bucket missing") as caught:
            ask()
        assert "Correct the bucket" in caught.value.remedy


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (refused(403, "InvalidObjectState"), "archive"),
        (refused(403, "RequestTimeTooSkewed"), "clock"),
        (refused(301, "PermanentRedirect"), "AWS_REGION"),
        (refused(400, "AuthorizationHeaderMalformed"), "AWS_REGION"),
        (refused(400, "ExpiredToken"), "AWS_SESSION_TOKEN"),
        (refused(405, "MethodNotAllowed"), "AWS_ENDPOINT_URL"),
    ],
)
def test_a_refusal_is_final_and_says_the_way_out(
    folder: Folder, proxy: S3Proxy, fault: Fault, word: str
) -> None:
    """Asking again would not help."""
    proxy.faults[folder.path_of("disk.raw")] = fault
    with pytest.raises(SourceUnreadableError) as caught:
        read(through(proxy, folder))
    assert word in caught.value.remedy
    assert proxy.requests[folder.path_of("disk.raw")] == 1


def test_a_server_that_is_none_of_s3_is_seen(folder: Folder, proxy: S3Proxy) -> None:
    """One that gives other texts than lists, and files without ranges."""

    def greet(handler: Handler, _number: int) -> bool:
        handler.send(200, b"hello", {"last-modified": "Wed, 21 Oct 2015 07:28:00 GMT"})
        return True

    proxy.faults = {f"/{folder.bucket}": greet, folder.path_of("disk.raw"): greet}
    source = through(proxy, folder)
    for ask in (lambda: source.find_compute_image("disk"), lambda: source.fingerprint(image())):
        with pytest.raises(SourceUnreadableError, match="does not give"):
            ask()


def test_a_redirect_does_not_lead_out_of_tls(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint may send elsewhere, and never where others can listen."""
    monkeypatch.setattr(ranges, "_ATTEMPTS", 1)
    with serving(tmp_path, tls=None) as plain, serving(tmp_path, tls=tmp_path / "tls") as web:
        web.faults[folder.path_of("disk.raw")] = status(307, location=f"{plain.url}disk.raw")
        source = make_source(folder, endpoint=web.url.rstrip("/"), ca_file=web.ca)
        with pytest.raises(RetriesExhaustedError, match="redirect"):
            source.fingerprint(image())
        assert not plain.requests


def test_certificates_have_to_be_trusted(folder: Folder, tmp_path: Path) -> None:
    """By the machine or by the authorities that the operator names."""
    (tmp_path / "files").mkdir()
    with serving(tmp_path / "files", tls=tmp_path / "tls") as web:
        source = make_source(folder, endpoint=web.url.rstrip("/"))
        with pytest.raises(SourceUnreadableError, match="certificate is not trusted") as caught:
            source.fingerprint(image())
        assert "--source-ca" in caught.value.remedy
        trusting = make_source(folder, endpoint=web.url.rstrip("/"), ca_file=web.ca)
        with pytest.raises(NotFoundError):
            trusting.fingerprint(image())
        assert web.requests[folder.path_of("disk.raw")] == 1


def test_secrets_are_not_shown() -> None:
    access = S3Access(access_key_id="a", secret_access_key="hidden", session_token="hidden")  # noqa: S106
    assert "hidden" not in repr(replace(access, region="r"))
