"""Page tokens of any position: they come back as they went, for their own request only."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import ListDesktopImagesRequest

from clouddesktop.api.page_tokens import PageTokens
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.tables import page_positions
from clouddesktop.errors import InvalidArgumentError

NOW = datetime(2026, 11, 24, tzinfo=UTC)
LONG = b"p" * 63
REQUEST = ListDesktopImagesRequest(folder_id="f", order_by="name", page_size=7)
OTHERS = [
    ListDesktopImagesRequest(folder_id="other", order_by="name"),
    ListDesktopImagesRequest(folder_id="f", order_by="name", filter="name=x"),
    ListDesktopImagesRequest(folder_id="f", order_by="name desc"),
]


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path_factory.mktemp('tokens') / 'catalogue.db'}")
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def tokens(database: Database, clock: Clock) -> PageTokens:
    return PageTokens(database=database, clock=clock)


def count_kept(database: Database) -> int:
    count = sa.select(sa.func.count()).select_from(page_positions)
    return database.read(lambda connection: connection.scalar(count) or 0)


@given(position=st.binary(min_size=1, max_size=300), page_size=st.integers(0, 1000))
async def test_a_token_leads_on_from_where_the_page_ended(
    tokens: PageTokens, database: Database, position: bytes, page_size: int
) -> None:
    """Whatever its length and the page sizes, at another server too; it fits the limit."""
    token = await tokens.make(REQUEST, position)
    assert re.fullmatch(r"[\w-]{1,100}", token)
    following = ListDesktopImagesRequest(folder_id="f", order_by="name", page_size=page_size)
    following.page_token = token
    another = PageTokens(database=database, clock=lambda: NOW)
    assert await another.read(following, token) == position


@pytest.mark.parametrize("position", [b"short", LONG])
async def test_another_request_s_token_is_refused(tokens: PageTokens, position: bytes) -> None:
    """Whichever field differs."""
    token = await tokens.make(REQUEST, position)
    for other in OTHERS:
        with pytest.raises(InvalidArgumentError) as caught:
            await tokens.read(other, token)
        assert [each.field for each in caught.value.violations] == ["page_token"]


@given(data=st.data(), position=st.sampled_from([b"short", LONG]))
async def test_a_garbled_token_is_refused(
    tokens: PageTokens, data: st.DataObject, position: bytes
) -> None:
    """One bit is enough, and so is one byte that is missing."""
    token = await tokens.make(REQUEST, position)
    raw = bytearray(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    bit = data.draw(st.integers(0, 8 * len(raw)))
    if bit == 8 * len(raw):
        raw.pop()
    else:
        raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidArgumentError):
        await tokens.read(REQUEST, urlsafe_b64encode(raw).rstrip(b"=").decode())


@pytest.mark.parametrize("token", ["garbage", "AAAA", "ü", "a" * 100, "!", "="])
async def test_what_is_no_token_is_refused(tokens: PageTokens, token: str) -> None:
    """Whatever it is."""
    with pytest.raises(InvalidArgumentError):
        await tokens.read(REQUEST, token)


async def test_a_token_of_another_installation_is_refused(
    tokens: PageTokens, tmp_path: Path
) -> None:
    """Its key is another one: nobody makes tokens by knowing how they are made."""
    other = Database(f"sqlite:///{tmp_path / 'other.db'}")
    other.migrate()
    token = await PageTokens(database=other).make(REQUEST, b"short")
    other.close()
    with pytest.raises(InvalidArgumentError):
        await tokens.read(REQUEST, token)


async def test_a_long_position_is_kept_for_a_day(
    tokens: PageTokens, database: Database, clock: Clock
) -> None:
    """From its last making on; once however often it is made, and what has expired is removed."""
    clock.now += timedelta(days=30)
    first = await tokens.make(REQUEST, LONG)
    clock.now += timedelta(hours=23)
    assert await tokens.make(REQUEST, LONG) == first
    assert count_kept(database) == 1
    clock.now += timedelta(hours=23)
    assert await tokens.read(REQUEST, first) == LONG
    clock.now += timedelta(hours=1)
    with pytest.raises(InvalidArgumentError, match="expired after 24 hours"):
        await tokens.read(REQUEST, first)
    await tokens.make(REQUEST, LONG + b"er")
    assert count_kept(database) == 1


async def test_no_token_is_the_first_page(tokens: PageTokens) -> None:
    """There is nothing to go on behind."""
    assert await tokens.read(REQUEST, "") is None
