"""The one way in which anything is fetched over HTTP, with a guard at every step.

    URL -> scheme, host, no user name -> addresses looked up and checked -> connection to one
        -> answer; a redirect begins again at the left, without what belongs to the first origin

The operator's own host is trusted wherever it lies: who configures https://10.0.0.5/ means it. No
answer of it leads to another private address.
"""

from __future__ import annotations

import ssl
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpcore

from clouddesktop.errors import UnavailableError
from clouddesktop.source.addresses import Network, is_public, resolve
from clouddesktop.source.base import SourceUnsafeError

_MOST_REDIRECTS = 5
_MOST_CONNECTIONS = 20
_CONNECT_SECONDS = 10.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_FOREIGN_HEADERS = frozenset({"authorization", "cookie", "x-auth-token"})
"""Headers that are for the origin they were meant for, and for no other."""


class FetchForbiddenError(SourceUnsafeError):
    """A URL or a redirect leads where this server does not go."""

    reason = "FETCH_FORBIDDEN"


class FetchFailedError(UnavailableError):
    """The other server was not reached, broke off, or gave nothing for too long."""

    reason = "FETCH_FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Scheme, host and port of a URL."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Take the origin of a URL.

        Raises:
            FetchForbiddenError: the URL is none, or one that hides where it leads.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise _forbidden(url, "it cannot be understood") from error
        if parts.scheme not in ("https", "http"):
            raise _forbidden(url, "it is not of https")
        if not host or "@" in parts.netloc or "\\" in url or not url.isprintable():
            raise _forbidden(url, "its host is not clear")
        return cls(
            scheme=parts.scheme,
            host=host.rstrip(".").lower(),
            port=port or (443 if parts.scheme == "https" else 80),
        )


class Answer:
    """An answer whose body has yet to be read, piece by piece."""

    def __init__(self, response: httpcore.Response, *, url: str) -> None:
        self.status = response.status
        self.url = url
        self.headers: Mapping[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in response.headers
        }
        self._response = response

    def iter_bytes(self) -> Iterator[bytes]:
        """Give the body as it comes.

        Raises:
            FetchFailedError: it breaks off, or nothing comes for too long.
        """
        with _translated(self.url):
            yield from self._response.iter_stream()

    def read(self, *, most: int) -> bytes:
        """Give the whole body.

        Raises:
            FetchForbiddenError: it is longer than `most` bytes.
        """
        body = bytearray()
        for piece in self.iter_bytes():
            body += piece
            if len(body) > most:
                raise _forbidden(self.url, f"its answer has more than {most} bytes")
        return bytes(body)


