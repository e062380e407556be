"""The configured sources together: finds a compute image wherever it lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import structlog

from clouddesktop.errors import (
    CloudDesktopError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from clouddesktop.model.checksum import Checksum
from clouddesktop.model.image import ComputeImage
from clouddesktop.s3 import S3Access
from clouddesktop.source.base import (
    AmbiguousComputeImageError,
    Mark,
    Source,
    SourceFile,
    SourceUnreadableError,
)
from clouddesktop.source.folder import FolderSource
from clouddesktop.source.glance import GlanceSource
from clouddesktop.source.https import HttpsSource
from clouddesktop.source.keystone import OpenStackAccess
from clouddesktop.source.s3 import S3Source
from clouddesktop.source.uri import UriSource

_STALL_SECONDS = 30.0

_log = structlog.get_logger(__name__)


class SourceCatalogue:
    """All sources of one server, by name."""

    def __init__(self, sources: Sequence[Source]) -> None:
        """Serve the images of these sources.

        Raises:
            InvalidArgumentError: two sources have one name.
        """
        self._sources = {each.name: each for each in sources}
        if len(self._sources) < len(sources):
            names = ", ".join(each.name for each in sources)
            raise InvalidArgumentError(
                f"Two sources have one name: {names}.", remedy="Give each source a name of its own."
            )

    def get_compute_image(self, image_id: str) -> ComputeImage:
        """Find an image by its id.

        Raises:
            NotFoundError: no source has it.
            AmbiguousComputeImageError: several files, in one source or in several, have that id.
        """
        candidates = [each.find_compute_image(image_id) for each in self._sources.values()]
        found = [each for each in candidates if each is not None]
        if not found:
            raise NotFoundError.of_resource("Image", image_id)
        if len(found) > 1:
            names = " and ".join(f"{each.location} in {each.source}" for each in found)
            raise AmbiguousComputeImageError(
                f"Several sources have the compute image {image_id}: {names}.",
                remedy="Rename or remove all but one of the files.",
                facts={"image_id": image_id, "files": names},
            )
        return found[0]

    def find_compute_image(self, image_id: str) -> ComputeImage | None:
        """Do as `get_compute_image`; None if no source has it."""
        try:
            return self.get_compute_image(image_id)
        except NotFoundError:
            return None

    def iter_compute_images(self) -> Iterator[ComputeImage]:
        """Go through the images of every source that can be listed now."""
        for source in self._sources.values():
            try:
                yield from list(source.iter_compute_images())
            except (UnavailableError, SourceUnreadableError) as error:
                _log.warning("source not listed", source=source.name, why=error.message)

    def find_unreachable(self) -> dict[str, CloudDesktopError]:
        """Map the names of sources that cannot be listed now to why."""
        found: dict[str, CloudDesktopError] = {}
        for source in self._sources.values():
            try:
                next(iter(source.iter_compute_images()), None)
            except CloudDesktopError as error:
                found[source.name] = error
        return found

    def is_gone(self, image: ComputeImage) -> bool:
        """Tell whether an image's source, or its file there, is no more; False if nobody knows."""
        source = self._sources.get(image.source)
        if source is None or isinstance(source, UriSource):
            return source is None
        try:
            source.fingerprint(image)
        except NotFoundError:
            return True
        except CloudDesktopError:
            return False
        return False

    @property
    def names(self) -> frozenset[str]:
        """Of the sources."""
        return frozenset(self._sources)

    def find_at(self, url: str) -> ComputeImage | None:
        """Find the image at a file: or s3: URL, if it lies in a source."""
        for source in self._sources.values():
            if not isinstance(source, (FolderSource, S3Source)):
                continue
            for image in source.iter_compute_images():
                if source.url_of(image) == url:
                    return image
        return None

    def fingerprint(self, image: ComputeImage) -> Mark:
        """Take the fingerprint of an image, as Source.fingerprint does."""
        return self._source_of(image).fingerprint(image)

    def find_checksum(self, image: ComputeImage) -> Checksum | None:
        """Find the checksum that its source has for an image's file."""
        return self._source_of(image).find_checksum(image)

    def open_file(self, image: ComputeImage) -> AbstractContextManager[SourceFile]:
        """Open an image's file, as Source.open_file does."""
        return self._source_of(image).open_file(image)

    def _source_of(self, image: ComputeImage) -> Source:
        source = self._sources.get(image.source)
        if source is None:  # a copy outlives the configuration that it was started under
            raise NotFoundError.of_resource("Image", image.id)
        return source


def parse_source(
    *,
    name: str,
    url: str,
    folder_id: str,
    ca_file: Path | None = None,
    stall_seconds: float = _STALL_SECONDS,
    openstack: OpenStackAccess | None = None,
    s3: S3Access | None = None,
) -> Source:
    """Make a source from its setting.

    `ca_file` has further authorities that servers' certificates may come from; a transfer that
    gives nothing for `stall_seconds` is cut. `openstack` is how to log in at Glance, `s3` how S3 is
    reached.

    Raises:
        InvalidArgumentError: the URL is none, or not of a folder that is there.
        FetchForbiddenError: the URL is none that is fetched from.
    """
    parts = urlsplit(url)
    if parts.scheme in ("glance+https", "glance+http"):
        return GlanceSource(
            name=name,
            folder_id=folder_id,
            url=url.partition("+")[2],
            access=openstack,
            ca_file=None if ca_file is None else str(ca_file),
            stall_seconds=stall_seconds,
        )
    if parts.scheme in ("https", "http"):
        return HttpsSource(
            name=name,
            folder_id=folder_id,
            url=url,
            ca_file=None if ca_file is None else str(ca_file),
            stall_seconds=stall_seconds,
        )
    if parts.scheme == "s3":
        return S3Source(
            name=name,
            folder_id=folder_id,
            url=url,
            access=s3 or S3Access(),
            ca_file=ca_file,
            stall_seconds=stall_seconds,
        )
    path = Path(unquote(parts.path))
    is_local = parts.scheme == "file" and parts.netloc in ("", "localhost") and path.is_absolute()
    if not is_local or parts.query or parts.fragment:
        raise InvalidArgumentError(
            f"The source {name} has a URL that is not understood: {url}.",
            remedy="Write file:///DIR with the folder's absolute path (%23 for #, %3F for ?).",
        )
    if not path.is_dir():
        raise InvalidArgumentError(
            f"The source {name} is not a folder: {path}.",
            remedy="Make the folder, or correct the source's URL.",
        )
    return FolderSource(name=name, folder_id=folder_id, root=path)
