"""IAM tokens: issued, checked, forged, expired, cached."""

from __future__ import annotations

import asyncio
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.iam import tokens
from clouddesktop.iam.errors import (
    JwtRefusedError,
    TokenExpiredError,
    TokenInvalidError,
    TokenRevokedError,
)
from clouddesktop.iam.tokens import KEY_SECONDS, LIFETIME_SECONDS, TokenService
from clouddesktop.model.access import AuthorizedKey, Subject
from unit.iam.signing import NOW, make_pair, sign

WAIT_SECONDS = 30
PUBLIC_FORM = re.compile(r"t1\.[A-Z0-9a-z_-]+[=]{0,2}\.[A-Z0-9a-z_-]{86}[=]{0,2}")


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def make_service(clock: Clock, *, seed: bytes = b"s" * 32) -> TokenService:
    key, _ = make_pair()
    return TokenService(
        signing_key=seed, find_key={key.id: key}.get, audiences=["localhost"], clock=clock
    )


def test_a_jwt_is_traded_for_a_token_of_its_service_account() -> None:
    """The token has the public form, says when it ends, and leads back to the subject."""
    service = make_service(Clock())
    issued = service.exchange_jwt(sign())
    assert PUBLIC_FORM.fullmatch(issued.token)
    assert issued.expires_at.timestamp() == NOW + LIFETIME_SECONDS
    assert service.check_token(issued.token) == Subject(id="ajeadmin")
    assert service.exchange_jwt(sign()).token != issued.token


def test_a_token_outlives_its_server() -> None:
    """Another service with the same seed takes it; one with another seed does not."""
    token = make_service(Clock()).exchange_jwt(sign()).token
    assert make_service(Clock()).check_token(token).id == "ajeadmin"
    with pytest.raises(TokenInvalidError):
        make_service(Clock(), seed=b"o" * 32).check_token(token)


def test_a_bad_jwt_gets_no_token() -> None:
    """The reason comes through."""
    with pytest.raises(JwtRefusedError):
        make_service(Clock()).exchange_jwt("nonsense")


@pytest.mark.proves("iam.expiry")
def test_a_token_ends_when_it_said() -> None:
    """Also when it is cached."""
    clock = Clock()
    service = make_service(clock)
    token = service.exchange_jwt(sign()).token
    clock.now = NOW + LIFETIME_SECONDS - 1
    service.check_token(token)
    clock.now += 1
    for each in (service, make_service(clock)):
        with pytest.raises(TokenExpiredError) as caught:
            each.check_token(token)
        assert token not in str(caught.value.failure)


@given(data=st.data())
def test_a_token_that_was_touched_is_refused(data: st.DataObject) -> None:
    """Any other character anywhere: also one that only changes unused bits of the base64."""
    service = make_service(Clock())
    token = service.exchange_jwt(sign()).token
    position = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda each: each != token[position]))
    with pytest.raises(TokenInvalidError):
        service.check_token(token[:position] + other + token[position + 1 :])


