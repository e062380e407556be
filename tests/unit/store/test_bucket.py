"""The blob store in S3: on a real server, straight and through a proxy that breaks what it can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from http import HTTPStatus
from itertools import count
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from clouddesktop.errors import Code, InvalidArgumentError
from clouddesktop.s3 import S3Access
from clouddesktop.store.blobs import FORMAT_KEY, BlobStore, open_store
from clouddesktop.store.bucket import open_bucket
from clouddesktop.store.faults import (
    BlobNotFoundError,
    NotAStoreError,
    StoreForbiddenError,
    StoreFullError,
    StoreMisplacedError,
    StoreOutOfReachError,
    StoreUnfitError,
)
from parts.s3_proxy import (
    S3Proxy,
    altered,
    ask,
    cut_body,
    flipped_body,
    hung_up,
    lost_answer,
    only,
    proxying,
    refused,
    reset_body,
)
from parts.seaweedfs import (
    ACCESS_KEY_ID,
    BUCKET,
    POWERLESS_KEY_ID,
    REGION,
    SECRET_ACCESS_KEY,
    SeaweedFS,
)
from parts.web import Fault, Handler, once, serving
from suites.blob_store import DATA, KEY, BlobStoreSuite


def access_to(endpoint: str) -> S3Access:
    return S3Access(
        endpoint=endpoint,
        region=REGION,
        access_key_id=ACCESS_KEY_ID,
        secret_access_key=SECRET_ACCESS_KEY,
    )


class _BucketSuite(BlobStoreSuite):
    """The suite with a bucket behind it."""

    store: S3Store

    def raw_get(self, key: str) -> bytes | None:
        return bytes(obstore.get(self.store, key).bytes())

    def raw_put(self, key: str, data: bytes) -> None:
        obstore.put(self.store, key, data, use_multipart=False)

    def raw_keys(self) -> Sequence[str]:
        return sorted(each["path"] for batch in obstore.list(self.store) for each in batch)


def open_blobs(url: str, access: S3Access, *, patience_seconds: float = 10.0) -> BlobStore:
    """Open blobs where nothing is marked as a store yet."""
    bucket = replace(open_bucket(url, access), patience_seconds=patience_seconds)
    return BlobStore(bucket.reading, name=bucket.name, bucket=bucket)


class TestBucket(_BucketSuite):
    """Blobs in a bucket of SeaweedFS."""

    @pytest.fixture
    def blobs(self, seaweedfs: SeaweedFS) -> BlobStore:
        prefix = seaweedfs.new_prefix()
        self.store = seaweedfs.open_bucket(BUCKET, prefix=prefix)
        return open_blobs(f"s3://{BUCKET}/{prefix}", access_to(seaweedfs.endpoint))


class _Everywhere(dict[str, Fault]):
    """One fault for every path."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self._fault = fault

    def get(self, _path: str, _default: Fault | None = None) -> Fault:  # type: ignore[override]
        return self._fault


def _break_two_of_three(handler: Handler, number: int) -> bool:
    """Refuse the first request for each path, cut the answer to the second, and so on."""
    if number % 3 == 1:
        return refused(503, "SlowDown")(handler, number)
    if number % 3 == 0:
        return False
    is_read = handler.command == "GET"
    return reset_body(handler, number) if is_read else hung_up(handler, number)


class TestBucketThroughFaults(_BucketSuite):
    """The same, where two of three requests fail."""

    @pytest.fixture
    def blobs(self, seaweedfs: SeaweedFS, proxy: S3Proxy) -> BlobStore:
        prefix = seaweedfs.new_prefix()
        self.store = seaweedfs.open_bucket(BUCKET, prefix=prefix)
        proxy.faults = _Everywhere(_break_two_of_three)
        # Patience does not end in the midst of a test, whatever the machine does beside it.
        return open_blobs(f"s3://{BUCKET}/{prefix}", access_to(proxy.url), patience_seconds=60)


@pytest.fixture
def proxy(seaweedfs: SeaweedFS) -> Iterator[S3Proxy]:
    with proxying(seaweedfs.port) as server:
        yield server


class Place:
    """A store of this test's own, reached through the proxy."""

    def __init__(self, server: SeaweedFS, proxy: S3Proxy) -> None:
        self.prefix = server.new_prefix()
        self.url = f"s3://{BUCKET}/{self.prefix}"
        self.raw = server.open_bucket(BUCKET, prefix=self.prefix)
        self.access = access_to(proxy.url)
        self._proxy = proxy

    def open(self, **options: float) -> BlobStore:
        return open_blobs(self.url, self.access, **options)

    def break_it(self, fault: Fault, key: str = KEY) -> None:
        self._proxy.faults[f"/{BUCKET}/{self.prefix}/{key}"] = fault

    def break_lists(self, fault: Fault) -> None:
        self._proxy.faults[f"/{BUCKET}"] = fault

    def find(self, key: str = KEY) -> bytes | None:
        """Read what is there, straight from the server."""
        try:
            return bytes(obstore.get(self.raw, key).bytes())
        except FileNotFoundError:
            return None


