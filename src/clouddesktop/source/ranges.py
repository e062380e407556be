"""Reading one version of one file over HTTP by ranges, and what a server may answer instead."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlsplit

from clouddesktop.errors import CloudDesktopError, NotFoundError, UnavailableError
from clouddesktop.model.image import ComputeImage
from clouddesktop.source.base import SourceChangedError, SourceUnreadableError
from clouddesktop.source.fetch import Answer, FetchFailedError
from clouddesktop.source.retrying import AdaptiveLimit, RetryBudget

T = TypeVar("T")

REQUESTS = 8
"""Requests for ranges of one file that are in flight, at most."""

_FIRST_REQUESTS = 4
_ATTEMPTS = 6
_FAILURES = 20
_BYTES_PER_FAILURE = 64 << 20
"""How much of a file may bring one more failure: long transfers meet more of them."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may pass (RFC 9110 and 6585); any other refusal is final."""


class BusyServerError(UnavailableError):
    """The other server says that it cannot answer now."""

    reason = "SOURCE_BUSY"


def persist(work: Callable[[], T]) -> T:
    """Do one request's work; again, after a pause, where what failed may pass.

    Raises:
        RetriesExhaustedError: it failed again and again.
    """
    budget = RetryBudget(in_a_row=_ATTEMPTS, in_all=_ATTEMPTS)
    for failures in range(1, _ATTEMPTS + 1):
        try:
            return work()
        except (FetchFailedError, BusyServerError) as error:
            budget.spend(failures, error)
    raise AssertionError("The last attempt raises.")


def find_total(answer: Answer) -> int | None:
    """Give the size of the whole file, as an answer with a part of it tells."""
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
    return None if found is None else int(found[3])


def raise_if_busy(answer: Answer) -> None:
    """Raise if the status may pass.

    Raises:
        BusyServerError: it says so; it may know when to come back.
    """
    if answer.status in PASSING:
        raise BusyServerError(
            f"The server of {urlsplit(answer.url).hostname} answers HTTP {answer.status}.",
            remedy="Look at the other server, then try again.",
            retry_after_seconds=_seconds_of(answer.headers),
            facts={"http_status": str(answer.status)},
        )


def refusal(answer: Answer, image: ComputeImage) -> CloudDesktopError:
    """Give the error for a status that is final.

    Raises:
        BusyServerError: it is not.
    """
    raise_if_busy(answer)
    if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return NotFoundError.of_resource("Image", image.id)
    return SourceUnreadableError(
        f"The server of the source {image.source} answers HTTP {answer.status} for "
        f"{image.location}.",
        remedy="Give this server the right to read the file there, or correct the source's URL.",
        facts={**facts_of(image), "http_status": str(answer.status)},
    )


def changed(image: ComputeImage, why: str) -> SourceChangedError:
    """Give the error for a file that is not what it was when the copy began."""
    return SourceChangedError(
        f"The file {image.location} in the source {image.source} changed while it was copied: "
        f"{why}.",
        remedy="Wait until nothing writes to it or replaces it, then copy it again.",
        facts=facts_of(image),
    )


class ResumingRanges(ABC):
    """Ranges of one version of one file, through failures that may pass; a `RangeReader`."""

    def __init__(self, *, image: ComputeImage, size: int) -> None:
        """Read a file of `size` bytes; `image` is whose file it is, for errors."""
        self._image = image
        self._limit = AdaptiveLimit(first=_FIRST_REQUESTS, most=REQUESTS)
        self._budget = RetryBudget(
            in_a_row=_ATTEMPTS, in_all=_FAILURES + size // _BYTES_PER_FAILURE
        )

    def fetch(self, offset: int, length: int) -> bytes:
        """Do as `RangeReader.fetch`; a transfer that breaks off goes on from where it was."""
        got = bytearray()
        failures = 0
        while len(got) < length:
            before = len(got)
            try:
                with self._limit.turn():
                    self._fetch_some(offset + len(got), offset + length, got)
                    self._check_whole(got, offset=offset, length=length)
            except (FetchFailedError, BusyServerError) as error:
                # Only attempts that gave nothing count in a row: a slow way is still a way.
                failures = failures + 1 if len(got) == before else 1
                self._budget.spend(failures, error)
        return bytes(got)

    @abstractmethod
    def _fetch_some(self, first: int, end: int, got: bytearray) -> None:
        """Add the bytes from `first` to before `end` to `got`, as they come.

        Raises:
            FetchFailedError, BusyServerError: it may go on after a pause.
            CloudDesktopError: it never will.
        """

    def _check_whole(self, got: bytearray, *, offset: int, length: int) -> None:
        if len(got) > length:
            raise changed(self._image, "the server sent more than was asked for")
        if len(got) < length:
            raise FetchFailedError(
                f"{self._image.location} broke off after {offset + len(got)} bytes.",
                remedy="Look at the other server, then try again.",
                facts=facts_of(self._image),
            )


class HttpRanges(ResumingRanges):
    """Ranges that an HTTP server gives."""

    def __init__(
        self,
        *,
        get: Callable[[Mapping[str, str]], AbstractContextManager[Answer]],
        image: ComputeImage,
        size: int,
        find_change: Callable[[Answer], str | None],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Read a file of `size` bytes.

        Args:
            get: asks for the file with these headers.
            image: whose file it is, for errors.
            size: of the version that is read.
            find_change: tells why an answer with a range is of another version; None if it is not.
            headers: sent with each request.
        """
        super().__init__(image=image, size=size)
        self._get = get
        self._size = size
        self._find_change = find_change
        self._headers = dict(headers or {})

    def _fetch_some(self, first: int, end: int, got: bytearray) -> None:
        wanted = len(got) + end - first
        with self._get({**self._headers, "range": f"bytes={first}-{end - 1}"}) as answer:
            self._check(answer, first=first, last=end - 1)
            for piece in answer.iter_bytes():
                got += piece
                if len(got) > wanted:
                    return

    def _check(self, answer: Answer, *, first: int, last: int) -> None:
        if answer.status in (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.NOT_FOUND):
            raise changed(self._image, f"the server answers {answer.status}")
        if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise changed(self._image, "it is shorter than it was")
        if answer.status != HTTPStatus.PARTIAL_CONTENT:
            raise refusal(answer, self._image)
        why = self._find_change(answer)
        if why is not None:
            raise changed(self._image, why)
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        if found is None or [int(each) for each in found.groups()] != [first, last, self._size]:
            raise changed(
                self._image,
                f"bytes {first}-{last}/{self._size} were asked for, and the server gave "
                f"{answer.headers.get('content-range', 'no range')!r}",
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


def facts_of(image: ComputeImage) -> dict[str, str]:
    """Give what errors about an image's file carry."""
    return {"source": image.source, "image_id": image.id, "file": image.location}
