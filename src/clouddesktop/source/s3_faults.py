"""What an S3 server may answer instead of bytes: obstore's errors become ours here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from clouddesktop.errors import CloudDesktopError, NotFoundError
from clouddesktop.model.image import ComputeImage
from clouddesktop.s3 import S3Answer, first_line
from clouddesktop.source.base import SourceUnreadableError
from clouddesktop.source.fetch import FetchFailedError
from clouddesktop.source.ranges import PASSING, BusyServerError, changed

_OTHER_RANGE = re.compile(r"Requested \d+\.\.\d+, got \d+\.\.\d+")
_RANGE_PAST_END = 416

_KEYS = (
    "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and that the bucket's "
    "policy allows them s3:ListBucket and s3:GetObject."
)
_REGION = "Set AWS_REGION to the bucket's region, and AWS_ENDPOINT_URL to match it."
_REMEDIES = {
    "NoSuchBucket": "Correct the bucket in the source's URL, or AWS_ENDPOINT_URL and AWS_REGION.",
    "InvalidObjectState": "Restore the object from its archive storage class, then try again.",
    "RequestTimeTooSkewed": "Set this machine's clock, then try again.",
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "ExpiredToken": _KEYS,
    "InvalidToken": _KEYS,
}
_OTHER = "See that AWS_ENDPOINT_URL is that of an S3 server, and that the source's URL is right."


@contextmanager
def translated(bucket: str, *, source: str, image: ComputeImage | None = None) -> Iterator[None]:
    """Make an error of obstore ours: about an image's object, or about listing the bucket.

    Raises:
        BusyServerError, FetchFailedError: it may pass.
        NotFoundError: there is no such object.
        SourceChangedError: the object is not the version that was asked for.
        SourceUnreadableError: it will not be given.
    """
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        raise _to_ours(error, _Place(bucket=bucket, source=source, image=image)) from error
    except BaseException as error:
        # obstore panics over settings that it takes without a look, and a panic is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        place = _Place(bucket=bucket, source=source, image=image)
        raise SourceUnreadableError(
            f"There is no way to {place.text}: {error}.", remedy=_OTHER, facts=place.facts
        ) from error


class _Place:
    """What was asked for, for the errors' words."""

    def __init__(self, *, bucket: str, source: str, image: ComputeImage | None) -> None:
        self.image = image
        what = "its list" if image is None else image.location
        self.text = f"{what} in the bucket {bucket} of the source {source}"
        self.facts = {"source": source, "bucket": bucket}
        if image is not None:
            self.facts |= {"image_id": image.id, "file": image.location}


def _to_ours(error: BaseException, place: _Place) -> CloudDesktopError:
    text = str(error)
    answer = S3Answer.of(text)
    status = answer.status
    if status is None and isinstance(error, PermissionDeniedError | UnauthenticatedError):
        status = 403
    if place.image is not None:
        if why := _explain_change(error, text, status):
            return changed(place.image, why)
        if isinstance(error, FileNotFoundError) and answer.code != "NoSuchBucket":
            return NotFoundError.of_resource("Image", place.image.id)
    if status is not None:
        return _of_status(replace(answer, status=status), status, place)
    if isinstance(error, InvalidPathError):
        return SourceUnreadableError(
            f"A key beside {place.text} cannot be handled: {first_line(text)}.",
            remedy="Rename that object, or name one image's own URL.",
            facts=place.facts,
        )
    return _of_connection(answer, text, place)


def _explain_change(error: BaseException, text: str, status: int | None) -> str:
    if isinstance(error, PreconditionError):
        return "another version is there"
    if status == _RANGE_PAST_END:
        return "it is shorter than it was"
    other = _OTHER_RANGE.search(text)
    return f"the server gave another range: {other[0]}" if other else ""


def _of_status(answer: S3Answer, status: int, place: _Place) -> CloudDesktopError:
    message = f"The S3 server answers {answer.said} for {place.text}."
    facts = {**place.facts, "http_status": str(status), "s3_code": answer.code}
    if status in PASSING:
        return BusyServerError(
            message, remedy="Look at the S3 server, then try again.", facts=facts
        )
    is_refused = status in (401, 403)
    remedy = _REMEDIES.get(answer.code, _KEYS if is_refused else _OTHER)
    return SourceUnreadableError(message, remedy=remedy, facts=facts)


def _of_connection(answer: S3Answer, text: str, place: _Place) -> CloudDesktopError:
    if answer.bad_certificate:
        return SourceUnreadableError(
            f"The S3 server's certificate is not trusted ({answer.bad_certificate}), so"
            f" {place.text} is not read.",
            remedy="Name its authority with --source-ca, or correct AWS_ENDPOINT_URL.",
            facts=place.facts,
        )
    if answer.is_redirect:
        return SourceUnreadableError(
            f"The S3 server does not give {place.text}: its bucket is in another region.",
            remedy=_REGION,
            facts=place.facts,
        )
    if not answer.cause:  # an answer that is none of S3
        return SourceUnreadableError(
            f"The S3 server does not give {place.text}: {first_line(text)}.",
            remedy=_OTHER,
            facts=place.facts,
        )
    return FetchFailedError(
        f"The S3 server did not give {place.text}: {answer.cause}.",
        remedy="See that AWS_ENDPOINT_URL is right and the server can be reached, then try again.",
        facts=place.facts,
    )