@pytest.fixture
def place(seaweedfs: SeaweedFS, proxy: S3Proxy) -> Place:
    return Place(seaweedfs, proxy)


def test_a_store_is_opened_again(place: Place) -> None:
    """What one opening stored, the next one reads; a slash at the end of the URL is none."""
    first = open_store(place.url, access=place.access)
    assert first.put(KEY, DATA)
    second = open_store(f"{place.url}/", access=place.access)
    assert second.get(KEY) == DATA
    assert second.name == first.name == place.url
    assert first.check_format() == second.check_format()
    keys = [each["path"] for batch in obstore.list(place.raw) for each in batch]
    assert sorted(keys) == [FORMAT_KEY, KEY]


def test_a_put_whose_answer_was_lost(place: Place) -> None:
    """Its second try finds the blob there, which is as good."""
    place.break_it(once(only("PUT", lost_answer)))
    assert not place.open().put(KEY, DATA)
    assert place.find() == DATA


@pytest.mark.parametrize("fault", [hung_up, refused(500, "InternalError"), flipped_body])
def test_a_put_that_failed_leaves_nothing(place: Place, fault: Fault) -> None:
    """No blob is visible, and the same one goes in later; a flipped bit is noticed."""
    place.break_it(only("PUT", fault))
    blobs = place.open(patience_seconds=0.3)
    with pytest.raises(StoreOutOfReachError) as caught:
        blobs.put(KEY, DATA)
    assert place.find() is None
    assert caught.value.failure.code is Code.UNAVAILABLE
    assert caught.value.retry_after_seconds == 5
    place.break_it(once(only("PUT", fault), at=3))
    assert blobs.put(KEY, DATA)
    assert place.find() == DATA


def test_a_put_beside_another_one(place: Place) -> None:
    """S3 answers a conflict when two writers meet; the one that is told so tries again."""
    place.break_it(once(only("PUT", refused(409, "ConditionalRequestConflict")), times=2))
    assert place.open().put(KEY, DATA)
    assert place.find() == DATA


@pytest.mark.parametrize("fault", [cut_body, reset_body, refused(503, "SlowDown")])
def test_reads_through_faults(place: Place, fault: Fault) -> None:
    """What comes in part only is asked for again, until it has come whole."""
    blobs = place.open()
    blobs.put(KEY, DATA)
    place.break_it(once(fault, at=3, times=2))
    assert blobs.get_range(KEY, offset=1000, length=100_000) == DATA[1000:101_000]
    place.break_it(once(fault, at=6, times=2))
    assert blobs.get(KEY) == DATA


@pytest.mark.parametrize(
    "fault",
    [
        altered(content_range=f"bytes 0-99/{len(DATA)}"),
        altered(content_range=f"bytes 2000-101999/{len(DATA)}"),
        cut_body,
    ],
)
def test_another_range_is_never_taken(place: Place, fault: Fault) -> None:
    """Bytes from elsewhere, or fewer than were asked for, are an error that may pass."""
    blobs = place.open(patience_seconds=0.3)
    blobs.put(KEY, DATA)
    place.break_it(only("GET", fault))
    with pytest.raises(StoreOutOfReachError):
        blobs.get_range(KEY, offset=1000, length=100_000)


def test_a_whole_answer_to_a_range_is_never_taken(place: Place) -> None:
    """A server that knows no ranges is an error."""
    blobs = place.open(patience_seconds=0.3)
    blobs.put(KEY, DATA)

    def give_all(handler: Handler, _number: int) -> bool:
        handler.send(200, DATA, {"etag": '"1"', "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT"})
        return True

    place.break_it(only("GET", give_all))
    with pytest.raises(StoreOutOfReachError, match="other bytes"):
        blobs.get_range(KEY, offset=0, length=10)


def test_lists_and_deletes_through_faults(place: Place) -> None:
    """A list of several pages goes on where it broke, and a delete may be repeated."""
    keys = [f"packs/a/{number:04}" for number in range(1005)]
    for key in keys:
        obstore.put(place.raw, key, b"", use_multipart=False)
    blobs = place.open()
    place.break_lists(lambda handler, number: number % 2 == 1 and reset_body(handler, number))
    assert list(blobs.iter_keys("packs")) == keys
    place.break_it(once(lost_answer, times=2), key=keys[0])
    blobs.delete(keys[0])
    assert place.find(keys[0]) is None


