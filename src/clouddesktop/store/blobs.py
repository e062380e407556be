"""Blobs: what lies under one key of the store. Written once, never changed.

    format.json                    what this is: {"format", "id", "version"}
    packs/<operation>/<name>       chunks, written together; the two parts are the pack's id
    manifests/<2 hex>/<64 hex>     an image's chunks in order, named by the digest of the content
    staging/…                      local folders only: blobs being written (local.py)

Errors of obstore and of the file system become ours here and nowhere else.
"""

from __future__ import annotations

import errno
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError
from obstore.store import LocalStore, ObjectStore

from clouddesktop.errors import (
    CloudDesktopError,
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
    UnimplementedError,
)
from clouddesktop.store.codec import Buffer
from clouddesktop.store.local import LocalFolder

FORMAT_KEY = "format.json"
VERSION = 1

_FORMAT = "clouddesktop-store"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_LIST_BATCH = 1000


class StoreFullError(ResourceExhaustedError):
    """The store has no room for a blob; nothing of it stayed."""

    reason = "STORE_FULL"


class StoreForbiddenError(FailedPreconditionError):
    """The server may not read or write its store."""

    reason = "STORE_FORBIDDEN"


class StoreUnavailableError(UnavailableError):
    """The store does not answer as it should, for now."""

    reason = "STORE_UNAVAILABLE"


class NotAStoreError(FailedPreconditionError):
    """The place holds other things than a store of ours."""

    reason = "NOT_A_STORE"


class StoreTooNewError(FailedPreconditionError):
    """A later version of clouddesktop has written this store."""

    reason = "STORE_TOO_NEW"


class BlobNotFoundError(NotFoundError):
    """There is no blob under the key."""

    reason = "BLOB_NOT_FOUND"


class BlobConflictError(DataLossError):
    """A blob of another size is under the key already; it was left as it is."""

    reason = "BLOB_CONFLICT"


