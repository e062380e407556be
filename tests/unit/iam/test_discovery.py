"""What issuers publish, over real HTTP: used, or refused with the reason."""

from __future__ import annotations

import json
import ssl
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.iam import discovery
from clouddesktop.iam.discovery import IssuerUnavailableError, fetch_keys, is_loopback, parse_keys
from parts.issuer import DISCOVERY, KEYS, Issuer, issuing, make_private_key
from parts.web import Handler, status

CONTEXT = ssl.create_default_context()


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[Issuer]:
    """An issuer with the key `one`."""
    with issuing(tmp_path) as it:
        yield it


def failure_of(issuer: Issuer) -> str:
    with pytest.raises(IssuerUnavailableError) as caught:
        fetch_keys(issuer.url, context=CONTEXT)
    return caught.value.message


def test_keys_that_check_signatures_are_taken(issuer: Issuer) -> None:
    """Others are passed over: of other uses and kinds, of unknown curves, shared, or private."""
    issuer.add_key("two", "ES256", alg=None)
    issuer.add_key("for encryption", use="enc")
    issuer.add_key("for RSA-OAEP", alg="RSA-OAEP")
    issuer.add_key("for nothing", alg="none")
    issuer.add_key("for a number", alg=5)
    issuer.add_key("private", d="AQAB")
    issuer.add_key("shared", kty="oct", k="c2VjcmV0")
    issuer.add_key("unheard of", kty="AKP")
    issuer.add_key("no curve", "ES256", crv="P-1")
    issuer.add_key("no number", n=5)
    issuer.add_key("no kind", kty=["RSA"])
    keys = fetch_keys(issuer.url, context=CONTEXT)
    assert [(each.id, each.kind, each.algorithm) for each in keys] == [
        ("one", "RSA", "RS256"),
        ("two", "EC", ""),
    ]
    assert not keys[0].is_for("HS256")
    assert not keys[0].is_for("none")


def hang_up(handler: Handler, _number: int) -> bool:
    handler.close_connection = True
    return True


def trickle(handler: Handler, _number: int) -> bool:
    """Send a body for ever, a byte at a time."""
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    try:
        while True:
            handler.wfile.write(b" " * 100)
    except OSError:
        return True


BAD_ISSUERS: dict[str, tuple[Callable[[Issuer], object], str]] = {
    "another issuer's document": (
        lambda i: i.write(DISCOVERY, {"issuer": f"{i.url}/", "jwks_uri": i.web.url}),
        "of another issuer",
    ),
    "no issuer": (lambda i: i.write(DISCOVERY, {}), "of another issuer"),
    "no JSON": (lambda i: i.write(DISCOVERY, "<html>"), "is no JSON"),
    "brackets without end": (lambda i: i.write(DISCOVERY, "[" * 200_000), "is no JSON"),
    "a list": (lambda i: i.write(DISCOVERY, []), "is no JSON object"),
    "a document without end": (
        lambda i: i.write(DISCOVERY, " " * (512 << 10) + "{}"), "more than 524288 bytes"
    ),
    "keys without end": (
        lambda i: i.write(KEYS, " " * (512 << 10) + "{}"), "more than 524288 bytes"
    ),
    "a body without end": (
        lambda i: i.web.faults.update({DISCOVERY: trickle}), "more than 524288 bytes"
    ),
    "keys in a file": (
        lambda i: i.write(DISCOVERY, {"issuer": i.url, "jwks_uri": "file:///etc/passwd"}),
        "no `jwks_uri`",
    ),
    "keys in the clear elsewhere": (
        lambda i: i.write(DISCOVERY, {"issuer": i.url, "jwks_uri": "http://192.0.2.1/keys"}),
        "no `jwks_uri`",
    ),
    "keys nowhere": (lambda i: i.write(DISCOVERY, {"issuer": i.url}), "no `jwks_uri`"),
    "keys at no URL": (
        lambda i: i.write(DISCOVERY, {"issuer": i.url, "jwks_uri": "https://[::1"}),
        "no `jwks_uri`",
    ),
    "no keys": (lambda i: i.remove_key("one"), "no key"),
    "keys that are none": (lambda i: i.write(KEYS, {"keys": ["x", None]}), "no key"),
    "a redirect": (
        lambda i: i.web.faults.update({DISCOVERY: status(302, location=KEYS)}), "status 302"
    ),
    "an error": (lambda i: i.web.faults.update({KEYS: status(500)}), "status 500"),
    "no answer": (lambda i: i.web.faults.update({KEYS: hang_up}), "cannot be fetched"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD_ISSUERS)
def test_what_cannot_be_used_is_explained(issuer: Issuer, fault: str) -> None:
    """For the log; nothing foreign is raised."""
    break_it, words = BAD_ISSUERS[fault]
    break_it(issuer)
    assert words in failure_of(issuer)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.text()),
    st.sampled_from(["RSA", "EC", "OKP", "P-256", "P-384", "Ed25519", "Ed448", "X25519", "AQAB"]),
    st.binary(max_size=70).map(lambda raw: urlsafe_b64encode(raw).rstrip(b"=").decode()),
)  # fmt: skip
RECORDS = st.dictionaries(
    st.sampled_from(["kty", "kid", "use", "alg", "crv", "n", "e", "x", "y", "p", "oth"]), VALUES
)


@given(records=st.lists(RECORDS, max_size=4))
def test_odd_keys_hide_no_good_one(records: list[dict[str, Any]]) -> None:
    """Whatever stands beside it."""
    public = make_private_key("ES256", "good").public_key()
    good = jwt.get_algorithm_by_name("ES256").to_jwk(public, as_dict=True)
    found = parse_keys({"keys": [*records, {**good, "kid": "good"}]}, url="https://keys")
    assert found[-1].public_key == public


def test_slow_issuers_are_given_up(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """However steadily they send."""
    monkeypatch.setattr(discovery, "_MOST_SECONDS", 0.0)
    assert "takes more than" in failure_of(issuer)


def test_at_most_a_hundred_keys_are_read(issuer: Issuer) -> None:
    """Whatever stands after them."""
    issuer.add_key("last")
    one, last = json.loads((issuer.web.folder / KEYS[1:]).read_text())["keys"]
    issuer.write(KEYS, {"keys": [one] * 100 + [last]})
    assert {each.id for each in fetch_keys(issuer.url, context=CONTEXT)} == {"one"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:1", True),
        ("http://127.0.0.2/", True),
        ("http://[::1]:80/x", True),
        ("http://localhost.example.org", False),
        ("http://127.0.0.1.example.org", False),
        ("http://192.0.2.1", False),
    ],
)
def test_what_this_machine_is(url: str, expected: bool) -> None:
    """By its addresses and its one name."""
    assert is_loopback(url) is expected
