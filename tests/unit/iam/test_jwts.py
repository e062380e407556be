"""JWTs: what proves that the sender holds a key, and all that does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from clouddesktop.errors import Code
from clouddesktop.iam.errors import JwtRefusedError
from clouddesktop.iam.jwts import JwtChecker
from unit.iam.signing import AUDIENCE, NOW, make_pair, sign


def make_checker(*audiences: str) -> JwtChecker:
    key, _ = make_pair()
    return JwtChecker(find_key={key.id: key}.get, audiences=audiences or ("localhost",))


@pytest.mark.parametrize(
    ("names", "audience"),
    [
        (("localhost",), AUDIENCE),
        (("LocalHost",), "https://iam.LOCALHOST:1/iam/v1/tokens"),
        (("localhost",), "https://iam.localhost/iam/v1/tokens"),
        (("::1",), "https://iam.[::1]:50051/iam/v1/tokens"),
        (("::1",), "https://iam.[::1]/iam/v1/tokens"),
        (("cloud.example:443",), "https://iam.cloud.example:443/iam/v1/tokens"),
        (("[::1]:7",), "https://iam.[::1]:7/iam/v1/tokens"),
        (("https://elsewhere.example/tokens",), "https://elsewhere.example/tokens"),
        (("localhost",), ["https://other.example", AUDIENCE]),
    ],
)
def test_a_good_jwt_names_its_key(names: tuple[str, ...], audience: Any) -> None:
    """With every form of audience that is the server's."""
    key, _ = make_pair()
    assert make_checker(*names).check(sign(claims={"aud": audience}), now=NOW) == key


@pytest.mark.parametrize(
    "audience",
    [
        "https://iam.elsewhere:50051/iam/v1/tokens",
        "https://iam.localhost.elsewhere/iam/v1/tokens",
        "https://iam.local[host]:1/iam/v1/tokens",
        "https://iam.localhost:\u0661/iam/v1/tokens",
        "https://iam.localhost:50051/iam/v1/other",
        "http://iam.localhost:50051/iam/v1/tokens",
        "https://iam.localhost:50051@elsewhere/iam/v1/tokens",
        "https://localhost:50051/iam/v1/tokens",
        "localhost",
        "",
        [],
        None,
        7,
        {"localhost": True},
    ],
)
def test_a_jwt_for_somebody_else_is_refused(audience: Any) -> None:
    """One that was signed for another server can't be used here."""
    with pytest.raises(JwtRefusedError, match=r"audience|malformed|no claim aud"):
        make_checker().check(sign(claims={"aud": audience}), now=NOW)


def test_a_port_that_is_named_must_be_met() -> None:
    """HOST:PORT among the audiences means that port alone."""
    with pytest.raises(JwtRefusedError, match="audience"):
        make_checker("localhost:1").check(sign(), now=NOW)


BAD: dict[str, tuple[Callable[[], str], str]] = {
    "other issuer": (lambda: sign(claims={"iss": "ajeother"}), "issuer"),
    "too long a life": (lambda: sign(claims={"exp": NOW + 3601}), "longer than an hour"),
    "from the future": (
        lambda: sign(claims={"iat": NOW + 61, "exp": NOW + 100}),
        "issued in the future",
    ),
    "expired": (lambda: sign(claims={"iat": NOW - 3600, "exp": NOW - 60}), "expired"),
    "not yet valid": (lambda: sign(claims={"nbf": NOW + 61}), "not valid yet"),
    "never": (lambda: sign(claims={"iat": math.nan, "exp": 1e300}), "no time"),
    "expiring never": (lambda: sign(claims={"exp": math.nan}), "no time"),
    "beyond all time": (lambda: sign(claims={"exp": 10**400}), "no time"),
    "ended before it began": (lambda: sign(claims={"exp": NOW - 1}), "before it is issued"),
    "no number": (lambda: sign(claims={"iat": "soon"}), "no number|malformed"),
    "a truth as number": (lambda: sign(claims={"iat": True}), "no number|malformed"),
    "no iss": (lambda: sign(without=("iss",)), "no claim iss"),
    "no aud": (lambda: sign(without=("aud",)), "no claim aud"),
    "no iat": (lambda: sign(without=("iat",)), "no claim iat"),
    "no exp": (lambda: sign(without=("exp",)), "no claim exp"),
    "RS256": (lambda: sign(algorithm="RS256"), "PS256"),
    "PS512": (lambda: sign(algorithm="PS512"), "PS256"),
    "none": (lambda: sign(algorithm="none", secret=""), "PS256|malformed"),
    "HMAC with the public key": (
        lambda: sign(algorithm="HS256", secret="k" * 64),
        "PS256",
    ),
    "no key id": (lambda: sign(headers={"kid": ""}), "no key id"),
    "an unknown key": (lambda: sign(headers={"kid": "ajkother"}), "does not know"),
    "an endless key id": (lambda: sign(headers={"kid": "k" * 51}), "does not know"),
    "another key's signature": (
        lambda: sign(secret=rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        "another key",
    ),
    "cut": (lambda: sign()[:-10], "another key|malformed"),
    "empty": (lambda: "", "malformed"),
    "garbage": (lambda: "a.b.c", "malformed"),
    "no ASCII": (lambda: "ü.ü.ü", "malformed"),
    "too long": (lambda: "a" * 8001, "longer than 8000"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.proves("iam.jwt")
def test_a_bad_jwt_is_refused_with_the_reason(name: str) -> None:
    """UNAUTHENTICATED in plain words, which never quote the JWT."""
    make, words = BAD[name]
    text = make()
    with pytest.raises(JwtRefusedError, match=words) as caught:
        make_checker().check(text, now=NOW)
    failure = caught.value.failure
    assert failure.code is Code.UNAUTHENTICATED
    assert failure.message.endswith(".")
    signature = text.rpartition(".")[2]
    assert len(signature) < 20 or signature not in repr(failure)


@pytest.mark.parametrize("shift_seconds", [-59, 0, 59])
def test_clocks_may_differ_by_a_minute(shift_seconds: int) -> None:
    """Neither `iat` nor `exp` is refused for a small difference."""
    checker = make_checker()
    checker.check(sign(), now=NOW + shift_seconds)
    checker.check(sign(), now=NOW + 3600 + shift_seconds)
