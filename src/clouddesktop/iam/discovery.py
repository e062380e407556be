"""What an OpenID Connect issuer publishes: a discovery document, and the keys that it names.

    <issuer>/.well-known/openid-configuration -> issuer, jwks_uri -> keys

OpenID Connect Discovery 1.0, sections 3 and 4; RFC 7517. An issuer is trusted to say who somebody
is, and not to keep this server busy: what it sends is bounded in time and size.
"""

from __future__ import annotations

import json
import ssl
import time
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from clouddesktop.errors import UnavailableError

_PATH = "/.well-known/openid-configuration"
_MOST_BYTES = 512 << 10
_MOST_KEYS = 100
_STEP_SECONDS = 5.0
_MOST_SECONDS = 10.0
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
"""By how the names of algorithms begin (RFC 7518, section 3.1; RFC 8037)."""


class IssuerUnavailableError(UnavailableError):
    """The keys by which a token could be checked cannot be had right now."""

    reason = "ISSUER_UNAVAILABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """The public half of a key of an issuer; `algorithm` is empty where any that fits will do."""

    id: str | None
    kind: str
    algorithm: str
    public_key: PublicKeyTypes

    def is_for(self, algorithm: str) -> bool:
        fits = _KEY_TYPES.get(algorithm[:2]) == self.kind
        return fits and self.algorithm in ("", algorithm)


def is_loopback(url: str) -> bool:
    """Tell whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def fetch_keys(issuer_url: str, *, context: ssl.SSLContext) -> tuple[SigningKey, ...]:
    """Fetch the keys that an issuer signs with; blocks for some ten seconds at most.

    Raises:
        IssuerUnavailableError: it is out of reach, or what it publishes cannot be used; says why,
            for the log alone.
    """
    deadline = time.monotonic() + _MOST_SECONDS
    # No proxy leads to this machine.
    trust_env = not is_loopback(issuer_url)
    with httpx.Client(verify=context, timeout=_STEP_SECONDS, trust_env=trust_env) as client:
        url = issuer_url.removesuffix("/") + _PATH
        document = _get_object(client, url, deadline=deadline)
        if document.get("issuer") != issuer_url:
            raise IssuerUnavailableError(
                f"{url} is the document of another issuer, {str(document.get('issuer'))[:200]!r}."
            )
        keys_url = document.get("jwks_uri")
        if not isinstance(keys_url, str) or not _may_fetch(keys_url, issuer_url):
            raise IssuerUnavailableError(f"{url} names no `jwks_uri` of https.")
        return parse_keys(_get_object(client, keys_url, deadline=deadline), url=keys_url)


def parse_keys(document: dict[str, Any], *, url: str) -> tuple[SigningKey, ...]:
    """Take the keys that can check signatures out of a JWK set; others are passed over.

    Raises:
        IssuerUnavailableError: there are none.
    """
    records = document.get("keys")
    found = []
    for record in records[:_MOST_KEYS] if isinstance(records, list) else []:
        key = _parse_key(record) if isinstance(record, dict) else None
        if key is not None:
            found.append(key)
    if not found:
        raise IssuerUnavailableError(f"{url} has no key that tokens could be signed with.")
    return tuple(found)


def _parse_key(record: dict[str, Any]) -> SigningKey | None:
    key_id, kind = record.get("kid"), record.get("kty")
    algorithm = record.get("alg") or ""
    if not (isinstance(kind, str) and isinstance(algorithm, str)):
        return None
    # Of another kind, a shared secret among them; for another use; or a private key that all have.
    if kind not in _KEY_TYPES.values() or record.get("use", "sig") != "sig" or "d" in record:
        return None
    if algorithm and _KEY_TYPES.get(algorithm[:2]) != kind:
        return None
    try:
        key = jwt.PyJWK(record)
    except (jwt.PyJWTError, TypeError, ValueError, AttributeError):
        return None
    return SigningKey(
        id=key_id if isinstance(key_id, str) else None,
        kind=kind,
        algorithm=algorithm,
        public_key=key.key,
    )


def _may_fetch(url: str, issuer_url: str) -> bool:
    """Ask for what is sent in the clear only from an issuer of this machine, on this machine."""
    try:
        scheme = urlsplit(url).scheme
        return scheme == "https" or (
            scheme == "http" and urlsplit(issuer_url).scheme == "http" and is_loopback(url)
        )
    except ValueError:
        return False


def _get_object(client: httpx.Client, url: str, *, deadline: float) -> dict[str, Any]:
    try:
        document = json.loads(_get(client, url, deadline=deadline))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = str(error).rstrip(".") or type(error).__name__
        raise IssuerUnavailableError(f"{url} cannot be fetched: {why}.") from error
    except (ValueError, RecursionError) as error:
        raise IssuerUnavailableError(f"{url} is no JSON.") from error
    if not isinstance(document, dict):
        raise IssuerUnavailableError(f"{url} is no JSON object.")
    return document


def _get(client: httpx.Client, url: str, *, deadline: float) -> bytes:
    body = bytearray()
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code != HTTPStatus.OK:
            raise IssuerUnavailableError(f"{url} answers with the status {response.status_code}.")
        for piece in response.iter_raw():
            body += piece
            if len(body) > _MOST_BYTES:
                raise IssuerUnavailableError(f"{url} has more than {_MOST_BYTES} bytes.")
            if time.monotonic() > deadline:
                raise IssuerUnavailableError(f"{url} takes more than {_MOST_SECONDS:.0f} seconds.")
    return bytes(body)
