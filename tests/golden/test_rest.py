"""The same calls over REST: the JSON is what the definitions ask for, name for name."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from clouddesktop.api.http_edge import HttpEdge
from clouddesktop.api.rest import RestApp
from golden.exchange import Exchange, filled
from golden.exchanges import iter_exchanges
from golden.prepared import COPIED, RUNNING, fill_catalogue
from golden.refusals import REFUSALS, Refusal
from unit.api.serving import Served, serving


@dataclass(frozen=True, kw_only=True)
class Site:
    """The API behind REST, and a client that has no token."""

    served: Served
    client: httpx.AsyncClient

    async def call(self, rest: tuple[str, str, Any], *, has_token: bool = True) -> httpx.Response:
        verb, path, body = rest
        headers = dict([self.served.authorization]) if has_token else {}
        if body is None:
            return await self.client.request(verb, path, headers=headers)
        return await self.client.request(verb, path, headers=headers, json=body)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """REST over a server whose catalogue is as prepared.py says."""
    async with serving(tmp_path) as served:
        fill_catalogue(served)
        served.copies.answer = RUNNING
        transport = httpx.ASGITransport(app=HttpEdge(RestApp(served.server._api)))
        async with httpx.AsyncClient(transport=transport, base_url="http://rest") as client:
            yield Site(served=served, client=client)


@pytest.mark.parametrize("exchange", list(iter_exchanges()), ids=lambda each: each.name)
async def test_answers_are_right_in_json(site: Site, exchange: Exchange) -> None:
    """Names, strings for int64, instants, `@type`, and nothing for defaults."""
    if exchange.copies_done:
        site.served.copies.answer = COPIED
    response = await site.call(exchange.rest)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    answer = json.loads(response.text)
    assert answer == filled(exchange.answer[1], answer)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: each.name)
async def test_refusals_are_right_in_json(site: Site, refusal: Refusal) -> None:
    """The bare Status, with HTTP's code for it; the request's id is in the header too."""
    if refusal.cause is not None:
        site.served.copies.answer = refusal.cause
    response = await site.call(refusal.rest, has_token=refusal.has_token)
    assert response.status_code == refusal.http_status
    answer = json.loads(response.text)
    assert answer == filled(refusal.status, answer)
    assert response.headers["x-request-id"] == answer["details"][1]["requestId"]
