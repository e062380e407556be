"""A bucket of an S3 server as a source: the objects directly below a prefix, or a single object.

Objects are read in place, by ranges, pinned to the version that was there when the copy began.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

import obstore
from obstore.store import S3Store

from clouddesktop.errors import InvalidArgumentError, NotFoundError
from clouddesktop.model.checksum import ALGORITHMS, Checksum
from clouddesktop.model.image import ComputeImage
from clouddesktop.s3 import S3Access
from clouddesktop.source.base import SourceChangedError, SourceUnreadableError, find_only
from clouddesktop.source.listing import find_beside, is_name
from clouddesktop.source.naming import find_image_id
from clouddesktop.source.ranges import REQUESTS, ResumingRanges, changed, persist
from clouddesktop.source.remote import RemoteFile
from clouddesktop.source.s3_faults import translated

if TYPE_CHECKING:  # obstore has these for type checkers only
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ClientConfig, RetryConfig, S3Config

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_CONNECT_SECONDS = 10.0
_REQUEST_SECONDS = 600.0
"""After which a request is cut even if bytes still come; what came is kept."""
_MOST_SUMS = 8 << 20
_PIECE = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Mark:
    """What S3 says of an object's version; `settled` with a strong ETag only."""

    size: int
    etag: str
    version: str
    modified: str

    @classmethod
    def of(cls, meta: ObjectMeta) -> S3Mark:
        return cls(
            size=meta["size"],
            etag=meta["e_tag"] or "",
            version=meta["version"] or "",
            modified=meta["last_modified"].isoformat(),
        )

    @property
    def settled(self) -> bool:
        return self.etag.startswith('"')

    def to_text(self) -> str:
        return f"s3-1:{self.size}:{self.etag}:{self.version}:{self.modified}"


