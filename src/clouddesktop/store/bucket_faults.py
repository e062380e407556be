"""What an S3 server may answer to the store: obstore's errors become ours here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from clouddesktop.errors import CloudDesktopError
from clouddesktop.s3 import S3Answer, first_line
from clouddesktop.store.faults import (
    BlobNotFoundError,
    NotAStoreError,
    StoreForbiddenError,
    StoreFullError,
    StoreMisplacedError,
    StoreOutOfReachError,
    StoreUnavailableError,
    StoreUnfitError,
)

RETRY_AFTER_SECONDS = 5.0
"""What callers are told who cannot wait here."""

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_PASSING_CODES = frozenset(
    {"BadDigest", "IncompleteBody", "RequestTimeout", "SlowDown", "XAmzContentSHA256Mismatch"}
)
_FULL_CODES = frozenset({"QuotaExceeded", "XMinioStorageFull"})
_INSUFFICIENT_STORAGE = 507
_NOT_IMPLEMENTED = 501
_RANGE_PAST_END = 416
_OTHER_RANGE = ("Received non-partial response", "Requested ")

_RIGHTS = (
    "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and that the key has the"
    " rights that docs/store-s3.md lists."
)
_REGION = "Set AWS_REGION to the bucket's region, and AWS_ENDPOINT_URL to match it."
_ENDPOINT = "Set AWS_ENDPOINT_URL to the URL of an S3 server."
_REACH = "See that AWS_ENDPOINT_URL is right and the S3 server can be reached, then try again."
_CLOCK = "Set this machine's clock, then try again."
_ELSEWHERE = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed"})


@contextmanager
def translated(name: str, key: str | None) -> Iterator[None]:
    """Make an error of obstore ours; `name` is the store's, `key` the blob that is asked for.

    Raises:
        BlobNotFoundError: there is no such blob.
        StoreOutOfReachError: it may pass.
        StoreForbiddenError, StoreMisplacedError, StoreUnfitError, StoreFullError: it will not.
    """
    try:
        yield
    except (BaseError, OSError) as error:
        raise _to_ours(error, name, key) from error
    except BaseException as error:
        # obstore panics over settings that it takes without a look, and a panic is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise _misplaced(name, f"there is no way to it: {error}", _ENDPOINT) from error


def _to_ours(error: BaseException, name: str, key: str | None) -> CloudDesktopError:
    text = str(error)
    answer = S3Answer.of(text)
    if answer.code == "NoSuchBucket" or isinstance(error, FileNotFoundError):
        return _of_missing(answer, name, key)
    if isinstance(error, InvalidPathError):
        return NotAStoreError(
            f"The store {name} holds an object that is none of a store's: {first_line(text)}.",
            remedy="Remove that object, or name another prefix.",
        )
    if answer.status is not None:
        return _of_status(answer, answer.status, name)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return _forbidden(name, first_line(text), _RIGHTS)
    return _of_connection(answer, text, name)


def _of_missing(answer: S3Answer, name: str, key: str | None) -> CloudDesktopError:
    if answer.has_strange_body:
        return _not_s3(name, "HTTP 404")
    if answer.code == "NoSuchBucket" or key is None:
        remedy = "Make the bucket, or correct the setting `store`, AWS_ENDPOINT_URL or AWS_REGION."
        return _misplaced(name, "there is no such bucket", remedy)
    return BlobNotFoundError(f"There is no {key} in the store {name}.", facts={"key": key})


def _of_status(answer: S3Answer, status: int, name: str) -> CloudDesktopError:
    said = f"the S3 server answers {answer.said}"
    if status in _PASSING or answer.code in _PASSING_CODES:
        return out_of_reach(name, said, "Look at the S3 server, then try again.")
    if status == _INSUFFICIENT_STORAGE or answer.code in _FULL_CODES:
        return StoreFullError(
            f"The store {name} is full: {said}.",
            remedy="Free some space there, or give the bucket more; then try again.",
        )
    if status == _NOT_IMPLEMENTED or answer.code == "NotImplemented":
        return unfit(name, said)
    if status == _RANGE_PAST_END:
        return StoreUnavailableError(f"The store {name} does not work: {said}.")
    if status in (401, 403):
        return _forbidden(name, said, _CLOCK if answer.code == "RequestTimeTooSkewed" else _RIGHTS)
    remedy = _REGION if answer.code in _ELSEWHERE else _ENDPOINT
    return _misplaced(name, said, remedy) if answer.code else _not_s3(name, f"HTTP {status}")


def _of_connection(answer: S3Answer, text: str, name: str) -> CloudDesktopError:
    if answer.bad_certificate:
        why = f"the S3 server's certificate is not trusted ({answer.bad_certificate})"
        remedy = "Name its authority by AWS_CA_BUNDLE, or correct AWS_ENDPOINT_URL."
        return _misplaced(name, why, remedy)
    if answer.is_redirect:
        return _misplaced(name, "its bucket is in another region", _REGION)
    if answer.cause:
        return out_of_reach(name, answer.cause, _REACH)
    if any(each in text for each in _OTHER_RANGE):
        return out_of_reach(name, "the S3 server gives other bytes than it was asked for", _REACH)
    return _not_s3(name, first_line(text))


def out_of_reach(name: str, why: str, remedy: str = _REACH) -> StoreOutOfReachError:
    return StoreOutOfReachError(
        f"The store {name} cannot be used now: {why}.",
        remedy=remedy,
        facts={"store": name},
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )


def unfit(name: str, why: str) -> StoreUnfitError:
    return StoreUnfitError(
        f"The store {name} cannot be kept there: {why}.",
        remedy="Use an S3 server that honours `If-None-Match: *` (conditional writes).",
        facts={"store": name},
    )


def _forbidden(name: str, why: str, remedy: str) -> StoreForbiddenError:
    return StoreForbiddenError(
        f"The server may not read or write the store {name}: {why}.",
        remedy=remedy,
        facts={"store": name},
    )


def _not_s3(name: str, said: str) -> StoreMisplacedError:
    error = _misplaced(name, f"what answers is no S3 server ({said})", _ENDPOINT)
    error.may_pass = True
    return error


def _misplaced(name: str, why: str, remedy: str) -> StoreMisplacedError:
    return StoreMisplacedError(
        f"The store {name} is not there: {why}.", remedy=remedy, facts={"store": name}
    )
