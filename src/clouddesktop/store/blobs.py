"""Blobs: what lies under one key of the store. Written once, never changed.

format.json                    what this is: {"format", "id", "version"}
packs/<operation>/<name>       chunks, written together; the two parts are the pack's id
manifests/<2 hex>/<64 hex>     an image's chunks in order, named by the digest of the content
staging/…                      local folders only: blobs being written (local.py)
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, ObjectStore

from clouddesktop.errors import DataLossError, InvalidArgumentError
from clouddesktop.s3 import S3Access, S3Answer
from clouddesktop.store.bucket import Bucket, open_bucket
from clouddesktop.store.bucket_faults import out_of_reach, unfit
from clouddesktop.store.codec import Buffer
from clouddesktop.store.faults import (
    BlobConflictError,
    BlobNotFoundError,
    NotAStoreError,
    ShortBlobError,
    StoreOutOfReachError,
    StoreTooNewError,
    StoreUnavailableError,
    translated,
)
from clouddesktop.store.local import LocalFolder

T = TypeVar("T")

FORMAT_KEY = "format.json"
VERSION = 1

_FORMAT = "clouddesktop-store"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_PROBE = "probe"
"""A key that no blob ever has."""
_LIST_BATCH = 1000


def open_store(
    url: str, *, access: S3Access | None = None, ca_file: Path | None = None
) -> BlobStore:
    """Open the store at `file:///DIR` or `s3://BUCKET/PREFIX`; makes it when there is nothing yet.

    Args:
        url: where it is; the bucket must exist.
        access: how S3 is reached.
        ca_file: PEM file of further authorities for the certificate of the S3 server.

    Raises:
        InvalidArgumentError: the URL is of neither form.
        NotAStoreError: other things are there.
        StoreTooNewError: a later version has written it.
        StoreForbiddenError, StoreMisplacedError, StoreUnfitError: S3 will not do as it is set up.
        StoreUnavailableError: the store does not answer.
    """
    if url.startswith("s3://"):
        blobs = _open_bucket(url, access, ca_file)
        blobs.check_format()
        blobs.check_fitness()
        return blobs
    blobs = _open_folder(_read_folder(url))
    blobs.check_format()
    return blobs


def open_existing_store(
    url: str, *, access: S3Access | None = None, ca_file: Path | None = None
) -> BlobStore:
    """Open the store at a URL as `open_store` does, but make and try nothing.

    Raises:
        BlobNotFoundError: there is none.
        CloudDesktopError: as `open_store` says.
    """
    if url.startswith("s3://"):
        blobs = _open_bucket(url, access, ca_file)
    else:
        path = _read_folder(url)
        if not (path / FORMAT_KEY).exists():
            raise BlobNotFoundError(f"There is no {FORMAT_KEY} in {path}.")
        blobs = _open_folder(path)
    blobs.read_id()
    return blobs


def _open_bucket(url: str, access: S3Access | None, ca_file: Path | None) -> BlobStore:
    bucket = open_bucket(url, access or S3Access(), ca_file=ca_file)
    return BlobStore(bucket.reading, name=bucket.name, bucket=bucket)


def _read_folder(url: str) -> Path:
    path = unquote(url.removeprefix("file://").removeprefix("localhost"))
    if not url.startswith("file://") or not path.startswith("/"):
        raise InvalidArgumentError(
            f"The store setting {url} is neither file:///DIR nor s3://BUCKET/PREFIX.",
            remedy="Use --store file:///DIR with an absolute path, or leave it out.",
        )
    return Path(path)


def _open_folder(path: Path) -> BlobStore:
    with translated(str(path)):
        if path.exists() and not path.is_dir():
            raise NotAStoreError(f"{path} is no folder.", remedy="Name an empty folder.")
        folder = LocalFolder(path)
        return BlobStore(LocalStore(folder.root), name=str(path), folder=folder)


class BlobStore:
    """Puts, gets, lists and deletes blobs; thread-safe. Keys are given by code, never by callers.

    `name` is what people call the store; `folder` belongs to a store on a local file system,
    `bucket` to one in S3.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        name: str,
        folder: LocalFolder | None = None,
        bucket: Bucket | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        """Use `waiting` rather than `check`."""
        self.name = name
        self._store = store
        self._folder = folder
        self._bucket = bucket
        self._check = check

    def waiting(self, check: Callable[[], None]) -> BlobStore:
        """Give the same store for long work: what is out of reach is waited for, without end.

        `check` is called several times a second meanwhile; what it raises ends the wait.
        """
        return BlobStore(
            self._store, name=self.name, folder=self._folder, bucket=self._bucket, check=check
        )

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

    def check_fitness(self) -> None:
        """See that the store does what it will be asked for: to list, to create, to delete.

        Changes nothing: the mark is put anew, which has to be refused, or it is the same.

        Raises:
            StoreForbiddenError: the key lacks a right.
            StoreUnfitError: the server writes over what is there.
        """
        mark = bytes(self.get(FORMAT_KEY))
        list(self.iter_keys(_PROBE))
        self.delete(_PROBE)
        if self.put(FORMAT_KEY, mark):
            raise unfit(self.name, "its server writes over what is there")

    def put(self, key: str, data: Buffer) -> bool:
        """Store a blob; durable on return. False means that one of this size was there already.

        `data` is not copied on its way. After a failure or a crash there is either the whole blob
        under the key or none.

        Raises:
            StoreFullError: there is no room.
            BlobConflictError: one of another size is there.
        """
        _check_key(key)
        if self._do(lambda: self._put_once(key, data)):
            return True
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
        _check_key(key)
        return self._do(lambda: memoryview(obstore.get(self._store, key).bytes()), key)

    def get_range(self, key: str, *, offset: int, length: int) -> memoryview:
        """Read `length` bytes of a blob.

        Raises:
            BlobNotFoundError: there is no such blob.
            ShortBlobError: it ends before.
        """
        if offset < 0 or length < 1:
            raise ValueError(f"{length} bytes at {offset}")
        _check_key(key)

        def read() -> memoryview:
            return memoryview(obstore.get_range(self._store, key, start=offset, length=length))

        data = None
        try:
            data = self._do(read, key)
        except StoreOutOfReachError:
            raise
        except StoreUnavailableError:  # so are ranges answered that begin past the end
            if self.size(key) >= offset + length:
                raise
        if data is not None and len(data) == length:
            return data
        size = self.size(key)
        if size >= offset + length:
            raise out_of_reach(self.name, f"{key} came in part only")
        raise ShortBlobError(
            f"{key} in the store {self.name} ends after {size} bytes.",
            size=size,
            remedy="Check the store's disk.",
            facts={"key": key},
        )

    def size(self, key: str) -> int:
        """Give a blob's size in bytes.

        Raises:
            BlobNotFoundError: there is none.
        """
        _check_key(key)
        return self._do(lambda: obstore.head(self._store, key)["size"], key)

    def iter_keys(self, prefix: str) -> Iterator[str]:
        """Go through the keys below a prefix of whole path segments, in no order.

        What is put or deleted meanwhile may show or not.
        """
        _check_key(prefix)
        if self._bucket is not None:
            yield from self._iter_pages(prefix)
            return
        with translated(self.name):
            for batch in obstore.list(
                self._store, prefix, chunk_size=_LIST_BATCH, return_arrow=False
            ):
                for each in batch:
                    yield each["path"]

    def delete(self, key: str) -> None:
        """Delete a blob, durably; one that is not there is fine."""
        _check_key(key)
        with suppress(BlobNotFoundError):
            self._do(lambda: obstore.delete(self._store, key), key)
        if self._folder is not None:
            with translated(self.name):
                self._folder.prune(key)
                self._folder.sync_names(key)

    def _iter_pages(self, prefix: str) -> Iterator[str]:
        """Ask for each page by the last key before it: so a failure costs one page at most."""
        after: str | None = None
        while True:
            page = self._do(partial(self._list_page, prefix, after))
            yield from page
            if not page:
                return
            after = page[-1]

    def _list_page(self, prefix: str, after: str | None) -> list[str]:
        pages = obstore.list(
            self._store, prefix, offset=after, chunk_size=_LIST_BATCH, return_arrow=False
        )
        return [each["path"] for each in next(pages, ())]

    def _put_once(self, key: str, data: Buffer) -> bool:
        try:
            if self._folder is not None:
                self._put_local(self._folder, key, data)
            else:
                store = self._store if self._bucket is None else self._bucket.writing
                # At once and not in parts, which would not be conditional, nor gone after a crash.
                obstore.put(store, key, data, mode="create", use_multipart=False)
        except AlreadyExistsError as error:
            if S3Answer.of(str(error)).status == HTTPStatus.CONFLICT:
                raise  # somebody else is at it, and may yet fail
        else:
            return True
        if self._folder is not None:  # whoever put it may not have come to this yet
            self._folder.sync_file(key)
            self._folder.sync_names(key)
        return False

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
        folder = self._folder
        if folder is not None:
            return self._do(folder.is_fresh)
        return not self._do(lambda: any(obstore.list(self._store, chunk_size=1)))

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

    def _do(self, work: Callable[[], T], key: str | None = None) -> T:
        if self._bucket is not None:
            return self._bucket.persist(work, key=key, check=self._check)
        with translated(self.name, key):
            return work()


def _check_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no key of a store.")
    return key