@pytest.mark.parametrize(
    "token", ["", "t1", "t1.", "t1..", "t1.a.b", "t1.e30.e30", "ü", "t1." * 999]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    """Whatever it is, in the same words."""
    with pytest.raises(TokenInvalidError):
        make_service(Clock()).check_token(token)


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently used token goes first, and is still good when it comes again."""
    monkeypatch.setattr(tokens, "_CACHED_TOKENS", 3)
    service = make_service(Clock())
    issued = [service.exchange_jwt(sign()).token for _ in range(4)]
    for each in (*issued[:3], issued[0], issued[3]):
        service.check_token(each)
    assert list(service._cache) == [issued[2], issued[0], issued[3]]
    assert service.check_token(issued[1]).id == "ajeadmin"


def test_threads_share_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many threads with more tokens than the cache holds all get their answers."""
    monkeypatch.setattr(tokens, "_CACHED_TOKENS", 2)
    service = make_service(Clock())
    issued = [service.exchange_jwt(sign()).token for _ in range(5)]
    with ThreadPoolExecutor(8) as threads:
        subjects = set(threads.map(service.check_token, issued * 200))
    assert subjects == {Subject(id="ajeadmin")}
    assert len(service._cache) <= 2


class Keys:
    """The keys that a database has; counts how often it is asked."""

    def __init__(self) -> None:
        key, _ = make_pair()
        self.known = {key.id: key}
        self.asked = 0

    def find(self, key_id: str) -> AuthorizedKey | None:
        self.asked += 1
        return self.known.get(key_id)


def make_revocable(keys: Keys, clock: Clock) -> TokenService:
    return TokenService(
        signing_key=b"s" * 32, find_key=keys.find, audiences=["localhost"], clock=clock
    )


def test_a_revoked_key_s_tokens_end_at_once_in_the_process_that_revokes_it() -> None:
    """Those that were checked a moment ago, too."""
    keys = Keys()
    service = make_revocable(keys, Clock())
    token = service.exchange_jwt(sign()).token
    service.check_token(token)
    keys.known.clear()
    service.forget_keys()
    with pytest.raises(TokenRevokedError) as caught:
        service.check_token(token)
    assert token not in str(caught.value.failure)


def test_a_revoked_key_s_tokens_end_elsewhere_when_it_is_looked_up_again() -> None:
    """Another process notices by itself, and asks for a key once in that time."""
    keys, clock = Keys(), Clock()
    service = make_revocable(keys, clock)
    token = service.exchange_jwt(sign()).token
    keys.asked = 0
    for _ in range(100):
        service.check_token(token)
    assert keys.asked == 1
    keys.known.clear()
    clock.now += KEY_SECONDS - 0.1
    service.check_token(token)
    clock.now += 0.1
    with pytest.raises(TokenRevokedError):
        service.check_token(token)


def test_a_clock_that_is_set_back_keeps_no_key_alive() -> None:
    """What was found out in the future counts for nothing."""
    keys, clock = Keys(), Clock()
    service = make_revocable(keys, clock)
    token = service.exchange_jwt(sign()).token
    service.check_token(token)
    keys.known.clear()
    clock.now -= 3600
    with pytest.raises(TokenRevokedError):
        service.check_token(token)


def test_a_key_that_is_revoked_while_it_is_read_is_read_again() -> None:
    """The answer of before the revocation is not kept."""
    keys = Keys()
    service = make_revocable(keys, Clock())
    token = service.exchange_jwt(sign()).token
    find = keys.find

    def find_and_revoke(key_id: str) -> AuthorizedKey | None:
        found = find(key_id)
        keys.known.clear()
        service.forget_keys()
        return found

    service._find_key = find_and_revoke
    service.check_token(token)  # was under way
    with pytest.raises(TokenRevokedError):
        service.check_token(token)


def test_a_key_of_another_account_proves_nothing() -> None:
    """A token is its account's and its key's."""
    keys = Keys()
    service = make_revocable(keys, Clock())
    token = service.exchange_jwt(sign()).token
    key, _ = make_pair()
    keys.known[key.id] = replace(key, service_account_id="ajeother")
    with pytest.raises(TokenRevokedError):
        service.check_token(token)


async def test_the_loop_waits_for_no_key() -> None:
    """While the database is asked for it, other calls go on; what is known is said at once."""
    key, _ = make_pair()
    asked, answers = threading.Event(), threading.Event()

    def find_key(_key_id: str) -> AuthorizedKey:
        asked.set()
        assert answers.wait(WAIT_SECONDS)
        return key

    service = TokenService(
        signing_key=b"s" * 32, find_key=find_key, audiences=["localhost"], clock=Clock()
    )
    token = make_service(Clock()).exchange_jwt(sign()).token
    check = asyncio.ensure_future(service.acheck_token(token))
    assert await asyncio.to_thread(asked.wait, WAIT_SECONDS)
    assert not check.done()
    answers.set()
    assert (await check).id == "ajeadmin"
    answers.clear()
    assert (await service.acheck_token(token)).id == "ajeadmin"
