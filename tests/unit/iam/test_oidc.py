"""OpenID Connect tokens of a real issuer: good, bad, forged, and while it is out of reach."""

from __future__ import annotations

import asyncio
import json
import math
import ssl
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.errors import CloudDesktopError
from clouddesktop.iam.discovery import IssuerUnavailableError, SigningKey, fetch_keys
from clouddesktop.iam.errors import TokenExpiredError, TokenInvalidError
from clouddesktop.iam.issuer_keys import (
    FRESH_SECONDS,
    LONGEST_PAUSE_SECONDS,
    UNKNOWN_KEY_SECONDS,
    USABLE_SECONDS,
    IssuerKeys,
)
from clouddesktop.iam.oidc import ALGORITHMS, OidcTokens
from clouddesktop.iam.oidc import Issuer as TrustedIssuer
from parts.issuer import AUDIENCE, DISCOVERY, KEYS, Issuer, issuing, make_private_key
from parts.web import status

NOW = 1_790_000_000
SKEW = 60
URL = "https://sso.example.org"
MARK = "whatever-stands-in-a-token"


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[Issuer]:
    """An issuer with the key `one`."""
    with issuing(tmp_path) as it:
        yield it


@pytest.fixture
def clock() -> Clock:
    """The time of tokens and of fetches."""
    return Clock()


def trust(issuer: Issuer, clock: Clock, *, name: str = "corp", claim: str = "sub") -> TrustedIssuer:
    context = ssl.create_default_context()
    if issuer.web.ca is not None:
        context.load_verify_locations(issuer.web.ca)
    return TrustedIssuer(
        name=name,
        url=issuer.url,
        audiences=frozenset({AUDIENCE, "cli"}),
        keys=IssuerKeys(
            issuer_url=issuer.url,
            fetch=partial(fetch_keys, issuer.url, context=context),
            clock=clock,
        ),
        claim=claim,
    )


def make_tokens(issuer: Issuer, clock: Clock, **options: Any) -> OidcTokens:
    return OidcTokens(issuers=[trust(issuer, clock, **options)], skew_seconds=SKEW, clock=clock)


async def check(tokens: OidcTokens, token: str) -> str:
    return (await tokens.check_token(token)).id


async def refusal_of(tokens: OidcTokens, token: str) -> CloudDesktopError:
    """Check a token that must be refused, and see that nothing of it is told."""
    with pytest.raises(CloudDesktopError) as caught:
        await tokens.check_token(token)
    told = json.dumps(caught.value.failure.to_record())
    assert not any(len(part) > 8 and part in told for part in token.split("."))
    assert MARK not in told
    assert caught.value.message.endswith(".")
    return caught.value


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("says_algorithm", [True, False])
async def test_a_token_leads_to_its_subject(
    issuer: Issuer, clock: Clock, algorithm: str, says_algorithm: bool
) -> None:
    """With each algorithm, whether or not the key says that it is for that one."""
    issuer.add_key("key", algorithm, **({} if says_algorithm else {"alg": None, "use": None}))
    token = issuer.sign("key", algorithm, now=NOW)
    assert await check(make_tokens(issuer, clock), token) == "corp:alice"


async def test_over_tls_with_an_authority_of_its_own(tmp_path: Path, clock: Clock) -> None:
    """Without the authority it is out of reach."""
    with issuing(tmp_path / "web", tls=tmp_path / "tls") as issuer:
        assert issuer.url.startswith("https:")
        token = issuer.sign(now=NOW)
        assert await check(make_tokens(issuer, clock), token) == "corp:alice"
        issuer.web.ca = None
        refusal = await refusal_of(make_tokens(issuer, clock), token)
        assert isinstance(refusal, IssuerUnavailableError)


async def test_one_key_needs_no_name(issuer: Issuer, clock: Clock) -> None:
    """Of two that fit, it is not clear which is meant."""
    token = jwt.encode(
        {"iss": issuer.url, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 300},
        make_private_key("RS256", "one"),
        algorithm="RS256",
    )
    issuer.add_key("other kind", "ES256")
    assert await check(make_tokens(issuer, clock), token) == "corp:alice"
    issuer.add_key("two")
    assert isinstance(await refusal_of(make_tokens(issuer, clock), token), TokenInvalidError)


async def test_two_issuers_have_subjects_of_their_own(tmp_path: Path, clock: Clock) -> None:
    """Also where both call them the same; neither signs for the other."""
    with issuing(tmp_path / "a") as first, issuing(tmp_path / "b") as second:
        second.remove_key("one")
        second.add_key("two")
        tokens = OidcTokens(
            issuers=[trust(first, clock, name="corp"), trust(second, clock, name="ci")],
            skew_seconds=SKEW,
            clock=clock,
        )
        assert await check(tokens, first.sign(now=NOW)) == "corp:alice"
        assert await check(tokens, second.sign("two", now=NOW)) == "ci:alice"
        forged = second.sign("two", now=NOW, iss=first.url)
        assert "(kid)" in (await refusal_of(tokens, forged)).message


