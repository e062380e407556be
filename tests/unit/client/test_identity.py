"""Keys and tokens: what is signed, and when a new token is asked for."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from clouddesktop.client import ProfileError, connect
from clouddesktop.client.identity import ServiceAccountKey, TokenFile
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


async def test_a_token_file_wins_over_the_key(api: ScriptedApi, tmp_path: Path) -> None:
    """What stands in it is sent, and nothing is traded for it."""
    file = tmp_path / "token"
    file.write_text("a.b.c\n")
    async with connect(replace(api.profile, token_file=file)) as connection:
        assert connection.tokens is not None
        assert await connection.tokens.get() == "a.b.c"
    assert api.jwts == []


async def test_a_token_that_was_refused_is_read_anew(tmp_path: Path) -> None:
    """Until then the file is not looked at; an older refusal changes nothing."""
    file = tmp_path / "token"
    file.write_text("first")
    tokens = TokenFile(file)
    assert await tokens.get() == "first"
    file.write_text("second")
    assert await tokens.get() == "first"
    tokens.forget("first")
    assert await tokens.get() == "second"
    file.write_text("third")
    tokens.forget("first")
    assert await tokens.get() == "second"


async def test_a_token_from_a_pipe_is_kept() -> None:
    """As `--token-file <(get-token)` gives it: once."""
    reader, writer = os.pipe()
    os.write(writer, b"once")
    os.close(writer)
    tokens = TokenFile(Path(f"/dev/fd/{reader}"))
    assert await tokens.get() == "once"
    tokens.forget("once")
    assert await tokens.get() == "once"
    os.close(reader)


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"\xff", b"line\nline"])
async def test_a_file_without_a_token_is_named(tmp_path: Path, content: bytes) -> None:
    """And what is in it is not quoted."""
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(ProfileError) as caught:
        await TokenFile(file).get()
    assert str(file) in caught.value.message
    assert "words" not in str(caught.value.failure)
