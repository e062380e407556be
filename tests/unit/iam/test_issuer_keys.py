"""Waiting for an issuer's keys: together, and not too many."""

from __future__ import annotations

import asyncio
import threading

import pytest

from clouddesktop.iam.discovery import IssuerUnavailableError, SigningKey
from clouddesktop.iam.issuer_keys import MOST_WAITING, IssuerKeys
from parts.issuer import make_private_key

URL = "https://sso.example.org"


async def test_an_issuer_that_hangs_holds_few_calls() -> None:
    """Those beyond are told to come back; the others get what they waited for."""
    goes_on = threading.Event()
    key = SigningKey(
        id="one",
        kind="RSA",
        algorithm="",
        public_key=make_private_key("RS256", "one").public_key(),
    )

    def fetch() -> tuple[SigningKey, ...]:
        goes_on.wait(30)
        return (key,)

    keys = IssuerKeys(issuer_url=URL, fetch=fetch)
    loop = asyncio.get_running_loop()
    waiting = [loop.create_task(keys.find("one", "RS256")) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    try:
        with pytest.raises(IssuerUnavailableError) as caught:
            await keys.find("one", "RS256")
        assert caught.value.failure.retry_after_seconds == 1
    finally:
        goes_on.set()
    assert await asyncio.gather(*waiting) == [key] * MOST_WAITING
    assert await keys.find("one", "RS256") == key


async def test_a_fault_of_ours_is_an_outage_too() -> None:
    """The next attempt comes after the pause, and the server goes on."""
    now = [0.0]

    def fetch() -> tuple[SigningKey, ...]:
        raise ZeroDivisionError

    keys = IssuerKeys(issuer_url=URL, fetch=fetch, clock=lambda: now[0])
    for pause in (1, 2):
        with pytest.raises(IssuerUnavailableError) as caught:
            await keys.find("one", "RS256")
        assert caught.value.failure.retry_after_seconds == pause
        now[0] += pause