async def test_another_claim_may_name_the_subject(issuer: Issuer, clock: Clock) -> None:
    """An address counts only where its issuer has not left it unverified."""
    tokens = make_tokens(issuer, clock, claim="email")
    address: dict[str, Any] = {"email": "alice@example.org", "now": NOW}
    verified: dict[str, Any]
    for verified in ({}, {"email_verified": True}):
        token = issuer.sign(**{**address, **verified})
        assert await check(tokens, token) == "corp:alice@example.org"
    for unverified in (False, "true", None, 0):
        token = issuer.sign(**address, email_verified=unverified)
        assert "not verified" in (await refusal_of(tokens, token)).message


@pytest.mark.parametrize("audience", [AUDIENCE, "cli", ["other", AUDIENCE]])
async def test_any_of_the_audiences_will_do(
    issuer: Issuer, clock: Clock, audience: str | list[str]
) -> None:
    """A token may be for several."""
    assert await check(make_tokens(issuer, clock), issuer.sign(aud=audience, now=NOW))


def _part(text: str) -> str:
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _nested(depth: int) -> str:
    return f"{_part(json.dumps({'alg': 'RS256', 'kid': 'one'}))}.{_part('[' * depth)}.AAAA"


def _public_pem(_issuer: Issuer) -> bytes:
    key = make_private_key("RS256", "one").public_key()
    pem: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    # PyJWT refuses to make such a token with the PEM as it stands.
    return pem.replace(b"-----BEGIN", b"").strip()


def _tampered(issuer: Issuer) -> str:
    header, _, signature = issuer.sign(now=NOW).split(".")
    return ".".join([header, issuer.sign(now=NOW, sub="bob").split(".")[1], signature])


FORGERIES: dict[str, tuple[Callable[[Issuer], str], str]] = {
    "another audience": (lambda i: i.sign(aud=MARK, now=NOW), "(aud)"),
    "no audience": (lambda i: i.sign(without=("aud",), now=NOW), "(aud)"),
    "an audience that is none": (lambda i: i.sign(aud=[{"a": AUDIENCE}], now=NOW), "(aud)"),
    "another issuer": (lambda i: i.sign(iss=f"https://{MARK}", now=NOW), "(iss)"),
    "an issuer that is nearly the same": (lambda i: i.sign(iss=f"{i.url}/", now=NOW), "(iss)"),
    "no issuer": (lambda i: i.sign(without=("iss",), now=NOW), "(iss)"),
    "no end": (lambda i: i.sign(without=("exp",), now=NOW), "exp"),
    "an end that is no number": (lambda i: i.sign(nbf="x", now=NOW), "nbf"),
    "an end that never comes": (lambda i: i.sign(now=NOW, nbf=math.nan), "nbf"),
    "no subject": (lambda i: i.sign(without=("sub",), now=NOW), "claim sub"),
    "an empty subject": (lambda i: i.sign(sub="", now=NOW), "claim sub"),
    "half a character as subject": (lambda i: i.sign(sub="\ud800", now=NOW), "claim sub"),
    "a subject without end": (lambda i: i.sign(sub="a" * 1001, now=NOW), "claim sub"),
    "alg none": (lambda i: i.sign(algorithm="none", secret="", now=NOW), "(alg)"),
    "HS256 with the public key": (
        lambda i: i.sign(algorithm="HS256", secret=_public_pem(i), now=NOW), "(alg)"
    ),
    "the name of another kind of key": (
        lambda i: i.sign("one", "ES256", secret=make_private_key("ES256", "x"), now=NOW), "(kid)"
    ),
    "a key that is for another algorithm": (
        lambda i: i.sign(algorithm="PS256", now=NOW), "(kid)"
    ),
    "a key of nobody": (lambda i: i.sign("nobody", now=NOW), "(kid)"),
    "another key of that name": (
        lambda i: i.sign(secret=make_private_key("RS256", "other"), now=NOW), "the key that"
    ),
    "other claims than were signed": (_tampered, "the key that"),
    "a logout token": (lambda i: i.sign(headers={"typ": "logout+jwt"}, now=NOW), "(typ)"),
    "a type that is none": (lambda i: i.sign(headers={"typ": 5}, now=NOW), "(typ)"),
    "a header that it must be read by": (
        lambda i: i.sign(headers={"crit": ["x"], "x": 1}, now=NOW), "malformed"
    ),
    "nonsense": (lambda _: MARK, "malformed"),
    "two parts": (lambda i: i.sign(now=NOW).rpartition(".")[0], "malformed"),
    "brackets without end": (lambda _: _nested(11_000), "malformed"),
    "a list": (lambda _: _nested(0) + "x", "malformed"),
    "another alphabet": (lambda i: f"{i.sign(now=NOW)}ü", "characters"),
    "too much": (lambda i: i.sign(now=NOW, other="x" * 16_000), "characters"),
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_what_proves_nothing_is_refused_with_the_rule(
    issuer: Issuer, clock: Clock, forgery: str
) -> None:
    """And nothing of it is quoted."""
    make, words = FORGERIES[forgery]
    refusal = await refusal_of(make_tokens(issuer, clock), make(issuer))
    assert isinstance(refusal, TokenInvalidError)
    assert words in refusal.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
HEADERS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("alg", "typ", "kid", "crit", "b64"), JSON)
)
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        name: JSON | st.sampled_from([AUDIENCE, NOW, NOW + 300, math.inf])
        for name in ("aud", "sub", "exp", "nbf", "iat")
    },
)


