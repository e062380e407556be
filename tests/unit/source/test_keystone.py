"""Tokens from Keystone: when they are asked for, and what never leaves with them."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clouddesktop.source.base import SourceUnreadableError
from clouddesktop.source.fetch import FetchForbiddenError
from clouddesktop.source.keystone import (
    ApplicationCredential,
    FixedToken,
    KeystoneTokens,
    OpenStackAccess,
    make_tokens,
)
from parts.scripted import Reply, ScriptedServer

SECRET = "a-secret-of-tests"  # noqa: S105  (of nothing)


class Clock:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def web(tmp_path: Path) -> Iterator[ScriptedServer]:
    server = ScriptedServer(tmp_path, tls=tmp_path / "tls")
    server.script = lambda _request: issue(len(server.seen))
    server.start()
    yield server
    server.stop()


def issue(number: int) -> Reply:
    """Issue a token for an hour."""
    times = {"issued_at": "2020-01-01T00:00:00.000000Z", "expires_at": "2020-01-01T01:00:00Z"}
    return Reply.of_json({"token": times}, status=201, x_subject_token=f"token-{number}")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(web: ScriptedServer, clock: Clock) -> Iterator[Callable[..., KeystoneTokens]]:
    made: list[KeystoneTokens] = []

    def make(path: str = "v3") -> KeystoneTokens:
        credential = ApplicationCredential(auth_url=web.url + path, id="me", secret=SECRET)
        made.append(KeystoneTokens(credential, ca_file=str(web.ca), stall_seconds=5, clock=clock))
        return made[-1]

    yield make
    for each in made:
        each.close()


Make = Callable[..., KeystoneTokens]


@pytest.mark.parametrize("path", ["", "v3", "v3/", "identity", "identity/v3/"])
def test_a_token_is_asked_for_by_the_credential(web: ScriptedServer, make: Make, path: str) -> None:
    """At the v3 API, whether the URL says so or not."""
    assert make(path).find_token()
    prefix = "/identity" if path.startswith("identity") else ""
    assert (web.seen[0].method, web.seen[0].path) == ("POST", f"{prefix}/v3/auth/tokens")
    identity = json.loads(web.seen[0].body)["auth"]["identity"]
    assert identity == {
        "methods": ["application_credential"],
        "application_credential": {"id": "me", "secret": SECRET},
    }


def test_a_token_is_used_until_shortly_before_its_end(
    web: ScriptedServer, clock: Clock, make: Make
) -> None:
    """By the length of its life: the other server's clock may be off by years."""
    tokens = make()
    first = tokens.find_token()
    clock.now += 3600 - 121
    assert tokens.find_token() == first
    clock.now += 2
    assert tokens.find_token() != first
    assert len(web.seen) == 2


def test_a_refused_token_is_renewed_once_for_all(web: ScriptedServer, make: Make) -> None:
    """Requests that were refused with the old one get the new one."""
    tokens = make()
    first = tokens.find_token()
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: tokens.find_token(refused=first), range(8)))
    assert len(found) == 1
    assert first not in found
    assert len(web.seen) == 2


def test_a_failure_stands_for_all_who_waited_for_it(web: ScriptedServer) -> None:
    """They do not ask one after the other what one of them was just refused; later ones do."""
    second_waits = threading.Event()
    readings = itertools.count(1)

    def clock() -> float:
        reading = next(readings)
        if reading == 3:  # the first has read it twice by then: when it came, and when it asked
            second_waits.set()
        return float(reading)

    def refuse(_request: object) -> Reply:
        assert second_waits.wait(10)
        return Reply.of_json({}, status=401)

    web.script = refuse
    credential = ApplicationCredential(auth_url=web.url, id="me", secret=SECRET)
    tokens = KeystoneTokens(credential, ca_file=str(web.ca), stall_seconds=15, clock=clock)
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(tokens.find_token) for _ in range(2)]
        failures = [each.exception() for each in both]
    assert all(isinstance(each, SourceUnreadableError) for each in failures)
    assert len(web.seen) == 1
    with pytest.raises(SourceUnreadableError):
        tokens.find_token()
    assert len(web.seen) == 2
    tokens.close()


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token": {"expires_at": "never"}}', b"[" * 99_999])
def test_a_token_whose_end_is_not_told_is_used_until_it_is_refused(
    web: ScriptedServer, clock: Clock, make: Make, body: bytes
) -> None:
    web.script = lambda _request: Reply(status=201, body=body, headers={"x-subject-token": "t"})
    tokens = make()
    assert tokens.find_token() == "t"
    clock.now += 10**9
    assert tokens.find_token() == "t"
    assert len(web.seen) == 1


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(status=401), "refuses the application credential"),
        (Reply(status=404), "answers HTTP 404"),
        (Reply(status=307, headers={"location": "https://other.example/"}), "answers HTTP 307"),
        (Reply(status=201), "issues no token"),
        (Reply(status=201, headers={"x-subject-token": "tok\u00e9n"}), "issues no token"),
    ],
)
def test_a_refusal_is_final_and_says_what_to_do(
    web: ScriptedServer, make: Make, reply: Reply, words: str
) -> None:
    """One request, no redirect followed, and no secret in the error."""
    web.script = lambda _request: reply
    with pytest.raises(SourceUnreadableError, match=words) as caught:
        make().find_token()
    assert "OS_A" in caught.value.remedy
    assert SECRET not in str(caught.value.failure)
    assert len(web.seen) == 1


def test_a_busy_keystone_is_asked_again(web: ScriptedServer, make: Make) -> None:
    web.script = lambda _request: issue(1) if len(web.seen) > 2 else Reply(status=503)
    assert make().find_token()
    assert len(web.seen) == 3


def test_a_secret_goes_over_tls_only() -> None:
    """And to the one host that was named."""
    credential = ApplicationCredential(auth_url="http://10.0.0.5/v3", id="me", secret=SECRET)
    with pytest.raises(FetchForbiddenError, match="not of https") as caught:
        KeystoneTokens(credential, ca_file=None, stall_seconds=1)
    assert "OS_AUTH_URL" in caught.value.remedy
    assert SECRET not in repr(OpenStackAccess(application_credential=credential, token=SECRET))


def test_a_given_token_is_the_only_one() -> None:
    """Once it is refused there is none."""
    tokens = make_tokens(OpenStackAccess(token="t"), ca_file=None, stall_seconds=1)  # noqa: S106
    assert (tokens.find_token(), tokens.find_token(refused="t")) == ("t", None)
    assert FixedToken(None).find_token() is None
    assert make_tokens(None, ca_file=None, stall_seconds=1).find_token() is None
