"""A local folder as a source: every disk image file directly in it is a compute image."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clouddesktop.errors import NotFoundError, UnavailableError
from clouddesktop.model.checksum import Checksum
from clouddesktop.model.image import ComputeImage
from clouddesktop.source.base import (
    SourceChangedError,
    SourceUnreadableError,
    SourceUnsafeError,
    find_only,
)
from clouddesktop.source.fingerprint import SETTLED_SECONDS, Fingerprint
from clouddesktop.source.listing import find_beside
from clouddesktop.source.naming import find_image_id

_MOST_SUMS = 8 << 20


class FolderFile:
    """An open file of a compute image, and the fingerprint that it had when it was opened."""

    def __init__(self, *, fd: int, image: ComputeImage, folder: FolderSource) -> None:
        self.fd = fd
        self.fingerprint = Fingerprint.of_status(os.fstat(fd))
        self._image = image
        self._folder = folder

    def settle(self) -> Fingerprint:
        """Take the fingerprint anew if it is too young to show a later write; may wait 0.1 s."""
        if not self.fingerprint.settled:
            time.sleep(SETTLED_SECONDS)
            self.fingerprint = Fingerprint.of_status(os.fstat(self.fd))
        return self.fingerprint

    def check_unchanged(self, expected: str) -> None:
        """Check the open file, and the one that has its name now, against a fingerprint's text.

        Raises:
            SourceChangedError: the file was written to, replaced or removed.
        """
        found = Fingerprint.of_status(os.fstat(self.fd)).to_text()
        if found == expected:
            try:
                found = self._folder.fingerprint(self._image).to_text()
            except (NotFoundError, SourceUnsafeError):
                found = "gone"
        if found != expected:
            raise SourceChangedError(
                f"The file {self._image.location} in the source {self._image.source} "
                "changed while it was copied.",
                remedy="Wait until nothing writes to it or replaces it, then copy it again.",
                facts={"expected": expected, "found": found, **_facts(self._image)},
            )


class FolderSource:
    """Compute images in one folder of the file system; folders inside it are not looked into."""

    def __init__(self, *, name: str, folder_id: str, root: Path) -> None:
        """Serve the images in `root`, which belong to the API's folder `folder_id`."""
        self.name = name
        self._folder_id = folder_id
        self._root = root

    def find_compute_image(self, image_id: str) -> ComputeImage | None:
        """Find an image by its id.

        Raises:
            AmbiguousComputeImageError: several files have that id.
            UnavailableError, SourceUnreadableError: the folder cannot be listed.
        """
        return find_only(self.name, image_id, self.iter_compute_images())

    def iter_compute_images(self) -> Iterator[ComputeImage]:
        """List the images by id; files that share an id each come, by name."""
        return iter(self._scan())

    def url_of(self, image: ComputeImage) -> str:
        """Give the file: URL of an image's file."""
        return (self._root.absolute() / image.location).as_uri()

    def find_checksum(self, image: ComputeImage) -> Checksum | None:
        """Find it in `<file>.sha256` and the like, or in `SHA256SUMS` and the like."""
        return find_beside(image.location, self._read_text)

    def _read_text(self, name: str) -> str | None:
        # Most files have none of the names beside them that are asked for: one look tells.
        if not os.path.lexists(self._root / name):
            return None
        beside = ComputeImage(id=name, folder_id=self._folder_id, source=self.name, location=name)
        try:
            with self.open_file(beside) as file:
                return os.pread(file.fd, _MOST_SUMS, 0).decode("utf-8", "replace")
        except (NotFoundError, SourceUnsafeError):
            return None

    def fingerprint(self, image: ComputeImage) -> Fingerprint:
        """Take the fingerprint of an image's file, without the right to read it.

        Raises:
            NotFoundError: the file is gone.
            SourceUnsafeError, SourceUnreadableError, UnavailableError: as open_file says.
        """
        with self._locate(image) as located:
            return Fingerprint.of_status(os.fstat(located))

    @contextmanager
    def open_file(self, image: ComputeImage) -> Iterator[FolderFile]:
        """Open an image's file for reading.

        Raises:
            NotFoundError: the file is gone.
            SourceUnsafeError: it is no regular file, or lies outside the source.
            SourceUnreadableError: the server's user may not read it.
            UnavailableError: the storage fails.
        """
        with self._locate(image) as located, self._translated(image):
            # The very file that was looked at, whatever its name stands for by now.
            fd = os.open(f"/proc/self/fd/{located}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            yield FolderFile(fd=fd, image=image, folder=self)
        finally:
            os.close(fd)

    @contextmanager
    def _locate(self, image: ComputeImage) -> Iterator[int]:
        """Find the file without opening it: opening a device or a pipe has effects."""
        with self._translated(image):
            root_fd = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fd = os.open(image.location, os.O_PATH | os.O_CLOEXEC, dir_fd=root_fd)
                root = Path(f"/proc/self/fd/{root_fd}").readlink()
            finally:
                os.close(root_fd)
        try:
            if not Path(f"/proc/self/fd/{fd}").readlink().is_relative_to(root):
                raise SourceUnsafeError(
                    f"The file {image.location} in the source {self.name} is a link "
                    "that leads out of the source.",
                    remedy="Put the file itself into the folder, or make its folder a source.",
                    facts=_facts(image),
                )
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise SourceUnsafeError(
                    f"{image.location} in the source {self.name} is not a regular file.",
                    remedy="Put a disk image file in its place.",
                    facts=_facts(image),
                )
            yield fd
        finally:
            os.close(fd)

    def _scan(self) -> list[ComputeImage]:
        images: list[ComputeImage] = []
        try:
            with os.scandir(self._root) as entries:
                for entry in entries:
                    image_id = find_image_id(entry.name)
                    if image_id is not None and _is_file(entry):
                        images.append(
                            ComputeImage(
                                id=image_id,
                                folder_id=self._folder_id,
                                source=self.name,
                                location=entry.name,
                            )
                        )
        except PermissionError as error:
            raise SourceUnreadableError(
                f"The folder {self._root} of the source {self.name} cannot be read: "
                "the server's user has no permission.",
                remedy="Give the server's user the right to list the folder (`chmod`, `setfacl`).",
                facts={"source": self.name, "folder": str(self._root)},
            ) from error
        except OSError as error:
            raise UnavailableError(
                f"The folder {self._root} of the source {self.name} cannot be listed: "
                f"{error.strerror}.",
                remedy="See that the folder is there and its storage is mounted.",
                facts={"source": self.name, "folder": str(self._root)},
            ) from error
        return sorted(images, key=lambda each: (each.id, each.location))

    @contextmanager
    def _translated(self, image: ComputeImage) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise NotFoundError.of_resource("Image", image.id) from error
            if error.errno in (errno.EACCES, errno.EPERM):
                raise SourceUnreadableError(
                    f"The file {image.location} in the source {self.name} cannot be read: "
                    "the server's user has no permission.",
                    remedy="Give the server's user the right to read it (`chmod`, `setfacl`).",
                    facts=_facts(image),
                ) from error
            raise UnavailableError(
                f"The file {image.location} in the source {self.name} cannot be opened: "
                f"{error.strerror}.",
                remedy="Look at the health of the storage that the file lies on, then try again.",
                facts=_facts(image),
            ) from error


def _is_file(entry: os.DirEntry[str]) -> bool:
    # A link counts by what it leads to; whether that is inside the source is seen at its opening.
    try:
        return entry.is_file()
    except OSError:  # a link that goes in circles, a mount that is gone: a matter of this id alone
        return True


def _facts(image: ComputeImage) -> dict[str, str]:
    return {"source": image.source, "image_id": image.id, "file": image.location}
