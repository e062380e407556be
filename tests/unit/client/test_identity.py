"""Keys and tokens: what is signed, and when a new token is asked for."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from clouddesktop.client import ProfileError, connect
from clouddesktop.client.identity import ServiceAccountKey
from unit.client.scripted_api import ScriptedApi, make_key


def test_the_jwt_is_what_the_public_cloud_takes(tmp_path: Path) -> None:
    """PS256, kid, iss, aud with the endpoint, an hour at most."""
    public_key = make_key(tmp_path / "key.json")
    key = ServiceAccountKey.load(tmp_path / "key.json")
    now = datetime.now(tz=UTC).replace(microsecond=0)
    text = key.sign_jwt("images.example:443", now=now)
    claims = jwt.decode(
        text,
        public_key,
        algorithms=["PS256"],
        audience="https://iam.images.example:443/iam/v1/tokens",
        issuer="ajeadmin",
    )
    assert jwt.get_unverified_header(text)["kid"] == "ajkkey"
    assert claims["exp"] - claims["iat"] == timedelta(hours=1).total_seconds()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"id": "a", "private_key": "SECRET"}'])
def test_a_broken_key_is_named_but_not_quoted(tmp_path: Path, text: str) -> None:
    """Not even the causes of the error hold the key."""
    path = tmp_path / "key.json"
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        ServiceAccountKey.load(path)
    assert str(path) in caught.value.message
    assert "SECRET" not in caught.value.message
    assert caught.value.__cause__ is None


def test_a_key_does_not_show_itself(tmp_path: Path) -> None:
    """A key in a traceback or a log stays secret."""
    make_key(tmp_path / "key.json")
    key = ServiceAccountKey.load(tmp_path / "key.json")
    assert key.private_key not in repr(key)
    assert json.loads((tmp_path / "key.json").read_text())["id"] in repr(key)


async def test_many_callers_share_one_token(api: ScriptedApi) -> None:
    """Callers at the same time cause one exchange, and later ones none."""
    async with connect(api.profile) as connection:
        assert connection.tokens is not None
        tokens = await asyncio.gather(*(connection.tokens.get() for _ in range(10)))
    assert set(tokens) == {"t1.1"}
    assert len(api.jwts) == 1


async def test_forgetting_an_older_token_changes_nothing(api: ScriptedApi) -> None:
    """Two calls refused with the same token ask for one new one."""
    async with connect(api.profile) as connection:
        assert connection.tokens is not None
        first = await connection.tokens.get()
        connection.tokens.forget(first)
        second = await connection.tokens.get()
        connection.tokens.forget(first)
        assert await connection.tokens.get() == second
    assert len(api.jwts) == 2
