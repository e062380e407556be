"""The errors of a store. Those of obstore and of a local file system become ours here."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from obstore.exceptions import BaseError, PermissionDeniedError

from clouddesktop.errors import (
    CloudDesktopError,
    DataLossError,
    FailedPreconditionError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)

_OS_ERROR = re.compile(r"\(os error (\d+)\)")


class StoreFullError(ResourceExhaustedError):
    """The store has no room for a blob; nothing of it stayed."""

    reason = "STORE_FULL"


class StoreForbiddenError(FailedPreconditionError):
    """The server may not read or write its store."""

    reason = "STORE_FORBIDDEN"


class StoreUnavailableError(UnavailableError):
    """The store does not answer as it should, for now."""

    reason = "STORE_UNAVAILABLE"


class StoreOutOfReachError(StoreUnavailableError):
    """The server of the store does not answer, or not now: what long work waits for."""

    reason = "STORE_OUT_OF_REACH"


class StoreMisplacedError(FailedPreconditionError):
    """Where the settings lead there is no bucket, or no S3 server that can be trusted."""

    reason = "STORE_MISPLACED"

    may_pass = False
    """Whether something else has answered: before a server that has been there, it may be a proxy
    whose servers are away."""


class StoreUnfitError(FailedPreconditionError):
    """The server of the store cannot do what a store needs."""

    reason = "STORE_UNFIT"


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


@contextmanager
def translated(name: str, key: str | None = None) -> Iterator[None]:
    """Make an error of obstore or of the file system ours; a missing `key` is one, too."""
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
