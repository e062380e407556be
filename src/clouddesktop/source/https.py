"""An HTTPS server as a source: a folder with an index or lists of checksums, or a single file.

Files are read in place, by ranges, pinned to the version that was there when the copy began.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import quote, unquote, urlsplit

from clouddesktop.errors import CloudDesktopError, NotFoundError, UnavailableError
from clouddesktop.model.checksum import Checksum
from clouddesktop.model.image import ComputeImage
from clouddesktop.source.base import (
    SourceChangedError,
    SourceUnreadableError,
    find_only,
)
from clouddesktop.source.fetch import Answer, Fetcher, FetchFailedError
from clouddesktop.source.listing import SUMS_FILES, find_digest, parse_index, parse_sums
from clouddesktop.source.naming import find_image_id
from clouddesktop.source.remote import RemoteFile, StreamedFile
from clouddesktop.source.retrying import AdaptiveLimit, RetryBudget

_MOST_INDEX = 8 << 20
_REQUESTS = 8
_FIRST_REQUESTS = 4
_ATTEMPTS = 6
_FAILURES = 20
_BYTES_PER_FAILURE = 64 << 20
"""How much of a file may bring one more failure: long transfers meet more of them."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may pass (RFC 9110 and 6585); any other refusal is final."""


class BusyServerError(UnavailableError):
    """The other server says that it cannot answer now."""

    reason = "SOURCE_BUSY"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpMark:
    """What an HTTP server says of a file's version; `settled` with a strong ETag only."""

    size: int
    etag: str
    modified: str

    @property
    def settled(self) -> bool:
        return self.etag.startswith('"')

    def to_text(self) -> str:
        return f"http-1:{self.size}:{self.etag}:{self.modified}"