def test_long_work_waits_until_the_server_is_back(place: Place) -> None:
    """However often it fails; whoever waits is asked whether it still should."""
    asked: list[int] = []
    blobs = place.open(patience_seconds=0.0).waiting(lambda: asked.append(1))
    place.break_it(once(refused(503, "SlowDown"), times=6))
    assert blobs.put(KEY, DATA)
    assert len(asked) >= 6


@pytest.mark.parametrize("status", [400, 404])
def test_long_work_waits_for_the_server_behind_a_proxy(place: Place, status: int) -> None:
    """What a proxy answers while its servers are away means neither "missing" nor "misplaced"."""
    blobs = place.open(patience_seconds=0.0)
    waiting = blobs.waiting(lambda: None)
    place.break_it(once(strange(status), times=2))
    assert waiting.put(KEY, DATA)
    place.break_it(once(strange(status), at=4, times=2))
    assert waiting.get(KEY) == DATA
    place.break_it(strange(status))
    for call in (lambda: blobs.get(KEY), lambda: blobs.put(KEY, DATA)):
        with pytest.raises(StoreMisplacedError, match="no S3 server"):  # at a start, say
            call()


def strange(status: int) -> Fault:
    """Answer as a proxy does that has no server."""

    def fault(handler: Handler, _number: int) -> bool:
        handler.send(status, b"default backend", {"content-type": "text/plain"})
        return True

    return fault


def test_a_wait_ends_when_it_is_not_wanted_any_more(place: Place) -> None:
    """What the caller raises comes out."""
    numbers = count()

    def check() -> None:
        if next(numbers) == 3:
            raise InterruptedError

    blobs = place.open(patience_seconds=0.0).waiting(check)
    place.break_it(refused(503, "SlowDown"))
    with pytest.raises(InterruptedError):
        blobs.put(KEY, DATA)
    assert place.find() is None


def test_a_wait_does_not_hide_refusals(place: Place) -> None:
    """Missing rights do not come back by waiting."""
    blobs = place.open().waiting(lambda: None)
    place.break_it(refused(403, "AccessDenied"))
    with pytest.raises(StoreForbiddenError, match=r"HTTP 403 \(AccessDenied\)"):
        blobs.put(KEY, DATA)


@pytest.mark.parametrize("code", ["QuotaExceeded", "XMinioStorageFull"])
def test_a_full_bucket(place: Place, code: str) -> None:
    """STORE_FULL, as on a disk."""
    place.break_it(refused(507 if code.startswith("X") else 400, code))
    with pytest.raises(StoreFullError, match="is full"):
        place.open().put(KEY, DATA)


def test_servers_without_conditional_writes_are_refused(place: Place) -> None:
    """At the start, and without harm to what is there."""
    open_store(place.url, access=place.access)
    before = place.find(FORMAT_KEY)

    def write_over(handler: Handler, _number: int) -> bool:
        obstore.delete(place.raw, FORMAT_KEY)
        assert ask(handler).status == HTTPStatus.OK
        handler.send(200, b"", {"etag": '"1"'})
        return True

    for fault in (write_over, refused(501, "NotImplemented")):
        place.break_it(only("PUT", fault), key=FORMAT_KEY)
        with pytest.raises(StoreUnfitError, match=place.url) as caught:
            open_store(place.url, access=place.access)
        assert "If-None-Match" in caught.value.remedy
        assert place.find(FORMAT_KEY) == before


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_rights_are_looked_at_when_a_store_is_opened(place: Place, method: str) -> None:
    """A key that may read and not write, or write and not delete, is found out at the start."""
    open_store(place.url, access=place.access)
    key = FORMAT_KEY if method == "PUT" else "probe"
    place.break_it(only(method, refused(403, "AccessDenied")), key=key)
    with pytest.raises(StoreForbiddenError, match="AccessDenied") as caught:
        open_store(place.url, access=place.access)
    assert "AWS_ACCESS_KEY_ID" in caught.value.remedy


