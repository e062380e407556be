"""HTTPS to one server: requests with tokens, repeated when a break or a busy server passes.

Answers are read in threads, each over a connection of its own; urllib3's errors become ours here.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError

from clouddesktop.client.calls import CallError, to_http_error
from clouddesktop.client.connection import Connection
from clouddesktop.client.identity import Tokens
from clouddesktop.client.profile import Profile, ProfileError
from clouddesktop.errors import Code, Failure

_PAUSES_SECONDS = (0.2, 0.4, 0.8, 1.6, 3.2)
_TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)
_PASSING_CODES = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED)

Answer = TypeVar("Answer")
Response = urllib3.BaseHTTPResponse


class HttpSession:
    """Asks for paths below the profile's `rest`; many coroutines may ask at a time."""

    def __init__(
        self,
        *,
        base_url: str,
        pool: urllib3.PoolManager,
        tokens: Tokens | None,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._base_url = base_url
        self._pool = pool
        self._tokens = tokens
        self._threads = threads
        self._open: set[Response] = set()
        self._lock = threading.Lock()

    async def get(
        self,
        path: str,
        read: Callable[[Response], Answer],
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask until it works: again after a break, with a new token when one was refused.

        `read` takes the answer in a thread. It runs to its end also when the caller is cancelled;
        its connection is shut then.

        Raises:
            CallError: the server refused, or was out of reach for several attempts.
        """
        for pause_seconds in _PAUSES_SECONDS:
            try:
                return await self._get_once(path, read, headers or {})
            except CallError as error:
                if error.code not in _PASSING_CODES:
                    raise
            await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.0))  # noqa: S311  (spreads retries)
        return await self._get_once(path, read, headers or {})

    async def _get_once(
        self, path: str, read: Callable[[Response], Answer], headers: Mapping[str, str]
    ) -> Answer:
        if self._tokens is None:
            return await self._in_thread(path, read, headers)
        token = await self._tokens.get()
        try:
            return await self._in_thread(path, read, _authorised(headers, token))
        except CallError as error:
            if error.code is not Code.UNAUTHENTICATED:
                raise
        self._tokens.forget(token)
        token = await self._tokens.get()
        return await self._in_thread(path, read, _authorised(headers, token))

    async def _in_thread(
        self, path: str, read: Callable[[Response], Answer], headers: Mapping[str, str]
    ) -> Answer:
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, self._fetch, path, read, headers)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self._shut()
            await asyncio.wait([work])
            work.exception()  # nobody else looks at it
            raise

    def _fetch(
        self, path: str, read: Callable[[Response], Answer], headers: Mapping[str, str]
    ) -> Answer:
        url = f"{self._base_url}{path}"
        try:
            response = self._pool.request(
                "GET", url, headers=headers, preload_content=False, retries=False, redirect=False
            )
            with self._noted(response):
                if response.status < 300:  # noqa: PLR2004  (2xx is what succeeds)
                    return read(response)
                raise _to_error(response, url)
        except HTTPError as cause:
            raise _unreachable(self._base_url, cause) from cause

    @contextmanager
    def _noted(self, response: Response) -> Iterator[None]:
        with self._lock:
            self._open.add(response)
        try:
            yield
            response.drain_conn()
        except BaseException:
            response.close()  # half an answer is left on it
            raise
        finally:
            with self._lock:
                self._open.discard(response)
            response.release_conn()

    def _shut(self) -> None:
        """Break the answers that are being read, so that nobody waits for their threads."""
        with self._lock:
            for response in self._open:
                response.shutdown()


@contextmanager
def open_http(connection: Connection, *, readers: int) -> Iterator[HttpSession]:
    """Open a session that reads up to `readers` answers at a time; nothing is sent yet.

    Raises:
        ProfileError: the profile says not where, or its CA cannot be used.
    """
    profile = connection.profile
    if not profile.rest:
        raise ProfileError(
            "The profile has no key `rest` with the server's base URL, where bytes come from.",
            remedy="Restore the profile.yaml that `clouddesktop serve` wrote.",
        )
    threads = ThreadPoolExecutor(readers, thread_name_prefix="http")
    with _open_pool(profile, readers) as pool:
        try:
            yield HttpSession(
                base_url=profile.rest, pool=pool, tokens=connection.tokens, threads=threads
            )
        finally:
            threads.shutdown()


def read_json(response: Response) -> Any:
    """Read a whole answer as JSON.

    Raises:
        ValueError: it is none.
    """
    return json.loads(response.read())


def _open_pool(profile: Profile, readers: int) -> urllib3.PoolManager:
    options: dict[str, Any] = {"maxsize": readers, "block": True, "timeout": _TIMEOUT}
    if not profile.is_plaintext:
        options["ssl_context"] = profile.make_ssl_context()
    proxy = _find_proxy(profile)
    if proxy:
        return urllib3.ProxyManager(proxy, **options)
    return urllib3.PoolManager(**options)


def _find_proxy(profile: Profile) -> str:
    url = urlsplit(profile.rest)
    if profile.is_loopback or proxy_bypass(url.netloc):  # no proxy leads to this machine
        return ""
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all", "")
    return proxy if "://" in proxy or not proxy else f"http://{proxy}"


def _authorised(headers: Mapping[str, str], token: str) -> dict[str, str]:
    return {**headers, "authorization": f"Bearer {token}"}


def _to_error(response: Response, url: str) -> CallError:
    try:
        body = read_json(response)
    except ValueError:
        body = None
    return to_http_error(body, url=url, http_status=response.status)


def _unreachable(base_url: str, cause: HTTPError) -> CallError:
    failure = Failure(
        code=Code.UNAVAILABLE,
        reason=Code.UNAVAILABLE.name,
        message=f"The server at {base_url} cannot be reached: {str(cause).rstrip('.')}.",
        remedy="Check that `clouddesktop serve` runs there, and that `rest` and `ca` of the "
        "profile are its own.",
    )
    return CallError(failure.message, failure=failure, is_from_server=False)
