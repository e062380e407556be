"""The store behind a server: what it holds, and the runs that collect and scrub it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from google.protobuf.json_format import ParseDict, ParseError
from google.rpc.status_pb2 import Status

from clouddesktop.client.calls import CallError, failure_of_status
from clouddesktop.client.connection import Connection
from clouddesktop.client.operations import WAIT_SECONDS, WaitTimeoutError
from clouddesktop.client.own_paths import OwnPaths, open_own_paths
from clouddesktop.errors import Code

POLL_SECONDS = 0.5

Run = Mapping[str, Any]
"""A run as the server's JSON has it (docs/keeping.md)."""


class RunFailedError(CallError):
    """A run of the keeper ended with an error; `run` is its last state."""

    reason = "RUN_FAILED"

    def __init__(self, run: Run) -> None:
        status = Status()
        try:
            ParseDict(run.get("error", {}), status, ignore_unknown_fields=True)
        except ParseError:
            status = Status(code=Code.UNKNOWN)
        failure, request_id = failure_of_status(status)
        super().__init__(failure.message, failure=failure, request_id=request_id)
        self.run = run


class StoreConnection:
    """The calls about a server's store, and setting quotas; made by `open_store_connection`.

    Raises:
        CallError: the server refused, or was out of reach.
    """

    def __init__(self, paths: OwnPaths) -> None:
        self._paths = paths

    async def get_stats(self) -> Mapping[str, Any]:
        """Get what the store holds; takes a while in a large store."""
        return await self._paths.call("GET", "/store/v1/stats")

    async def start_run(self, kind: str, **options: Any) -> Run:
        """Start a run, `gc`, `scrub` or `hold`; it begins when its turn comes."""
        return await self._paths.call("POST", "/store/v1/runs", {"kind": kind, **options})

    async def get_run(self, run_id: str) -> Run:
        return await self._paths.call("GET", f"/store/v1/runs/{quote(run_id, safe='')}")

    async def list_runs(self, *, limit: int) -> list[Run]:
        """List the latest runs, the newest first."""
        runs = (await self._paths.call("GET", f"/store/v1/runs?limit={limit}")).get("runs", [])
        return list(runs)

    async def stop_run(self, run_id: str) -> Run:
        """Have a run end before its work is done; look again for its end."""
        return await self._paths.call("POST", f"/store/v1/runs/{quote(run_id, safe='')}:stop")

    async def set_quota(
        self, cloud_id: str, quota_id: str, *, limit: int | None
    ) -> Mapping[str, Any]:
        """Set a quota of a cloud, None for no limit; gives it with what is used of it."""
        path = f"/quota/v1/clouds/{quote(cloud_id, safe='')}/limits/{quote(quota_id, safe='')}"
        return await self._paths.call("PUT", path, {"limit": limit})

    async def wait_begun(self, run_id: str, *, timeout_seconds: float = WAIT_SECONDS) -> Run:
        """Wait until a run is at work, or has ended, and return it.

        Raises:
            WaitTimeoutError: it still waits for its turn.
        """
        deadline = time.monotonic() + timeout_seconds
        while (run := await self.get_run(run_id)).get("state") == "waiting":
            if time.monotonic() >= deadline:
                raise WaitTimeoutError(
                    f"The run {run_id} has not begun after {timeout_seconds:g} s; it waits.",
                    remedy=f"`clouddesktop store stop {run_id}` takes it back.",
                )
            await asyncio.sleep(POLL_SECONDS)
        return run

    async def wait_run(
        self,
        run_id: str,
        *,
        on_progress: Callable[[Run], None] = lambda _run: None,
        on_outage: Callable[[CallError], None] = lambda _error: None,
        timeout_seconds: float = WAIT_SECONDS,
    ) -> Run:
        """Wait until the run has ended, and return it.

        Once it has been seen, a server that is out of reach does not end the wait.

        Raises:
            RunFailedError: it ended with an error.
            WaitTimeoutError: it has not ended in time; it goes on at the server.
        """
        deadline = time.monotonic() + timeout_seconds
        is_seen = False
        while True:
            try:
                run = await self.get_run(run_id)
            except CallError as error:
                if not is_seen or error.code is not Code.UNAVAILABLE:
                    raise
                on_outage(error)
            else:
                is_seen = True
                on_progress(run)
                if run.get("state") not in {"waiting", "running"}:
                    if run.get("state") == "failed":
                        raise RunFailedError(run)
                    return run
            if time.monotonic() >= deadline:
                raise WaitTimeoutError(
                    f"The run {run_id} has not ended after {timeout_seconds:g} s; it goes on.",
                    remedy=f"`clouddesktop store wait {run_id}` goes on waiting.",
                )
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def open_store_connection(connection: Connection) -> AsyncIterator[StoreConnection]:
    """Open the calls about the store of the server that `connection` leads to.

    Raises:
        ProfileError: the profile does not say where HTTPS is.
    """
    async with open_own_paths(connection) as paths:
        yield StoreConnection(paths)
