"""Files at URLs that callers name: fetched under guard, since callers are not the operator.

No address of a private network is connected to, whatever a name, a redirect or a later answer of
the name service says, but for networks that the operator allows; sizes and times are bounded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from clouddesktop.errors import DeadlineExceededError, FieldViolation, InvalidArgumentError
from clouddesktop.model.checksum import Checksum
from clouddesktop.model.image import ComputeImage
from clouddesktop.source.addresses import Network
from clouddesktop.source.base import SourceUnreadableError
from clouddesktop.source.fetch import (
    Fetcher,
    FetchForbiddenError,
    Origin,
    suggesting,
    without_query,
)
from clouddesktop.source.https import HttpMark, HttpsSource
from clouddesktop.source.remote import RemoteFile, StreamedFile

URI_SOURCE = ":uri"
"""The source's name; no configured source can have it, for the colon."""

_REMEDY = (
    "Name a file at an address of the Internet, or have the operator allow its network by the "
    "setting import_allow."
)


class ImportTooLargeError(SourceUnreadableError):
    """The file is larger than any that is imported from a URL."""

    reason = "IMPORT_TOO_LARGE"


class ImportTooSlowError(DeadlineExceededError):
    """Fetching the file took longer than an import may."""

    reason = "IMPORT_TOO_SLOW"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPolicy:
    """What may be imported: networks that are allowed though they are private, and the bounds."""

    allowed: Sequence[Network] = ()
    most_bytes: int = 1 << 40
    most_seconds: float = 86400.0


class UriSource:
    """Compute images at any URL of https or http; `location` is the URL itself."""

    name = URI_SOURCE

    def __init__(self, *, ca_file: str | None, stall_seconds: float, policy: ImportPolicy) -> None:
        self._ca_file = ca_file
        self._stall_seconds = stall_seconds
        self._policy = policy

    def find_compute_image(self, image_id: str) -> ComputeImage | None:  # noqa: ARG002  (a source's)
        return None

    def iter_compute_images(self) -> Iterator[ComputeImage]:
        return iter(())

    def find_checksum(self, image: ComputeImage) -> Checksum | None:  # noqa: ARG002  (a source's)
        return None

    def fingerprint(self, image: ComputeImage) -> HttpMark:
        with self._one_file(image) as (file, shown):
            return file.fingerprint(shown)

    @contextmanager
    def open_file(self, image: ComputeImage) -> Iterator[RemoteFile | StreamedFile]:
        """Open the file, as HttpsSource.open_file does.

        Raises:
            FetchForbiddenError: the URL leads where callers may not send this server.
            ImportTooLargeError: it is larger than the bound.
        """
        with (
            suggesting(_REMEDY),
            self._one_file(image) as (file, shown),
            file.open_file(shown) as opened,
        ):
            if isinstance(opened, RemoteFile):
                file.check_size(opened.size)
            yield opened

    @contextmanager
    def _one_file(self, image: ComputeImage) -> Iterator[tuple[_UriFile, ComputeImage]]:
        fetcher = Fetcher(
            image.location,
            ca_file=self._ca_file,
            stall_seconds=self._stall_seconds,
            allowed=self._policy.allowed,
        )
        try:
            # A signed URL is a secret: errors show it without its query.
            shown = replace(image, location=without_query(image.location))
            yield _UriFile(image.location, fetcher, shown=shown, policy=self._policy), shown
        finally:
            fetcher.close()


class _UriFile(HttpsSource):
    """One file; every request goes to its very URL, and counts against the bounds."""

    def __init__(
        self, url: str, fetcher: Fetcher, *, shown: ComputeImage, policy: ImportPolicy
    ) -> None:
        self.name = URI_SOURCE
        self._url = url
        self._fetcher = fetcher
        self._shown = shown.location
        self._policy = policy
        self._ends_at = time.monotonic() + policy.most_seconds

    def check_size(self, size: int) -> None:
        if size > self._policy.most_bytes:
            raise ImportTooLargeError(
                f"{self._shown} has {size} bytes or more; files of up to "
                f"{self._policy.most_bytes} are imported.",
                remedy="Have the operator raise the setting import_size.",
                facts={"file": self._shown},
            )

    def _url_of(self, _image: ComputeImage) -> str:
        self._check_time()
        return self._url

    def _stream(self, image: ComputeImage, mark: HttpMark) -> Iterator[bytes]:
        size = 0
        for piece in super()._stream(image, mark):
            self._check_time()
            size += len(piece)
            self.check_size(size)
            yield piece

    def _check_time(self) -> None:
        if time.monotonic() > self._ends_at:
            raise ImportTooSlowError(
                f"{self._shown} was not fetched within {self._policy.most_seconds:.0f} s.",
                remedy="Put the file nearer, or have the operator raise the setting import_time.",
                facts={"file": self._shown},
            )


def check_uri(uri: str) -> None:
    """See that a URI is one that may be fetched from, as far as its text tells.

    Raises:
        InvalidArgumentError: it is not.
    """
    try:
        Origin.of(uri)
    except FetchForbiddenError as error:
        violation = FieldViolation(field="uri", description=error.message)
        raise InvalidArgumentError.of_fields([violation]) from error
