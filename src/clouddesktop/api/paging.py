"""Page tokens: opaque to clients, bound to the request that they continue.

    base64url(  checksum, 12 bytes  |  the last item's id  )

The checksum covers the id and every field of the request but `page_size` and `page_token`, so that
neither another request's token nor a garbled one is taken.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from clouddesktop.errors import FieldViolation, InvalidArgumentError

Item = TypeVar("Item")

DEFAULT_PAGE_SIZE = 100
_CHECKSUM_SIZE = 12
OWN_FIELDS = ("page_size", "page_token")
"""The fields of a list's request that its token is not bound to."""


def page_size_of(request_size: int) -> int:
    return request_size or DEFAULT_PAGE_SIZE


def make_page_token(request: Message, *, last_id: str) -> str:
    """Make the token for the page after `last_id`; an id of 60 characters still fits 100."""
    raw = last_id.encode()
    return urlsafe_b64encode(_checksum(request, raw) + raw).rstrip(b"=").decode()


def read_page_token(request: Message, token: str) -> str | None:
    """Give the id to go on after; None without a token.

    Raises:
        InvalidArgumentError: the token is not one of this request.
    """
    if not token:
        return None
    try:
        both = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        checksum, raw = both[:_CHECKSUM_SIZE], both[_CHECKSUM_SIZE:]
        last_id = raw.decode()
    except ValueError:
        checksum, raw, last_id = b"", b"", ""
    if not last_id or checksum != _checksum(request, raw):
        raise bad_token()
    return last_id


def bad_token(
    description: str = "Value must be the next_page_token of the same request's previous page",
) -> InvalidArgumentError:
    """Make the error for a token that is not taken."""
    violation = FieldViolation(field="page_token", description=description)
    return InvalidArgumentError.of_fields([violation])


def page_of(
    request: Any, items: Sequence[Item], *, id_of: Callable[[Item], str]
) -> tuple[Sequence[Item], str]:
    """Cut the request's page out of all items, which are few and in the order of their ids.

    Returns:
        The page, and the token for the next one, empty at the end.

    Raises:
        InvalidArgumentError: the request's token is not one of this request.
    """
    after = read_page_token(request, request.page_token)
    left = items if after is None else [each for each in items if id_of(each) > after]
    page = left[: page_size_of(request.page_size)]
    is_last = len(page) == len(left)
    return page, "" if is_last else make_page_token(request, last_id=id_of(page[-1]))


def _checksum(request: Message, last_id: bytes) -> bytes:
    bound = type(request)()
    bound.CopyFrom(request)
    for field in OWN_FIELDS:
        bound.ClearField(field)
    digest = hashlib.blake2b(digest_size=_CHECKSUM_SIZE)
    for part in (
        request.DESCRIPTOR.full_name.encode(),
        bound.SerializeToString(deterministic=True),
        last_id,
    ):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
