"""OpenStack's Glance as a source: its active, bare images, known by their ids.

    GET /v2/images            the list, page by page
    GET /v2/images/{id}       size, hash and state: an image's mark
    GET /v2/images/{id}/file  the bytes: by ranges, or whole where the storage behind has no ranges

The data of an active image never changes, so its hash pins it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from clouddesktop.errors import (
    CloudDesktopError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from clouddesktop.model.checksum import Checksum
from clouddesktop.model.image import ComputeImage
from clouddesktop.source.base import SourceUnreadableError
from clouddesktop.source.fetch import Answer, Fetcher, FetchFailedError, suggesting
from clouddesktop.source.glance_api import GlanceApi, GlanceImage, is_image_id
from clouddesktop.source.keystone import OpenStackAccess, make_tokens
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

_OWN_FILTERS = frozenset(
    {"status", "container_format", "id", "limit", "marker", "sort", "sort_key", "sort_dir"}
)
"""Parts of a list's query that are not for the source's URL to say."""

_DATA = frozenset({HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT})

_NO_RANGES = frozenset(
    {
        HTTPStatus.BAD_REQUEST,  # Glance's own: its store cannot (Ceph, Swift, S3)
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    }
)
"""What a request for a part may be answered with where only the whole is given."""


class UnfitGlanceImageError(FailedPreconditionError):
    """The image is there, and is none that can be read: not active, or no bare disk."""

    reason = "GLANCE_IMAGE_UNFIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class GlanceMark:
    """What Glance says of an image's data; `settled` where that includes a hash.

    `version` is the hash, or else the time of the last change to anything of the image.
    """

    size: int
    created_at: str
    version: str
    settled: bool

    @classmethod
    def of_image(cls, image: GlanceImage) -> GlanceMark:
        digest = ":".join(image.digests[0]) if image.digests else ""
        return cls(
            size=image.size,
            created_at=image.created_at,
            version=digest or image.updated_at,
            settled=bool(digest),
        )

    def to_text(self) -> str:
        return f"glance-1:{self.size}:{self.created_at}:{self.version}"


class GlanceSource:
    """The images of one Glance that its filters let through."""

    def __init__(
        self,
        *,
        name: str,
        folder_id: str,
        url: str,
        access: OpenStackAccess | None,
        ca_file: str | None,
        stall_seconds: float,
    ) -> None:
        """Serve the Glance at `url`, with or without /v2; its query filters the images.

        Raises:
            FetchForbiddenError: the URL, or Keystone's, is none that is fetched from.
            InvalidArgumentError: the query has what is no filter.
        """
        self.name = name
        self._folder_id = folder_id
        parts = urlsplit(url)
        path = parts.path.rstrip("/").removesuffix("/v2").rstrip("/")
        base = f"{parts.scheme}://{parts.netloc}{path}"
        with suggesting(
            "Write glance+https://HOST[:PORT][/PATH], Glance's public address. A login comes from "
            "OpenStack's variables, such as OS_APPLICATION_CREDENTIAL_ID."
        ):
            self._fetcher = Fetcher(base, ca_file=ca_file, stall_seconds=stall_seconds)
        self._tokens = make_tokens(access, ca_file=ca_file, stall_seconds=stall_seconds)
        self._api = GlanceApi(
            source=name,
            base=base,
            filters=_read_filters(name, parts.query, parts.fragment),
            fetcher=self._fetcher,
            tokens=self._tokens,
        )

    def find_compute_image(self, image_id: str) -> ComputeImage | None:
        """Do as `Source.find_compute_image`; ids of another form are not asked for.

        Raises:
            UnfitGlanceImageError: it is not active, or no bare disk.
        """
        found = self._api.find_image(image_id) if is_image_id(image_id) else None
        if found is None:
            return None
        self._require_fit(found)
        return self._to_compute_image(found)

    def iter_compute_images(self) -> Iterator[ComputeImage]:
        found = {each.id: each for each in self._api.iter_images() if not _find_fault(each)}
        return (self._to_compute_image(found[each]) for each in sorted(found))

    def find_checksum(self, image: ComputeImage) -> Checksum | None:
        return self._get(image).find_checksum()

    def fingerprint(self, image: ComputeImage) -> GlanceMark:
        return GlanceMark.of_image(self._get(image))

    @contextmanager
    def open_file(self, image: ComputeImage) -> Iterator[RemoteFile | StreamedFile]:
        """Do as `Source.open_file`.

        Raises:
            UnfitGlanceImageError: it is no longer active.
        """
        found = self._get(image)
        mark = GlanceMark.of_image(found)

        def check(expected: str) -> None:
            self._check(image, expected)

        if found.size and not self._has_ranges(image, mark):
            yield StreamedFile(
                name=image.location,
                fingerprint=mark,
                stream=lambda: self._stream(image, found, mark),
                check=check,
            )
            return
        with RemoteFile(
            name=image.location,
            size=found.size,
            fingerprint=mark,
            reader=HttpRanges(
                get=lambda headers: self._get_data(image, mark, headers),
                image=image,
                size=found.size,
                find_change=lambda answer: _find_change(answer, found),
            ),
            check=check,
            requests=REQUESTS,
        ) as file:
            yield file

    def close(self) -> None:
        self._fetcher.close()
        self._tokens.close()

    def _get(self, image: ComputeImage) -> GlanceImage:
        found = self._api.find_image(image.id)
        if found is None:
            raise NotFoundError.of_resource("Image", image.id)
        self._require_fit(found)
        return found

    def _check(self, image: ComputeImage, expected: str) -> None:
        try:
            found = self.fingerprint(image).to_text()
        except NotFoundError as error:
            raise changed(image, "it is gone, or not to be seen any more") from error
        except UnfitGlanceImageError as error:
            raise changed(image, error.message.rstrip(".")) from error
        if found != expected:
            raise changed(image, f"it is {found}, and was {expected}")

    @contextmanager
    def _get_data(
        self,
        image: ComputeImage,
        mark: GlanceMark,
        headers: Mapping[str, str],
        *,
        expected: frozenset[HTTPStatus] = _DATA,
    ) -> Iterator[Answer]:
        """Ask for data; what is answered instead is explained by the image's record, if it can be.

        Glance answers 204 for what its store lacks, also while an image is being deleted.
        """
        with self._api.get_data(image.id, headers) as answer:
            raise_if_busy(answer)
            if answer.status in expected:
                yield answer
                return
        # With the connection given back: those that wait for a second one must not hold the last.
        self._check(image, mark.to_text())
        raise _explain(answer, image)

    def _has_ranges(self, image: ComputeImage, mark: GlanceMark) -> bool:
        def fetch() -> bool:
            headers = {"range": "bytes=0-0"}
            with self._get_data(image, mark, headers, expected=_DATA | _NO_RANGES) as answer:
                if answer.status != HTTPStatus.PARTIAL_CONTENT:
                    return False
                total = find_total(answer)
                if total not in (None, mark.size):
                    raise changed(image, f"Glance says {mark.size} bytes, and has {total}")
                return total is not None

        return persist(fetch)

    def _stream(self, image: ComputeImage, found: GlanceImage, mark: GlanceMark) -> Iterator[bytes]:
        """Fetch the whole data once."""
        size = 0
        with self._get_data(image, mark, {}) as answer:
            why = _find_change(answer, found)
            if why is not None:
                raise changed(image, why)
            for piece in answer.iter_bytes():
                size += len(piece)
                if size > found.size:
                    raise changed(image, f"it has more than {found.size} bytes")
                yield piece
        if size < found.size:
            raise FetchFailedError(
                f"{image.location} broke off after {size} of {found.size} bytes.",
                remedy="Look at Glance and the storage behind it, then try again.",
                facts={"source": self.name, "image_id": image.id},
            )

    def _require_fit(self, found: GlanceImage) -> None:
        fault = _find_fault(found)
        if fault is not None:
            raise UnfitGlanceImageError(
                f"The image {found.id} in the source {self.name} {fault}.",
                remedy="Wait until it is active, or make an active image with the container "
                "format bare of its disk.",
                facts={
                    "source": self.name,
                    "image_id": found.id,
                    "status": found.status,
                    "container_format": found.container_format,
                },
            )

    def _to_compute_image(self, found: GlanceImage) -> ComputeImage:
        return ComputeImage(
            id=found.id, folder_id=self._folder_id, source=self.name, location=found.id
        )


def _explain(answer: Answer, image: ComputeImage) -> CloudDesktopError:
    """Give the error for an image that is as it was, and whose data is not given."""
    facts = {"source": image.source, "image_id": image.id, "http_status": str(answer.status)}
    if answer.status == HTTPStatus.NO_CONTENT:
        return SourceUnreadableError(
            f"Glance of the source {image.source} has no data for its image {image.id}.",
            remedy="See whether the storage behind Glance still has it.",
            facts=facts,
        )
    if answer.status == HTTPStatus.FORBIDDEN:
        return SourceUnreadableError(
            f"Glance of the source {image.source} does not let this server's login read the data "
            f"of the image {image.id} (HTTP 403).",
            remedy="Give it the role member: Glance wants that for downloads.",
            facts=facts,
        )
    return refusal(answer, image)


def _find_fault(image: GlanceImage) -> str | None:
    if image.status != "active":
        return f"has the status {image.status!r}: only active images have data to read"
    if image.container_format != "bare":
        return f"has the container format {image.container_format!r}: only bare disks are read"
    return None


def _find_change(answer: Answer, image: GlanceImage) -> str | None:
    """Compare the MD5 that Glance sends with data, if it does, with the image's."""
    md5 = answer.headers.get("content-md5", "").lower()
    return None if md5 in ("", image.md5) else "its MD5 is another"


def _read_filters(name: str, query: str, fragment: str) -> Sequence[tuple[str, str]]:
    try:
        filters = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        filters = [("", "")]
    wrong = sorted({key or query for key, _ in filters if not key or key in _OWN_FILTERS})
    if wrong or fragment:
        raise InvalidArgumentError(
            f"The source {name} has a URL with what is no filter of images: "
            f"{', '.join(wrong) or fragment}.",
            remedy="Write filters of Glance's list, such as ?visibility=public or ?tag=desktop.",
        )
    return filters