class ShortBlobError(DataLossError):
    """A blob ends before the bytes that were asked for; `size` is what it has."""

    reason = "SHORT_BLOB"

    def __init__(self, message: str, *, size: int = 0, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.size = size


def open_store(url: str) -> BlobStore:
    """Open the store at `file:///DIR`; makes it when there is nothing yet.

    Raises:
        NotAStoreError: the folder holds other things.
        StoreTooNewError: a later version has written it.
        UnimplementedError: the URL is of a kind that comes later.
    """
    if url.startswith("s3://"):
        raise UnimplementedError(
            "Stores in S3 are not served yet.", remedy="Use --store file:///DIR."
        )
    path = unquote(url.removeprefix("file://").removeprefix("localhost"))
    if not url.startswith("file://") or not path.startswith("/"):
        raise InvalidArgumentError(
            f"The store setting {url} is neither file:///DIR nor s3://BUCKET/PREFIX.",
            remedy="Use --store file:///DIR with an absolute path, or leave it out.",
        )
    with _translated(path):
        if Path(path).exists() and not Path(path).is_dir():
            raise NotAStoreError(f"{path} is no folder.", remedy="Name an empty folder.")
        folder = LocalFolder(Path(path))
        store = LocalStore(folder.root)
    blobs = BlobStore(store, name=path, folder=folder)
    blobs.check_format()
    return blobs


class BlobStore:
    """Puts, gets, lists and deletes blobs; thread-safe. Keys are given by code, never by callers.

    `name` is what people call the store; `folder` belongs to a store on a local file system.
    """

    def __init__(self, store: ObjectStore, *, name: str, folder: LocalFolder | None = None) -> None:
        self.name = name
        self._store = store
        self._folder = folder

    def check_format(self) -> str:
        """Give the store's id, and mark a store that is empty as ours with a new one.

        Raises:
            NotAStoreError: there are other things here, and no mark of ours.
            StoreTooNewError: the mark is of a later version.
        """
        try:
            return self._read_format()
        except BlobNotFoundError:
            if not self._is_fresh():
                raise NotAStoreError(
                    f"{self.name} is not empty and holds no {FORMAT_KEY}, so it is no store.",
                    remedy="Name an empty folder, or put the store's own folder back.",
                ) from None
        mark = {"format": _FORMAT, "id": str(uuid.uuid4()), "version": VERSION}
        self.put(FORMAT_KEY, json.dumps(mark, sort_keys=True).encode() + b"\n")
        return self._read_format()  # another process may have been first

    def read_id(self) -> str:
        """Give the store's id; unlike `check_format`, it never makes one.

        Raises:
            BlobNotFoundError: there is no store here (any more).
        """
        return self._read_format()

    def put(self, key: str, data: Buffer) -> bool:
        """Store a blob; durable on return. False means that one of this size was there already.

        `data` is not copied on its way. After a failure or a crash there is either the whole blob
        under the key or none.

        Raises:
            StoreFullError: there is no room.
            BlobConflictError: one of another size is there.
        """
        _check_key(key)
        with self._translated():
            try:
                if self._folder is None:
                    obstore.put(self._store, key, data, mode="create", use_multipart=False)
                else:
                    self._put_local(self._folder, key, data)
            except AlreadyExistsError:
                pass
            else:
                return True
            if self._folder is not None:  # whoever put it may not have come to this yet
                self._folder.sync_file(key)
                self._folder.sync_names(key)
        size = self.size(key)
        if size != len(data):
            raise BlobConflictError(
                f"{key} in the store {self.name} has {size} bytes and should have {len(data)}.",
                remedy="Check the store's disk.",
                facts={"key": key},
            )
        return False

    def get(self, key: str) -> memoryview:
        """Read a whole blob.

        Raises:
            BlobNotFoundError: there is none.
        """
        with self._translated(_check_key(key)):
            return memoryview(obstore.get(self._store, key).bytes())

    def get_range(self, key: str, *, offset: int, length: int) -> memoryview:
        """Read `length` bytes of a blob.

        Raises:
            BlobNotFoundError: there is no such blob.
            ShortBlobError: it ends before.
        """
        if offset < 0 or length < 1:
            raise ValueError(f"{length} bytes at {offset}")
        data = None
        try:
            with self._translated(_check_key(key)):
                data = memoryview(obstore.get_range(self._store, key, start=offset, length=length))
        except StoreUnavailableError:  # so are ranges answered that begin past the end
            if self.size(key) >= offset + length:
                raise
        if data is None or len(data) != length:
            size = self.size(key)
            raise ShortBlobError(
                f"{key} in the store {self.name} ends after {size} bytes.",
                size=size,
                remedy="Check the store's disk.",
                facts={"key": key},
            )
        return data

    def size(self, key: str) -> int:
        """Give a blob's size in bytes.

        Raises:
            BlobNotFoundError: there is none.
        """
        with self._translated(_check_key(key)):
            return obstore.head(self._store, key)["size"]

    def iter_keys(self, prefix: str) -> Iterator[str]:
        """Go through the keys below a prefix of whole path segments, in no order.

        What is put or deleted meanwhile may show or not.
        """
        with self._translated():
            for batch in obstore.list(
                self._store, _check_key(prefix), chunk_size=_LIST_BATCH, return_arrow=False
            ):
                for each in batch:
                    yield each["path"]

    def delete(self, key: str) -> None:
        """Delete a blob, durably; one that is not there is fine."""
        try:
            with self._translated(_check_key(key)):
                obstore.delete(self._store, key)
        except BlobNotFoundError:
            pass
        with self._translated():
            if self._folder is not None:
                self._folder.prune(key)
                self._folder.sync_names(key)

    def _put_local(self, folder: LocalFolder, key: str, data: Buffer) -> None:
        staged = folder.stage()
        try:
            folder.write(staged, data)
            with folder.naming:
                # A hard link, so it fails if the name is taken, and what the name shows is whole.
                obstore.rename(self._store, staged, key, overwrite=False)
        finally:
            folder.discard(staged)
        folder.sync_names(key)

    def _is_fresh(self) -> bool:
        with self._translated():
            if self._folder is not None:
                return self._folder.is_fresh()
            return not any(obstore.list(self._store, chunk_size=1))

    def _read_format(self) -> str:
        raw = bytes(self.get(FORMAT_KEY))
        try:
            mark = json.loads(raw)
            name, version, store_id = mark["format"], int(mark["version"]), str(mark["id"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataLossError(
                f"{FORMAT_KEY} in the store {self.name} cannot be read.",
                remedy="Restore it from a backup; docs/store-format.md says what is in it.",
            ) from error
        if name != _FORMAT:
            raise NotAStoreError(
                f"{self.name} holds a {FORMAT_KEY} of something else.",
                remedy="Name an empty folder, or put the store's own folder back.",
            )
        if version > VERSION:
            raise StoreTooNewError(
                f"The store {self.name} is of format version {version};"
                f" this release reads {VERSION}.",
                remedy="Use the release that has written it, or a later one.",
            )
        return store_id

    @contextmanager
    def _translated(self, key: str | None = None) -> Iterator[None]:
        with _translated(self.name, key):
            yield


@contextmanager
def _translated(name: str, key: str | None = None) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if key is None:
            raise _unavailable(name, str(error)) from error
        raise BlobNotFoundError(
            f"There is no {key} in the store {name}.", facts={"key": key}
        ) from error
    except (BaseError, OSError) as error:
        raise _to_ours(name, error) from error


def _to_ours(name: str, error: BaseError | OSError) -> CloudDesktopError:
    number = _number_of(error)
    if number in {errno.ENOSPC, errno.EDQUOT}:
        return StoreFullError(
            f"The store {name} is full.",
            remedy="Free some space there, or give the store a larger disk; then try again.",
        )
    if number in {errno.EACCES, errno.EPERM, errno.EROFS} or isinstance(
        error, PermissionDeniedError
    ):
        return StoreForbiddenError(
            f"The server may not read or write the store {name}: {_first_line(error)}.",
            remedy="Give the store to the user that the server runs as.",
        )
    return _unavailable(name, _first_line(error))


def _number_of(error: BaseError | OSError) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    found = _OS_ERROR.search(str(error))  # obstore hands the number over in its text only
    return int(found[1]) if found else None


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def _unavailable(name: str, why: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"The store {name} does not work: {why}.",
        remedy="Look after its disk, then try again.",
        facts={"store": name},
    )


def _check_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no key of a store.")
    return key