def _checked_alone(tokens: OidcTokens, token: str) -> str:
    try:
        return asyncio.run(check(tokens, token))
    except CloudDesktopError as error:
        return error.reason


def _known(clock: Clock) -> OidcTokens:
    """Trust an issuer whose key is known without a fetch."""
    public = make_private_key("ES256", "known").public_key()
    key = SigningKey(id="known", kind="EC", algorithm="", public_key=public)
    keys = IssuerKeys(issuer_url=URL, fetch=lambda: (key,), clock=clock)
    issuer = TrustedIssuer(name="corp", url=URL, audiences=frozenset({AUDIENCE}), keys=keys)
    return OidcTokens(issuers=[issuer], skew_seconds=SKEW, clock=clock)


@given(header=HEADERS | JSON, claims=CLAIMS | JSON, rest=st.text(max_size=20))
def test_whatever_is_sent_is_refused(header: Any, claims: Any, rest: str) -> None:
    """With an error of ours."""
    token = ".".join([*(_part(json.dumps(each)) for each in (header, claims)), rest])
    assert _checked_alone(_known(Clock()), token) == "TOKEN_INVALID"


@given(claims=CLAIMS)
def test_whatever_a_trusted_issuer_signs_is_taken_or_refused(claims: dict[str, Any]) -> None:
    """With an error of ours, or as its subject."""
    private = make_private_key("ES256", "known")
    payload = json.dumps({"iss": URL, **claims}).encode()
    token = jwt.PyJWS().encode(payload, private, algorithm="ES256", headers={"kid": "known"})
    found = _checked_alone(_known(Clock()), token)
    assert found in ("TOKEN_INVALID", "TOKEN_EXPIRED") or found.startswith("corp:")


async def test_a_weak_key_signs_nothing(issuer: Issuer, clock: Clock) -> None:
    """RSA of 1024 bits, also when the issuer publishes it."""
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  (that is the point)
    record = jwt.get_algorithm_by_name("RS256").to_jwk(weak.public_key(), as_dict=True)
    issuer.write(KEYS, {"keys": [{**record, "kid": "weak"}]})
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = issuer.sign("weak", secret=weak, now=NOW)
    assert "weak" in (await refusal_of(make_tokens(issuer, clock), token)).message


async def test_algorithms_may_be_narrowed_down(issuer: Issuer, clock: Clock) -> None:
    """What is not among them is refused."""
    tokens = OidcTokens(
        issuers=[trust(issuer, clock)], algorithms=["ES256"], skew_seconds=SKEW, clock=clock
    )
    issuer.add_key("ec", "ES256")
    assert await check(tokens, issuer.sign("ec", "ES256", now=NOW))
    assert "(alg)" in (await refusal_of(tokens, issuer.sign(now=NOW))).message


async def test_a_token_lives_as_long_as_it_says(issuer: Issuer, clock: Clock) -> None:
    """Give or take the skew; also when it is known already."""
    tokens = make_tokens(issuer, clock)
    token = issuer.sign(now=NOW)
    clock.now = NOW + 300 + SKEW - 1
    assert await check(tokens, token)
    clock.now += 1
    for each in (tokens, make_tokens(issuer, clock)):
        assert isinstance(await refusal_of(each, token), TokenExpiredError)


def starting(claim: str, at: int) -> dict[str, Any]:
    return {claim: at}


@pytest.mark.parametrize("claim", ["nbf", "iat"])
async def test_a_token_begins_when_it_says(issuer: Issuer, clock: Clock, claim: str) -> None:
    """Give or take the skew."""
    tokens = make_tokens(issuer, clock)
    early = issuer.sign(now=NOW, **starting(claim, NOW + SKEW + 1))
    assert "not valid yet" in (await refusal_of(tokens, early)).message
    assert await check(tokens, issuer.sign(now=NOW, **starting(claim, NOW + SKEW)))
    clock.now += 1
    assert await check(tokens, early)