def test_the_right_to_list_is_looked_at(place: Place) -> None:
    """As are the others."""
    open_store(place.url, access=place.access)
    place.break_lists(refused(403, "AccessDenied"))
    with pytest.raises(StoreForbiddenError, match="AccessDenied"):
        open_store(place.url, access=place.access)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
        ({"access_key_id": "unknown"}, "InvalidAccessKeyId"),
        ({"access_key_id": POWERLESS_KEY_ID}, "AccessDenied"),
        ({"access_key_id": None, "secret_access_key": None}, "AccessDenied"),
    ],
)
def test_keys_that_are_wrong(place: Place, changes: dict[str, str | None], said: str) -> None:
    """The error has S3's own word, and the variables to look at, and no secret."""
    access = replace(place.access, **changes)
    with pytest.raises(StoreForbiddenError, match=f"{place.url}.*{said}") as caught:
        open_store(place.url, access=access)
    assert "AWS_SECRET_ACCESS_KEY" in caught.value.remedy
    assert SECRET_ACCESS_KEY not in str(caught.value.failure)
    assert place.find(FORMAT_KEY) is None


def test_a_bucket_that_is_not_there(place: Place) -> None:
    """It is not made, and the error says where it was looked for."""
    with pytest.raises(StoreMisplacedError, match=r"s3://missing-bucket/x.*no such bucket"):
        open_store("s3://missing-bucket/x", access=place.access)


@pytest.mark.parametrize(
    ("status", "code"), [(301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed")]
)
def test_another_region(place: Place, status: int, code: str) -> None:
    """The error names AWS_REGION."""
    place.break_it(refused(status, code), key=FORMAT_KEY)
    with pytest.raises(StoreMisplacedError, match=place.url) as caught:
        open_store(place.url, access=place.access)
    assert "AWS_REGION" in caught.value.remedy


def test_a_server_that_is_none_of_s3(place: Place, seaweedfs: SeaweedFS) -> None:
    """The error names AWS_ENDPOINT_URL."""
    filer = f"http://127.0.0.1:{seaweedfs.ports['filer.port']}"
    with pytest.raises(StoreMisplacedError, match="no S3 server") as caught:
        open_store(place.url, access=access_to(filer))
    assert "AWS_ENDPOINT_URL" in caught.value.remedy


def test_a_server_that_is_not_there(place: Place) -> None:
    """The error says what was tried, after a bounded time."""
    access = access_to("http://127.0.0.1:9")
    blobs = open_blobs(place.url, access, patience_seconds=0.3)
    with pytest.raises(StoreOutOfReachError, match="refused") as caught:
        blobs.check_format()
    assert "AWS_ENDPOINT_URL" in caught.value.remedy


def test_a_certificate_that_is_not_trusted(place: Place, tmp_path: Path) -> None:
    """The error names AWS_CA_BUNDLE; with the right one the server is talked to."""
    with serving(tmp_path, tls=tmp_path / "tls") as web:
        access = access_to(web.url.rstrip("/"))
        with pytest.raises(StoreMisplacedError, match="certificate") as caught:
            open_store(place.url, access=access)
        assert "AWS_CA_BUNDLE" in caught.value.remedy
        with pytest.raises(StoreMisplacedError, match="no S3 server"):
            open_store(place.url, access=access, ca_file=web.ca)


def test_an_object_of_others_that_has_no_path(place: Place, proxy: S3Proxy) -> None:
    """A key that is no path is nobody's of ours: the place is refused, and named."""
    listing = (
        b'<?xml version="1.0"?><ListBucketResult><Contents><Key>'
        + f"{place.prefix}/a//b".encode()
        + b"</Key><Size>1</Size><ETag>1</ETag><LastModified>2026-01-01T00:00:00Z</LastModified>"
        b"</Contents></ListBucketResult>"
    )

    def give(handler: Handler, _number: int) -> bool:
        handler.send(200, listing, {"content-type": "application/xml"})
        return True

    place.break_lists(give)
    with pytest.raises(NotAStoreError, match="none of a store's"):
        open_store(place.url, access=place.access)
    assert proxy.requests


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3:///a", "s3://b", "s3://bucket//a", "s3://bucket/a b", "s3://bucket/../a"],
)
def test_other_urls_are_refused(url: str) -> None:
    """The error says what to write; one letter is no bucket."""
    with pytest.raises(InvalidArgumentError, match="s3://BUCKET/PREFIX"):
        open_store(url)


def test_a_login_in_the_url_is_not_repeated() -> None:
    """Somebody may have thought that it belongs there."""
    with pytest.raises(InvalidArgumentError) as caught:
        open_store("s3://key:hidden@bucket/prefix")
    assert "hidden" not in str(caught.value.failure)


def test_what_is_missing_is_not_waited_for(place: Place) -> None:
    """Long work is told at once that a blob is not there."""
    with pytest.raises(BlobNotFoundError):
        place.open().waiting(lambda: pytest.fail("It waited.")).get(KEY)
