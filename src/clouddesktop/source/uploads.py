"""Files that callers send, kept until they are imported or their time is over.

    uploads/<id>         the bytes that have come so far
    uploads/<id>.json    how many there will be, whose they are, and for which folder

They survive a restart. A whole one can be opened as a source's file; none is ever listed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from clouddesktop.errors import (
    AbortedError,
    FailedPreconditionError,
    NotFoundError,
    ResourceExhaustedError,
)
from clouddesktop.ids import Prefix, new_id
from clouddesktop.model.checksum import Checksum
from clouddesktop.model.image import ComputeImage
from clouddesktop.source.folder import FolderSource

UPLOAD_SOURCE = ":upload"
"""The source's name; no configured source can have it, for the colon."""

_ID = re.compile(r"[a-z0-9]{20}")


class UploadTooLargeError(ResourceExhaustedError):
    """The file is larger than any that is taken."""

    reason = "UPLOAD_TOO_LARGE"


class UploadsFullError(ResourceExhaustedError):
    """There is no room for more bytes; what has come stays until it expires."""

    reason = "UPLOADS_FULL"


class UploadOffsetError(AbortedError):
    """The bytes do not go on where those before them ended."""

    reason = "UPLOAD_OFFSET"


class UploadIncompleteError(FailedPreconditionError):
    """Some of the file has not come yet."""

    reason = "UPLOAD_INCOMPLETE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that is being sent. Sizes are bytes, `expires_at` seconds since 1970."""

    id: str
    owner: str
    folder_id: str
    name: str
    size: int
    expires_at: float


class Uploads:
    """The files that callers have sent; thread-safe, and for several processes on one folder."""

    def __init__(self, folder: Path, *, most_bytes: int, expire_seconds: float) -> None:
        """Keep files in `folder`, made when it is first needed, for `expire_seconds` each."""
        self._folder = folder
        self._expire_seconds = expire_seconds
        self.most_bytes = most_bytes

    def create(self, *, owner: str, folder_id: str, name: str, size: int) -> Upload:
        """Take note of a file of `size` bytes that will come.

        Raises:
            UploadTooLargeError: that is more than a file may have.
        """
        self.remove_expired()
        if size > self.most_bytes:
            raise UploadTooLargeError(
                f"The file has {size} bytes; files of up to {self.most_bytes} are taken.",
                remedy="Have the operator raise the setting upload_size, or import it from a URL.",
            )
        upload = Upload(
            id=new_id(Prefix.UPLOAD),
            owner=owner,
            folder_id=folder_id,
            name=name,
            size=size,
            expires_at=time.time() + self._expire_seconds,
        )
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _no_room():
            self._data(upload.id).touch(mode=0o600)
            self._info(upload.id).write_text(json.dumps(asdict(upload)))
        return upload

    def get(self, upload_id: str, *, owner: str) -> Upload:
        """Give what is known of one's own upload.

        Raises:
            NotFoundError: there is none, it has expired, or it is another one's.
        """
        missing = NotFoundError.of_resource("Upload", upload_id)
        if not _ID.fullmatch(upload_id):
            raise missing
        try:
            upload = Upload(**json.loads(self._info(upload_id).read_text()))
        except FileNotFoundError:
            raise missing from None
        if upload.owner != owner or upload.expires_at <= time.time():
            raise missing
        return upload

    def offset_of(self, upload: Upload) -> int:
        """Tell how many bytes have come."""
        return self._data(upload.id).stat().st_size

    @contextmanager
    def appending(self, upload: Upload, offset: int) -> Iterator[UploadWriter]:
        """Go on with a file; what was written is kept, and durable once its writer has synced it.

        Raises:
            NotFoundError: it was deleted.
            UploadOffsetError: `offset` is not where the file ends, or somebody else is writing.
        """
        with self._open_to_append(upload) as file:
            is_free = _lock(file.fileno())  # until the file is closed
            found = self.offset_of(upload)
            if not is_free or found != offset:
                raise UploadOffsetError(
                    f"The upload {upload.id} goes on at byte {found}, not {offset}."
                    if is_free
                    else f"The upload {upload.id} is being written to.",
                    remedy="Ask where it goes on, by HEAD.",
                )
            yield UploadWriter(file.fileno(), left=upload.size - offset)

    def _open_to_append(self, upload: Upload) -> BinaryIO:
        try:
            return os.fdopen(os.open(self._data(upload.id), os.O_WRONLY | os.O_APPEND), "ab")
        except FileNotFoundError:
            raise NotFoundError.of_resource("Upload", upload.id) from None

    def delete(self, upload: Upload) -> None:
        """Forget an upload; an import that has opened it goes on."""
        for path in (self._info(upload.id), self._data(upload.id)):
            path.unlink(missing_ok=True)

    def remove_expired(self) -> None:
        """Remove what nobody has imported in time."""
        if not self._folder.is_dir():
            return
        for path in self._folder.glob("*.json"):
            with suppress(OSError, ValueError, KeyError):
                if json.loads(path.read_text())["expires_at"] <= time.time():
                    path.unlink()
                    path.with_suffix("").unlink(missing_ok=True)

    def to_compute_image(self, upload: Upload) -> ComputeImage:
        """Give a whole upload as what a copy reads.

        Raises:
            UploadIncompleteError: it is not whole.
        """
        offset = self.offset_of(upload)
        if offset != upload.size:
            raise UploadIncompleteError(
                f"Of the upload {upload.id} {offset} bytes of {upload.size} have come.",
                remedy="Send the rest, then import it.",
                facts={"offset": str(offset), "size": str(upload.size)},
            )
        return ComputeImage(
            id="", folder_id=upload.folder_id, source=UPLOAD_SOURCE, location=upload.id
        )

    def _data(self, upload_id: str) -> Path:
        return self._folder / upload_id

    def _info(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}.json"


class UploadWriter:
    """Takes the bytes of one request. Both methods wait for the disk: call them from threads."""

    def __init__(self, fd: int, *, left: int) -> None:
        self._fd = fd
        self._left = left

    def write(self, piece: bytes) -> None:
        """Append bytes.

        Raises:
            UploadTooLargeError: they are more than the file was said to have; none is kept.
            UploadsFullError: the disk is full.
        """
        if len(piece) > self._left:
            raise UploadTooLargeError(
                "More bytes have come than the file was said to have.",
                remedy="Begin anew, with the right Upload-Length.",
            )
        view = memoryview(piece)
        while view:
            with _no_room():
                written = os.write(self._fd, view)
            self._left -= written
            view = view[written:]

    def sync(self) -> None:
        """Make what was written durable."""
        os.fsync(self._fd)


class UploadSource(FolderSource):
    """Whole uploads, as files that imports open by their ids; none is listed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(name=UPLOAD_SOURCE, folder_id="", root=folder)

    def find_compute_image(self, image_id: str) -> ComputeImage | None:  # noqa: ARG002  (a source's)
        return None

    def iter_compute_images(self) -> Iterator[ComputeImage]:
        return iter(())

    def find_checksum(self, image: ComputeImage) -> Checksum | None:  # noqa: ARG002  (a source's)
        return None


def _lock(fd: int) -> bool:
    """Keep other writers out, in other processes too; False when one of them is at work."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _no_room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UploadsFullError(
            "There is no room for uploads.",
            remedy="Have the operator free some space in the data folder, then go on.",
            retry_after_seconds=60,
        ) from error
