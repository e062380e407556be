"""A store's place in S3: how it is reached, and how long it is asked again when it does not answer.

Each request is one request (obstore's own retries are off). What may pass is tried again, by
whoever asks: some seconds for a caller of the API, without end for long work.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import urlsplit

import structlog
from obstore.store import S3Store

from clouddesktop.errors import InvalidArgumentError
from clouddesktop.s3 import S3Access
from clouddesktop.store.bucket_faults import translated
from clouddesktop.store.faults import StoreMisplacedError, StoreOutOfReachError

if TYPE_CHECKING:  # obstore has these for type checkers only
    from obstore.store import ClientConfig, RetryConfig, S3Config

T = TypeVar("T")

_URL = re.compile(
    r"s3://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,62})"
    r"(?P<prefix>(/[A-Za-z0-9][A-Za-z0-9._-]*)*)/?"
)
_CONNECT_SECONDS = 5.0
_STALL_SECONDS = 30.0
"""Without a byte, after which a read is cut."""

_WRITE_SECONDS = 180.0
"""For one blob. Four packs of 48 MiB at a time fit if the line takes 9 Mbit/s."""

_PATIENCE_SECONDS = 10.0
"""How long after its first failure a request is tried again for those who do not wait."""

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_TOLD_EVERY = 10
"""Failures in a row, from the middle on: what passes at once is no news."""

_LOOK_SECONDS = 0.25
"""How often those who wait look whether they still should."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The two clients of one place: a PUT answers only after all of its body has been sent."""

    name: str
    reading: S3Store
    writing: S3Store
    patience_seconds: float = _PATIENCE_SECONDS

    def persist(
        self, work: Callable[[], T], *, key: str | None, check: Callable[[], None] | None
    ) -> T:
        """Do some work, again and again while the server is out of reach.

        Args:
            work: asks obstore; may be repeated.
            key: the blob that it asks for, if a missing one is an answer.
            check: says that the caller waits without end; called several times a second meanwhile,
                and what it raises ends that.

        Raises:
            CloudDesktopError: as `bucket_faults.translated` says.
        """
        deadline = time.monotonic() + self.patience_seconds
        for failures in count():
            try:
                with translated(self.name, key):
                    answer = work()
            except (StoreOutOfReachError, StoreMisplacedError) as error:
                if isinstance(error, StoreMisplacedError) and not (error.may_pass and check):
                    raise
                pause = min(_FIRST_PAUSE_SECONDS * 2**failures, _LONGEST_PAUSE_SECONDS)
                pause *= random.uniform(0.5, 1.0)  # noqa: S311  (spreads retries)
                if check is None and time.monotonic() + pause > deadline:
                    raise
                if check is not None and failures % _TOLD_EVERY == _TOLD_EVERY // 2:
                    _log.warning("waiting for the store", why=error.message)
                _pause(pause, check)
            else:
                return answer
        raise AssertionError("The loop has no end.")


def open_bucket(url: str, access: S3Access, *, ca_file: Path | None = None) -> Bucket:
    """Prepare to reach the store at s3://BUCKET/PREFIX; asks for nothing yet.

    Raises:
        InvalidArgumentError: the URL is none of that form.
    """
    parts = _URL.fullmatch(url)
    if parts is None:
        raise InvalidArgumentError(
            f"The store setting {_without_login(url)} is not of the form s3://BUCKET/PREFIX.",
            remedy="Use letters, digits, `.`, `_` and `-`, and a letter or digit first in each"
            " part, such as --store s3://desktops/store.",
        )
    name = url.rstrip("/")

    def open_client(client: ClientConfig) -> S3Store:
        base: ClientConfig = {
            "allow_http": access.is_plain,
            "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
            "user_agent": "clouddesktop",
        }
        if ca_file is not None:
            base["root_certificate"] = ca_file.read_bytes()
        options = {
            **access.to_options(),
            # Signatures are over a digest of the body, which not every server compares with it.
            "checksum_algorithm": "SHA256",
            "disable_bulk_delete": True,
        }
        no_retries: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(0)}
        with translated(name, None):
            return S3Store(
                parts["bucket"],
                prefix=parts["prefix"].strip("/") or None,
                config=cast("S3Config", options),
                client_options=base | client,
                retry_config=no_retries,
            )

    return Bucket(
        name=name,
        reading=open_client(
            {
                "read_timeout": timedelta(seconds=_STALL_SECONDS),
                "timeout": timedelta(seconds=_WRITE_SECONDS),
            }
        ),
        writing=open_client({"timeout": timedelta(seconds=_WRITE_SECONDS)}),
    )


def _pause(seconds: float, check: Callable[[], None] | None) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if check is not None:
            check()
        time.sleep(min(left, _LOOK_SECONDS))


def _without_login(url: str) -> str:
    """Leave out what may be a secret that was put into a URL by mistake."""
    return url if "@" not in urlsplit(url).netloc else "s3://…"
