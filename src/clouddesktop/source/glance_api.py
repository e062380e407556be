"""Requests to the v2 API of OpenStack's Glance, and what its answers say of images.

Everything that comes back is data from another server: it is checked before it is used, and a link
to the next page gives its query and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import structlog

from clouddesktop.model.checksum import Checksum
from clouddesktop.source.base import SourceUnreadableError, SourceUnsafeError
from clouddesktop.source.fetch import Answer, Fetcher, Origin
from clouddesktop.source.keystone import Tokens
from clouddesktop.source.ranges import persist, raise_if_busy

_log = structlog.get_logger(__name__)

_PATH = "/v2/images"
_MOST_ANSWER = 16 << 20
_PAGE_SIZE = 100
_MOST_PAGES = 1000
_IMAGE_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlanceImage:
    """What Glance says of an image. Size in bytes, 0 until there is data.

    `digests` are algorithms and hexadecimal digits as Glance has them, its own hash before the MD5.
    """

    id: str
    status: str
    container_format: str
    size: int
    digests: Sequence[tuple[str, str]]
    created_at: str
    updated_at: str

    @classmethod
    def of_record(cls, record: Any) -> GlanceImage:
        """Read one image of an answer.

        Raises:
            ValueError: it is none.
        """
        if not isinstance(record, dict) or not is_image_id(record.get("id")):
            raise ValueError("An image has an id.")
        size = record.get("size")
        if size is None:
            size = 0
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise ValueError("The size of an image is a number of bytes.")
        pairs = (
            (_text(record, "os_hash_algo"), _text(record, "os_hash_value")),
            ("md5", _text(record, "checksum")),
        )
        return cls(
            id=record["id"],
            status=_text(record, "status"),
            container_format=_text(record, "container_format"),
            size=size,
            digests=[(name.lower(), digest.lower()) for name, digest in pairs if name and digest],
            created_at=_text(record, "created_at"),
            updated_at=_text(record, "updated_at"),
        )

    @property
    def md5(self) -> str:
        return dict(self.digests).get("md5", "")

    def find_checksum(self) -> Checksum | None:
        """Give the best of its digests that is of a known algorithm."""
        for algorithm, digest in self.digests:
            try:
                return Checksum.parse(f"{algorithm}:{digest}")
            except ValueError:
                continue
        return None


class GlanceApi:
    """One Glance. Thread-safe; every method may wait."""

    def __init__(
        self,
        *,
        source: str,
        base: str,
        filters: Sequence[tuple[str, str]],
        fetcher: Fetcher,
        tokens: Tokens,
    ) -> None:
        """Ask the Glance at `base` (without /v2); `filters` are added to each list's query."""
        self._source = source
        self._base = base
        self._filters = filters
        self._fetcher = fetcher
        self._tokens = tokens

    def iter_images(self) -> Iterator[GlanceImage]:
        """List the active images that are bare disks, in Glance's order.

        Raises:
            SourceUnreadableError, SourceUnsafeError, UnavailableError: there is no such list.
        """
        fixed = {"status": "active", "container_format": "bare", "limit": str(_PAGE_SIZE)}
        query: str | None = urlencode([*self._filters, *fixed.items()])
        for _ in range(_MOST_PAGES):
            page = self._get_json(f"{_PATH}?{query}")
            yield from self._read_list(page)
            query = self._next_query(page)
            if query is None:
                return
        raise self._nonsense(f"its list has more than {_MOST_PAGES} pages")

    def find_image(self, image_id: str) -> GlanceImage | None:
        """Find an image that the filters let through, whatever its state.

        Raises:
            SourceUnreadableError, UnavailableError: Glance does not say.
        """
        if self._filters:
            query = urlencode([*self._filters, ("id", f"in:{image_id}")])
            found = self._read_list(self._get_json(f"{_PATH}?{query}"))
        else:
            record = self._get_json(f"{_PATH}/{image_id}", may_lack=True)
            found = [] if record is None else self._read_images([record])
        return next((each for each in found if each.id == image_id), None)

    def get_data(self, image_id: str, headers: Mapping[str, str]) -> AbstractContextManager[Answer]:
        """Ask once for an image's data; any status but 401 is an answer.

        Raises:
            SourceUnreadableError: the login is refused.
        """
        return self._get(f"{_PATH}/{image_id}/file", headers)

    def _get_json(self, path: str, *, may_lack: bool = False) -> Any:
        """Give the answer's JSON; None if what may lack is not there."""

        def fetch() -> Any:
            with self._get(path, {"accept": "application/json"}) as answer:
                raise_if_busy(answer)
                if may_lack and answer.status == HTTPStatus.NOT_FOUND:
                    return None
                if answer.status != HTTPStatus.OK:
                    raise self._refusal(answer)
                try:
                    return json.loads(answer.read(most=_MOST_ANSWER))
                except (ValueError, RecursionError) as error:
                    raise self._nonsense("its answer is no JSON") from error

        return persist(fetch)

    @contextmanager
    def _get(self, path: str, headers: Mapping[str, str]) -> Iterator[Answer]:
        refused: str | None = None
        for _ in range(2):  # a token that was refused is renewed, and a renewed one is not
            token = self._tokens.find_token(refused=refused)
            if token is None and refused is not None:
                break
            login = {} if token is None else {"x-auth-token": token}
            with self._fetcher.get(self._base + path, {**headers, **login}) as answer:
                if answer.status != HTTPStatus.UNAUTHORIZED:
                    yield answer
                    return
            if token is None:
                break
            refused = token
        raise self._login_refusal(had_token=refused is not None)

    def _read_list(self, page: Any) -> list[GlanceImage]:
        if not isinstance(page, dict) or not isinstance(page.get("images"), list):
            raise self._nonsense("its answer is no list of images")
        return self._read_images(page["images"])

    def _read_images(self, records: Sequence[Any]) -> list[GlanceImage]:
        images: list[GlanceImage] = []
        for each in records:
            with suppress(ValueError):
                images.append(GlanceImage.of_record(each))
        if records and not images:
            raise self._nonsense("its answer has images that are none")
        if len(images) < len(records):  # Glance's first API let people choose ids as they liked
            _log.warning(
                "images of Glance without an id of its kind or a size are left out",
                source=self._source,
                count=len(records) - len(images),
            )
        return images

    def _next_query(self, page: dict[str, Any]) -> str | None:
        link = page.get("next")
        if link is None:
            return None
        target = urljoin(self._base + _PATH, str(link))
        if Origin.of(target) != Origin.of(self._base):
            raise SourceUnsafeError(
                f"The list of the source {self._source} goes on at another server, where this one "
                "does not go.",
                remedy="Name Glance's own address in the source's URL.",
                facts={"source": self._source},
            )
        return urlsplit(target).query

    def _login_refusal(self, *, had_token: bool) -> SourceUnreadableError:
        why = "refuses the token" if had_token else "wants a login"
        return SourceUnreadableError(
            f"Glance of the source {self._source} {why} (HTTP 401).",
            remedy="Set OS_AUTH_URL, OS_APPLICATION_CREDENTIAL_ID and "
            "OS_APPLICATION_CREDENTIAL_SECRET for this server, of the cloud that Glance is of; or "
            "OS_TOKEN to a token that has not expired.",
            facts={"source": self._source, "http_status": "401"},
        )

    def _refusal(self, answer: Answer) -> SourceUnreadableError:
        return SourceUnreadableError(
            f"Glance of the source {self._source} answers HTTP {answer.status}.",
            remedy="Correct the source's URL (Glance's public address, without /v2) and its "
            "filters, and let the login read images.",
            facts={"source": self._source, "http_status": str(answer.status)},
        )

    def _nonsense(self, what: str) -> SourceUnreadableError:
        return SourceUnreadableError(
            f"The source {self._source} is no Glance that is understood: {what}.",
            remedy="Correct the source's URL: it is Glance's public address, without /v2.",
            facts={"source": self._source},
        )


def is_image_id(value: object) -> bool:
    """Tell whether something has the form of Glance's ids, which are UUIDs."""
    return isinstance(value, str) and _IMAGE_ID.fullmatch(value) is not None


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""