class HttpsSource:
    """Compute images on one HTTPS server."""

    def __init__(
        self, *, name: str, folder_id: str, url: str, ca_file: str | None, stall_seconds: float
    ) -> None:
        """Serve what is at `url`: an image file if its name is one's, else a folder.

        Raises:
            FetchForbiddenError: the URL is none that is fetched from.
        """
        self.name = name
        self._folder_id = folder_id
        single = urlsplit(url).path.rpartition("/")[2]
        self._single = unquote(single) if find_image_id(unquote(single)) is not None else None
        base = url if self._single is None else url[: len(url) - len(single)]
        self._base = base if base.endswith("/") else f"{base}/"
        self._fetcher = Fetcher(url, ca_file=ca_file, stall_seconds=stall_seconds)

    def find_compute_image(self, image_id: str) -> ComputeImage | None:
        return find_only(self.name, image_id, self.iter_compute_images())

    def iter_compute_images(self) -> Iterator[ComputeImage]:
        names = [self._single] if self._single is not None else self._list_names()
        images = [
            ComputeImage(id=image_id, folder_id=self._folder_id, source=self.name, location=each)
            for each in names
            if (image_id := find_image_id(each)) is not None
        ]
        return iter(sorted(images, key=lambda each: (each.id, each.location)))

    def find_checksum(self, image: ComputeImage) -> Checksum | None:
        for each in SUMS_FILES:
            sums = self._get_text(self._base + each)
            found = None if sums is None else find_digest(sums, image.location)
            if found is not None:
                return found
        return None

    def fingerprint(self, image: ComputeImage) -> HttpMark:
        return self._probe(image)[0]

    @contextmanager
    def open_file(self, image: ComputeImage) -> Iterator[RemoteFile | StreamedFile]:
        mark, has_ranges = self._probe(image)
        ranges = _Ranges(fetcher=self._fetcher, url=self._url_of(image), image=image, mark=mark)

        def check(expected: str) -> None:
            # With a strong ETag every range that was read was of this version.
            found = mark if mark.settled else self._probe(image)[0]
            if found.to_text() != expected:
                raise _changed(image, f"it is {found.to_text()}, and was {expected}")

        if not has_ranges:
            yield StreamedFile(
                name=image.location,
                fingerprint=mark,
                stream=lambda: self._stream(image, mark),
                check=check,
            )
            return
        with RemoteFile(
            name=image.location,
            size=mark.size,
            fingerprint=mark,
            reader=ranges,
            check=check,
            requests=_REQUESTS,
        ) as file:
            yield file

    def close(self) -> None:
        self._fetcher.close()

    def _url_of(self, image: ComputeImage) -> str:
        return self._base + quote(image.location)

    def _stream(self, image: ComputeImage, mark: HttpMark) -> Iterator[bytes]:
        """Fetch the whole file once, of this version."""
        size = 0
        with self._fetcher.get(self._url_of(image)) as answer:
            if answer.status != HTTPStatus.OK:
                raise _refusal(answer, image)
            if answer.headers.get("etag", "") != mark.etag:
                raise _changed(image, "its ETag is another")
            for piece in answer.iter_bytes():
                size += len(piece)
                yield piece
        if mark.size and size != mark.size:
            raise _changed(image, f"it has {size} bytes, and had {mark.size}")

    def _list_names(self) -> list[str]:
        names: dict[str, None] = {}
        found_any = False
        page = self._get_text(self._base)
        if page is not None:
            found_any = True
            names.update(dict.fromkeys(parse_index(page, url=self._base)))
        for each in SUMS_FILES:
            sums = self._get_text(self._base + each)
            if sums is not None:
                found_any = True
                names.update(dict.fromkeys(parse_sums(sums)))
        if not found_any:
            raise SourceUnreadableError(
                f"The source {self.name} at {self._base} has no index page and no "
                f"{' or '.join(SUMS_FILES)}, so its files are not known.",
                remedy="Put a list of checksums beside the images, or name one image's own URL.",
                facts={"source": self.name},
            )
        return list(names)

    def _get_text(self, url: str) -> str | None:
        """Fetch a small text; None if it is not there, or may not be seen."""
        budget = RetryBudget(in_a_row=_ATTEMPTS, in_all=_ATTEMPTS)
        for failures in range(1, _ATTEMPTS + 1):
            try:
                with self._fetcher.get(url) as answer:
                    if answer.status == HTTPStatus.OK:
                        return answer.read(most=_MOST_INDEX).decode("utf-8", "replace")
                    if answer.status not in _PASSING:
                        return None
                    raise _busy(answer)
            except (FetchFailedError, BusyServerError) as error:
                budget.spend(failures, error)
        raise AssertionError("The last attempt raises.")

    def _probe(self, image: ComputeImage) -> tuple[HttpMark, bool]:
        """Ask for the first byte: a HEAD would not tell whether parts are given."""
        url = self._url_of(image)
        budget = RetryBudget(in_a_row=_ATTEMPTS, in_all=_ATTEMPTS)
        for failures in range(1, _ATTEMPTS + 1):
            try:
                with self._fetcher.get(url, {"range": "bytes=0-0"}) as answer:
                    return _read_probe(answer, image)
            except (FetchFailedError, BusyServerError) as error:
                budget.spend(failures, error)
        raise AssertionError("The last attempt raises.")


