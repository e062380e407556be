"""What every source is: a place where compute images lie, whichever way they are reached.

A source lists compute images and opens their files. A file of a local folder is a descriptor; a
file that lies on another machine (`remote.RemoteFile`) gives the bytes itself, range by range.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from clouddesktop.errors import AbortedError, FailedPreconditionError
from clouddesktop.model.checksum import Checksum
from clouddesktop.model.image import ComputeImage


class SourceUnreadableError(FailedPreconditionError):
    """The server may not read a file or a list of the source."""

    reason = "SOURCE_UNREADABLE"


class SourceUnsafeError(FailedPreconditionError):
    """The compute image leads out of its source, or is nothing that a disk can be read from."""

    reason = "SOURCE_UNSAFE"


class SourceChangedError(AbortedError):
    """The compute image is not what it was when the copy began; nothing was published."""

    reason = "SOURCE_CHANGED"


class AmbiguousComputeImageError(FailedPreconditionError):
    """Two files claim one id."""

    reason = "AMBIGUOUS_COMPUTE_IMAGE"


class Mark(Protocol):
    """How a file's content is recognised without reading it: its fingerprint.

    `settled` tells that any write after it was taken shows as another one; where it is false, the
    content must not be taken as known later.
    """

    @property
    def settled(self) -> bool: ...

    def to_text(self) -> str:
        """Give a text that is equal exactly if the fingerprints are."""


class SourceFile(Protocol):
    """An open file of a compute image. Thread-safe."""

    @property
    def fd(self) -> int | None:
        """The descriptor of a local file; None: the file gives its bytes itself (`RemoteFile`)."""

    @property
    def fingerprint(self) -> Mark:
        """The one that it had when it was opened, or was settled."""

    def settle(self) -> Mark:
        """Take the fingerprint anew if it is too young to show a later write; may wait 0.1 s."""

    def check_unchanged(self, expected: str) -> None:
        """Check the open file, and the one that has its name now, against a fingerprint's text.

        Raises:
            SourceChangedError: the file was written to, replaced or removed.
        """


class Source(Protocol):
    """One configured place. Thread-safe; every method may wait."""

    @property
    def name(self) -> str:
        """The name from its setting."""

    def find_compute_image(self, image_id: str) -> ComputeImage | None:
        """Find an image by its id.

        Raises:
            AmbiguousComputeImageError: several files have that id.
            UnavailableError, SourceUnreadableError: the source cannot be listed.
        """

    def iter_compute_images(self) -> Iterator[ComputeImage]:
        """List the images by id; files that share an id each come, by name."""

    def find_checksum(self, image: ComputeImage) -> Checksum | None:
        """Find the checksum that the source has for an image's file; None without one."""

    def fingerprint(self, image: ComputeImage) -> Mark:
        """Take the fingerprint of an image's file without opening it.

        Raises:
            NotFoundError: the file is gone.
            SourceUnsafeError, SourceUnreadableError, UnavailableError: as open_file says.
        """

    def open_file(self, image: ComputeImage) -> AbstractContextManager[SourceFile]:
        """Open an image's file for reading.

        Raises:
            NotFoundError: the file is gone.
            SourceUnsafeError: it leads out of the source.
            SourceUnreadableError: the server may not read it.
            UnavailableError: the storage fails, for now.
        """


def find_only(name: str, image_id: str, images: Iterator[ComputeImage]) -> ComputeImage | None:
    """Find the one image with this id among those of the source called `name`.

    Raises:
        AmbiguousComputeImageError: several files have that id.
    """
    found = [each for each in images if each.id == image_id]
    if len(found) > 1:
        names = " and ".join(each.location for each in found)
        raise AmbiguousComputeImageError(
            f"Several files in the source {name} are the compute image {image_id}: {names}.",
            remedy="Rename or remove all but one of them.",
            facts={"source": name, "image_id": image_id, "files": names},
        )
    return found[0] if found else None