async def test_a_known_token_costs_nothing_at_the_issuer(issuer: Issuer, clock: Clock) -> None:
    """Neither do others of the same key."""
    tokens = make_tokens(issuer, clock)
    for number in range(5):
        token = issuer.sign(now=NOW, jti=str(number))
        for _ in range(3):
            assert await check(tokens, token)
    assert issuer.fetches == 1


async def test_a_crowd_waits_for_one_fetch(issuer: Issuer, clock: Clock) -> None:
    """Also when the one who began it has gone."""
    tokens = make_tokens(issuer, clock)
    loop = asyncio.get_running_loop()
    first = loop.create_task(tokens.check_token(issuer.sign(now=NOW)))
    rest = [
        loop.create_task(tokens.check_token(issuer.sign(now=NOW, jti=str(each))))
        for each in range(20)
    ]
    await asyncio.sleep(0)
    first.cancel()
    assert {each.id for each in await asyncio.gather(*rest)} == {"corp:alice"}
    assert issuer.fetches == 1


async def test_a_new_key_is_looked_for_once(issuer: Issuer, clock: Clock) -> None:
    """Names that nobody has make the server ask once in a while, and not for each of them."""
    tokens = make_tokens(issuer, clock)
    assert await check(tokens, issuer.sign(now=NOW))
    clock.now += UNKNOWN_KEY_SECONDS
    issuer.add_key("two")
    assert await check(tokens, issuer.sign("two", now=NOW))
    assert issuer.fetches == 2
    secret = make_private_key("RS256", "x")
    for number in range(10):
        forged = issuer.sign(f"forged{number}", secret=secret, now=NOW)
        assert isinstance(await refusal_of(tokens, forged), TokenInvalidError)
    assert issuer.fetches == 2
    clock.now += UNKNOWN_KEY_SECONDS
    await refusal_of(tokens, issuer.sign("forged", secret=secret, now=NOW))
    assert issuer.fetches == 3


async def test_a_key_that_is_withdrawn_ends_its_tokens(issuer: Issuer, clock: Clock) -> None:
    """After ten minutes, also those that are known; the call that notices does not wait for it."""
    tokens = make_tokens(issuer, clock)
    token = issuer.sign(now=NOW, exp=NOW + 3600)
    assert await check(tokens, token)
    issuer.remove_key("one")
    issuer.add_key("two")
    clock.now += FRESH_SECONDS - 1
    assert await check(tokens, token)
    clock.now += 1
    assert await check(tokens, token)
    assert await check(tokens, issuer.sign("two", now=clock.now))  # waits for the fetch
    assert issuer.fetches == 2
    assert "(kid)" in (await refusal_of(tokens, token)).message


async def test_an_issuer_that_is_down_is_asked_with_pauses(issuer: Issuer, clock: Clock) -> None:
    """Each twice as long, up to a minute; callers hear when to come back, and then it works."""
    tokens = make_tokens(issuer, clock)
    token = issuer.sign(now=NOW, exp=NOW + 3600)
    issuer.web.faults[DISCOVERY] = status(503)
    for number, pause in enumerate([1, 2, 4, 8, 16, 32, LONGEST_PAUSE_SECONDS, 60], start=1):
        refusal = await refusal_of(tokens, token)
        assert isinstance(refusal, IssuerUnavailableError)
        assert refusal.failure.retry_after_seconds == pause
        assert issuer.url not in str(refusal.failure)
        clock.now += pause - 0.5
        again = await refusal_of(tokens, token)
        assert again.failure.retry_after_seconds == 1
        assert issuer.web.requests[DISCOVERY] == number
        clock.now += 0.5
    del issuer.web.faults[DISCOVERY]
    assert await check(tokens, token) == "corp:alice"


async def test_known_keys_outlast_an_outage_for_a_day(issuer: Issuer, clock: Clock) -> None:
    """A key that is not known then is no lie, but cannot be checked."""
    tokens = make_tokens(issuer, clock)
    token = issuer.sign(now=NOW, exp=NOW + 10 * 86400)
    assert await check(tokens, token)
    issuer.web.faults[DISCOVERY] = status(503)
    clock.now += USABLE_SECONDS - 1
    assert await check(tokens, token)
    unknown = issuer.sign("two", now=clock.now)
    assert isinstance(await refusal_of(tokens, unknown), IssuerUnavailableError)
    clock.now += 1
    for each in (token, issuer.sign(now=clock.now)):
        assert isinstance(await refusal_of(tokens, each), IssuerUnavailableError)