class _Ranges:
    """Ranges of one version of one file."""

    def __init__(self, *, fetcher: Fetcher, url: str, image: ComputeImage, mark: HttpMark) -> None:
        self._fetcher = fetcher
        self._url = url
        self._image = image
        self._mark = mark
        self._limit = AdaptiveLimit(first=_FIRST_REQUESTS, most=_REQUESTS)
        self._budget = RetryBudget(
            in_a_row=_ATTEMPTS, in_all=_FAILURES + mark.size // _BYTES_PER_FAILURE
        )

    def fetch(self, offset: int, length: int) -> bytes:
        """Do as `RangeReader.fetch`; a transfer that breaks off goes on from where it was."""
        got = bytearray()
        failures = 0
        while len(got) < length:
            before = len(got)
            try:
                with self._limit.turn():
                    self._fetch_some(offset, length, got)
            except (FetchFailedError, BusyServerError) as error:
                # Only attempts that gave nothing count in a row: a slow way is still a way.
                failures = failures + 1 if len(got) == before else 1
                self._budget.spend(failures, error)
        return bytes(got)

    def _fetch_some(self, offset: int, length: int, got: bytearray) -> None:
        first, last = offset + len(got), offset + length - 1
        headers = {"range": f"bytes={first}-{last}"}
        if self._mark.settled:
            headers["if-match"] = self._mark.etag
        with self._fetcher.get(self._url, headers) as answer:
            self._check(answer, first=first, last=last)
            for piece in answer.iter_bytes():
                if len(got) + len(piece) > length:
                    raise _changed(self._image, "the server sent more than was asked for")
                got += piece
        if len(got) < length:
            raise FetchFailedError(
                f"{self._image.location} broke off after {offset + len(got)} bytes.",
                remedy="Look at the other server, then try again.",
                facts=_facts(self._image),
            )

    def _check(self, answer: Answer, *, first: int, last: int) -> None:
        if answer.status in (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.NOT_FOUND):
            raise _changed(self._image, f"the server answers {answer.status}")
        if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _changed(self._image, "it is shorter than it was")
        if answer.status != HTTPStatus.PARTIAL_CONTENT:
            raise _refusal(answer, self._image)
        if answer.headers.get("etag", "") != self._mark.etag and self._mark.etag:
            raise _changed(self._image, "its ETag is another")
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        if found is None or [int(each) for each in found.groups()] != [
            first,
            last,
            self._mark.size,
        ]:
            raise _changed(
                self._image,
                f"bytes {first}-{last}/{self._mark.size} were asked for, and the server gave "
                f"{answer.headers.get('content-range', 'no range')!r}",
            )


def _read_probe(answer: Answer, image: ComputeImage) -> tuple[HttpMark, bool]:
    etag = answer.headers.get("etag", "")
    modified = answer.headers.get("last-modified", "")
    if answer.status == HTTPStatus.PARTIAL_CONTENT:
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        if found is not None:
            return HttpMark(size=int(found[3]), etag=etag, modified=modified), True
    elif answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # so are empty files
        return HttpMark(size=0, etag=etag, modified=modified), True
    elif answer.status != HTTPStatus.OK:
        raise _refusal(answer, image)
    size = answer.headers.get("content-length", "")
    return HttpMark(size=int(size) if size.isdecimal() else 0, etag=etag, modified=modified), False


def _refusal(answer: Answer, image: ComputeImage) -> CloudDesktopError:
    if answer.status in _PASSING:
        return _busy(answer)
    if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return NotFoundError.of_resource("Image", image.id)
    return SourceUnreadableError(
        f"The server of the source {image.source} answers HTTP {answer.status} for "
        f"{image.location}.",
        remedy="Give this server the right to read the file there, or correct the source's URL.",
        facts={**_facts(image), "http_status": str(answer.status)},
    )


def _busy(answer: Answer) -> BusyServerError:
    return BusyServerError(
        f"The server of {urlsplit(answer.url).hostname} answers HTTP {answer.status}.",
        remedy="Look at the other server, then try again.",
        retry_after_seconds=_seconds_of(answer.headers),
        facts={"http_status": str(answer.status)},
    )


def _seconds_of(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After: seconds, or a date."""
    value = headers.get("retry-after", "")
    if value.isdecimal():
        return float(value)
    try:
        wanted = parsedate_to_datetime(value)
    except ValueError:
        return None
    if wanted.tzinfo is None:
        wanted = wanted.replace(tzinfo=UTC)
    return max(0.0, (wanted - datetime.now(tz=UTC)).total_seconds())


def _changed(image: ComputeImage, why: str) -> SourceChangedError:
    return SourceChangedError(
        f"The file {image.location} in the source {image.source} changed while it was copied: "
        f"{why}.",
        remedy="Wait until nothing writes to it or replaces it, then copy it again.",
        facts=_facts(image),
    )


def _facts(image: ComputeImage) -> dict[str, str]:
    return {"source": image.source, "image_id": image.id, "file": image.location}