class Fetcher:
    """Fetches for one source. Thread-safe; keeps connections open until it is closed."""

    def __init__(
        self,
        url: str,
        *,
        ca_file: str | None = None,
        stall_seconds: float,
        allowed: Sequence[Network] | None = None,
    ) -> None:
        """Trust the host of `url`, the source's own; `ca_file` has further authorities, in PEM.

        With `allowed`, the URL is a caller's and its host not trusted: it may be of http, and leads
        to addresses of the Internet and of these networks only.

        Raises:
            FetchForbiddenError: the URL is none that is fetched from.
        """
        self._home = Origin.of(url)
        is_trusted = allowed is None
        if is_trusted and self._home.scheme == "http" and self._home.host not in _LOOPBACK:
            raise _forbidden(url, "it is not of https")
        context = ssl.create_default_context()
        if ca_file is not None:
            context.load_verify_locations(ca_file)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=_MOST_CONNECTIONS,
            network_backend=_GuardedBackend(self._home if is_trusted else None, allowed or ()),
        )
        self._timeouts = {
            "connect": _CONNECT_SECONDS,
            "read": stall_seconds,
            "write": stall_seconds,
            "pool": None,
        }

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[Answer]:
        """Ask for a URL, following redirects that lead where one may go.

        Any status is an answer. The body is what the server stored: no encoding is asked for.

        Raises:
            FetchForbiddenError: the URL, a redirect or an address is not allowed.
            FetchFailedError: no answer came.
        """
        first = Origin.of(url)
        for _ in range(_MOST_REDIRECTS + 1):
            origin = self._check(url)
            sent = {
                name: value
                for name, value in (headers or {}).items()
                if origin == first or name.lower() not in _FOREIGN_HEADERS
            }
            with self._ask("GET", url, sent) as answer:
                location = answer.headers.get("location")
                if answer.status not in _REDIRECTS or location is None:
                    yield answer
                    return
            url = urljoin(url, location)
        raise _forbidden(url, f"more than {_MOST_REDIRECTS} redirects lead to it")

    @contextmanager
    def post(
        self, url: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> Iterator[Answer]:
        """Send a body to the source's own host, and nowhere else: a redirect is not followed.

        Any status is an answer.

        Raises:
            FetchForbiddenError: the URL is of another host.
            FetchFailedError: no answer came.
        """
        if Origin.of(url) != self._home:
            raise _forbidden(url, "it is not of the host that this is meant for")
        with self._ask("POST", url, headers or {}, body) as answer:
            yield answer

    def close(self) -> None:
        """Hang up everywhere."""
        self._pool.close()

    @contextmanager
    def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Iterator[Answer]:
        given = {"accept-encoding": "identity", "user-agent": "clouddesktop", **headers}
        with _translated(url):
            request = self._pool.stream(
                method,
                url,
                headers=[("host", urlsplit(url).netloc), *given.items()],
                content=body,
                extensions={"timeout": self._timeouts},
            )
            response = request.__enter__()
        try:
            yield Answer(response, url=url)
        finally:
            request.__exit__(None, None, None)

    def _check(self, url: str) -> Origin:
        origin = Origin.of(url)
        if origin.scheme == "http" and origin != self._home:
            raise _forbidden(url, "it is not of https")
        return origin


class _GuardedBackend(httpcore.SyncBackend):
    """Connects to addresses that were looked up and checked here, and to no others."""

    def __init__(self, home: Origin | None, allowed: Sequence[Network]) -> None:
        super().__init__()
        self._home = None if home is None else (home.host, home.port)
        self._allowed = allowed

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[typing.Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = resolve(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"The host {host} is not found") from error
        is_home = (host.rstrip(".").lower(), port) == self._home
        if not is_home and not all(is_public(each, allowed=self._allowed) for each in addresses):
            raise _forbidden(host, "it leads to an address that is not of the Internet")
        failure: Exception = httpcore.ConnectError(f"The host {host} has no address")
        for address in addresses:
            try:
                return super().connect_tcp(
                    address, port, timeout, local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002  (httpcore's signature)
        socket_options: Iterable[typing.Any] | None = None,  # noqa: ARG002  (the same)
    ) -> httpcore.NetworkStream:
        raise _forbidden(path, "it is no host")


@contextmanager
def suggesting(remedy: str) -> Iterator[None]:
    """Give another way out with a URL that is refused: the one who wrote it wrote a setting."""
    try:
        yield
    except FetchForbiddenError as error:
        raise FetchForbiddenError(error.message, remedy=remedy, facts=error.facts) from error


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        said = str(error).rstrip(".") or "nothing came for too long"
        raise FetchFailedError(
            f"{without_query(url)} cannot be fetched: {said}.",
            remedy="See that the other server runs and can be reached, then try again.",
            facts={"url": without_query(url)},
        ) from error


def _forbidden(url: str, why: str) -> FetchForbiddenError:
    shown = without_query(url)
    return FetchForbiddenError(
        f"{shown!r} is not fetched: {why}.",
        remedy="Name the image's own https address, on a host that the source is configured for.",
        facts={"url": shown},
    )


def without_query(url: str) -> str:
    """Leave out what may be a secret: signatures and tokens are in queries and user names."""
    shown = url.partition("?")[0][:200]
    scheme, separator, rest = shown.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
