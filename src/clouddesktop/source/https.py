"""An HTTPS server as a source: a folder with an index or lists of checksums, or a single file.

Files are read in place, by ranges, pinned to the version that was there when the copy began.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, unquote, urlsplit

from clouddesktop.model.checksum import Checksum
from clouddesktop.model.image import ComputeImage
from clouddesktop.source.base import SourceUnreadableError, find_only
from clouddesktop.source.fetch import Answer, Fetcher
from clouddesktop.source.listing import SUMS_FILES, find_beside, parse_index, parse_sums
from clouddesktop.source.naming import find_image_id
from clouddesktop.source.ranges import (
    REQUESTS,
    HttpRanges,
    changed,
    find_total,
    persist,
    raise_if_busy,
    refusal,
)
from clouddesktop.source.remote import RemoteFile, StreamedFile

_MOST_INDEX = 8 << 20


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
        return find_beside(image.location, lambda name: self._get_text(self._base + quote(name)))

    def fingerprint(self, image: ComputeImage) -> HttpMark:
        return self._probe(image)[0]

    @contextmanager
    def open_file(self, image: ComputeImage) -> Iterator[RemoteFile | StreamedFile]:
        mark, has_ranges = self._probe(image)

        def check(expected: str) -> None:
            # With a strong ETag every range that was read was of this version.
            found = mark if mark.settled else self._probe(image)[0]
            if found.to_text() != expected:
                raise changed(image, f"it is {found.to_text()}, and was {expected}")

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
            reader=self._ranges_of(image, mark),
            check=check,
            requests=REQUESTS,
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
                raise refusal(answer, image)
            if answer.headers.get("etag", "") != mark.etag:
                raise changed(image, "its ETag is another")
            for piece in answer.iter_bytes():
                size += len(piece)
                yield piece
        if mark.size and size != mark.size:
            raise changed(image, f"it has {size} bytes, and had {mark.size}")

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

        def fetch() -> str | None:
            with self._fetcher.get(url) as answer:
                if answer.status == HTTPStatus.OK:
                    return answer.read(most=_MOST_INDEX).decode("utf-8", "replace")
                raise_if_busy(answer)
                return None

        return persist(fetch)

    def _probe(self, image: ComputeImage) -> tuple[HttpMark, bool]:
        """Ask for the first byte: a HEAD would not tell whether parts are given."""

        def fetch() -> tuple[HttpMark, bool]:
            with self._fetcher.get(self._url_of(image), {"range": "bytes=0-0"}) as answer:
                return _read_probe(answer, image)

        return persist(fetch)

    def _ranges_of(self, image: ComputeImage, mark: HttpMark) -> HttpRanges:
        def find_change(answer: Answer) -> str | None:
            is_same = answer.headers.get("etag", "") == mark.etag or not mark.etag
            return None if is_same else "its ETag is another"

        return HttpRanges(
            get=lambda headers: self._fetcher.get(self._url_of(image), headers),
            image=image,
            size=mark.size,
            find_change=find_change,
            headers={"if-match": mark.etag} if mark.settled else None,
        )


def _read_probe(answer: Answer, image: ComputeImage) -> tuple[HttpMark, bool]:
    etag = answer.headers.get("etag", "")
    modified = answer.headers.get("last-modified", "")
    if answer.status == HTTPStatus.PARTIAL_CONTENT:
        total = find_total(answer)
        if total is not None:
            return HttpMark(size=total, etag=etag, modified=modified), True
    elif answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # so are empty files
        return HttpMark(size=0, etag=etag, modified=modified), True
    elif answer.status != HTTPStatus.OK:
        raise refusal(answer, image)
    size = answer.headers.get("content-length", "")
    return HttpMark(size=int(size) if size.isdecimal() else 0, etag=etag, modified=modified), False
