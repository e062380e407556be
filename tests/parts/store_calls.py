"""The store's own paths, called over HTTPS with a token."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import httpx
import yaml

from clouddesktop.client import connect
from parts.waiting import wait_for

_RUN_SECONDS = 300  # a scrub reads all there is, beside whatever else the machine does


async def _get_access(profile: Path) -> tuple[str, ssl.SSLContext]:
    async with connect(profile) as connection:
        assert connection.tokens is not None
        return await connection.tokens.get(), connection.profile.make_ssl_context()


class StoreCalls:
    """Starts collections and scrubs, and looks at them."""

    def __init__(self, profile: Path) -> None:
        token, context = asyncio.run(_get_access(profile))
        self.http = httpx.Client(
            base_url=yaml.safe_load(profile.read_text())["rest"],
            verify=context,
            headers={"authorization": f"Bearer {token}"},
        )

    def start(self, *, kind: str = "gc", **options: bool) -> str:
        answer = self.http.post("/store/v1/runs", json={"kind": kind, **options})
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    def look(self, run_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/store/v1/runs/{run_id}")
        assert answer.is_success, answer.text
        return dict(answer.json())

    def wait(self, run_id: str) -> dict[str, Any]:
        """Wait for the run's report."""
        wait_for(
            lambda: "ended_at" in self.look(run_id),
            f"{run_id} has ended",
            timeout_seconds=_RUN_SECONDS,
        )
        run = self.look(run_id)
        assert run["state"] == "done", run
        return dict(run["report"])

    def collect(self) -> dict[str, Any]:
        return self.wait(self.start())

    def scrub(self) -> dict[str, Any]:
        return self.wait(self.start(kind="scrub"))

    def close(self) -> None:
        self.http.close()