class S3Source:
    """Compute images in one bucket."""

    def __init__(
        self,
        *,
        name: str,
        folder_id: str,
        url: str,
        access: S3Access,
        ca_file: Path | None,
        stall_seconds: float,
    ) -> None:
        """Serve what is at s3://BUCKET/PREFIX: an image if its name is one's, else a folder.

        Raises:
            InvalidArgumentError: the URL is none of that form.
        """
        self.name = name
        self._folder_id = folder_id
        self._bucket, segments = _parse(name, url)
        is_single = bool(segments) and find_image_id(segments[-1]) is not None
        self._single = segments.pop() if is_single else None
        self._prefix = "/".join(segments)
        self._store = _open_store(
            self._bucket, access=access, ca_file=ca_file, stall_seconds=stall_seconds
        )

    def find_compute_image(self, image_id: str) -> ComputeImage | None:
        return find_only(self.name, image_id, self.iter_compute_images())

    def iter_compute_images(self) -> Iterator[ComputeImage]:
        names = [self._single] if self._single is not None else persist(self._list_names)
        images = [
            ComputeImage(id=image_id, folder_id=self._folder_id, source=self.name, location=each)
            for each in names
            if (image_id := find_image_id(each)) is not None
        ]
        return iter(sorted(images, key=lambda each: (each.id, each.location)))

    def url_of(self, image: ComputeImage) -> str:
        """Give the s3: URL of an image's object."""
        return "/".join(("s3:/", self._bucket, *filter(None, [self._prefix]), image.location))

    def find_checksum(self, image: ComputeImage) -> Checksum | None:
        """Find it beside the object, or in its metadata `sha512`, `sha256` or `md5`."""
        return find_beside(image.location, self._read_text) or persist(
            lambda: self._find_in_metadata(image)
        )

    def fingerprint(self, image: ComputeImage) -> S3Mark:
        return persist(lambda: self._probe(image))

    @contextmanager
    def open_file(self, image: ComputeImage) -> Iterator[RemoteFile]:
        mark = self.fingerprint(image)

        def check(expected: str) -> None:
            # With a strong ETag every range that was read was of this version.
            found = mark if mark.settled else self.fingerprint(image)
            if found.to_text() != expected:
                raise changed(image, f"it is {found.to_text()}, and was {expected}")

        with RemoteFile(
            name=image.location,
            size=mark.size,
            fingerprint=mark,
            reader=_S3Ranges(source=self, image=image, mark=mark),
            check=check,
            requests=REQUESTS,
        ) as file:
            yield file

    @contextmanager
    def get(self, image: ComputeImage, options: GetOptions) -> Iterator[obstore.GetResult]:
        """Ask for an object's bytes; inside, obstore's errors become ours.

        Raises:
            CloudDesktopError: as `s3_faults.translated` says.
        """
        with translated(self._bucket, source=self.name, image=image):
            yield obstore.get(self._store, self._key_of(image.location), options=options)

    def _key_of(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _list_names(self) -> list[str]:
        with translated(self._bucket, source=self.name):
            found = obstore.list_with_delimiter(self._store, self._prefix or None)
        start = self._key_of("")
        names = [
            each["path"].removeprefix(start)
            for each in found["objects"]
            if each["path"].startswith(start)
        ]
        return [each for each in names if is_name(each)]

    def _probe(self, image: ComputeImage) -> S3Mark:
        """Ask for the first byte: refusals of a HEAD come without a word on why."""
        try:
            with self.get(image, {"range": (0, 1)}) as result:
                result.bytes()  # so that the connection is free again
                return S3Mark.of(result.meta)
        except SourceChangedError:  # no first byte: it is empty
            with self.get(image, {"head": True}) as result:
                return S3Mark.of(result.meta)

    def _find_in_metadata(self, image: ComputeImage) -> Checksum | None:
        with self.get(image, {"head": True}) as result:
            attributes = result.attributes
        for algorithm in ALGORITHMS:
            try:
                return Checksum.parse(f"{algorithm}:{attributes.get(algorithm, '')}")
            except ValueError:  # not there, or something else
                continue
        return None

    def _read_text(self, name: str) -> str | None:
        """Read a small text; None if it is not there, or may not be seen."""
        beside = ComputeImage(id=name, folder_id=self._folder_id, source=self.name, location=name)

        def fetch() -> str | None:
            text = bytearray()
            try:
                with self.get(beside, {}) as result:
                    for piece in result.stream(min_chunk_size=_PIECE):
                        text.extend(memoryview(piece))
                        if len(text) > _MOST_SUMS:
                            break
            except (NotFoundError, SourceUnreadableError):
                return None
            return text.decode("utf-8", "replace")

        return persist(fetch)


class _S3Ranges(ResumingRanges):
    """Ranges of one version of an object."""

    def __init__(self, *, source: S3Source, image: ComputeImage, mark: S3Mark) -> None:
        super().__init__(image=image, size=mark.size)
        self._source = source
        self._mark = mark
        self._version = mark.version

    def _fetch_some(self, first: int, end: int, got: bytearray) -> None:
        version, before = self._version, len(got)
        try:
            self._fetch_version(version, first, end, got)
        except NotFoundError as error:
            raise changed(self._image, "it is gone") from error
        except SourceUnreadableError:
            if not version or len(got) > before:
                raise
            # Versions by their id are a right of its own (s3:GetObjectVersion); the ETag pins, too.
            self._version = ""
            self._fetch_some(first, end, got)

    def _fetch_version(self, version: str, first: int, end: int, got: bytearray) -> None:
        options: GetOptions = {"range": (first, end)}
        if self._mark.settled:
            options["if_match"] = self._mark.etag
        if version:
            options["version"] = version
        with self._source.get(self._image, options) as result:
            found = S3Mark.of(result.meta)
            if found != self._mark:
                raise changed(
                    self._image, f"it is {found.to_text()}, and was {self._mark.to_text()}"
                )
            for piece in result.stream(min_chunk_size=_PIECE):
                got += memoryview(piece)


def _parse(name: str, url: str) -> tuple[str, list[str]]:
    parts = urlsplit(url)
    path = unquote(parts.path).strip("/")
    segments = path.split("/") if path else []
    is_clear = _BUCKET.fullmatch(parts.netloc) and all(map(is_name, segments))
    if not is_clear or parts.query or parts.fragment:
        raise InvalidArgumentError(
            f"The source {name} has a URL that is not understood: it is not of the form "
            "s3://BUCKET/PREFIX.",
            remedy="Write s3://BUCKET/PREFIX or s3://BUCKET/PREFIX/FILE.qcow2 (%20 for a space).",
        )
    return parts.netloc, segments


def _open_store(
    bucket: str, *, access: S3Access, ca_file: Path | None, stall_seconds: float
) -> S3Store:
    config = cast("S3Config", access.to_options())
    client: ClientConfig = {
        "allow_http": access.is_plain,
        "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
        "read_timeout": timedelta(seconds=stall_seconds),
        "timeout": timedelta(seconds=_REQUEST_SECONDS),
        "user_agent": "clouddesktop",
    }
    if ca_file is not None:
        client["root_certificate"] = ca_file.read_bytes()
    # What fails is tried again here, where it is counted.
    no_retries: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(0)}
    return S3Store(bucket, config=config, client_options=client, retry_config=no_retries)
