"""JWTs of service accounts: what a holder of an authorised key signs to get an IAM token.

The rules are the public cloud's: PS256 alone, `kid` names the key, `iss` the service account, `aud`
this server, and no more than an hour from `iat` to `exp`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from clouddesktop.iam.errors import JwtRefusedError
from clouddesktop.model.access import AuthorizedKey

_ALGORITHM = "PS256"
_LONGEST_SECONDS = 3600
_LEEWAY_SECONDS = 60
"""How far the clocks of client and server may differ."""

_BRACKETED = re.compile(r"^\[([0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)\]")  # an IPv6 address in a URL
_END_OF_TIME = 1 << 53
"""Seconds since 1970 beyond which a float is no exact number any more."""

_MOST_CHARACTERS = 8000
_MOST_KEY_ID_CHARACTERS = 50
_AUDIENCE_START = "https://iam."
_AUDIENCE_END = "/iam/v1/tokens"
_AUDIENCE_REMEDY = (
    "Sign it for https://iam.HOST:PORT/iam/v1/tokens, with the server's own HOST:PORT."
)


class JwtChecker:
    """Checks JWTs against the keys that `find_key` knows.

    Each of `audiences` is a URL that `aud` may be equal to, or a host name or HOST:PORT of this
    server: then `https://iam.<it>/iam/v1/tokens` is good, for a bare host name with any port.
    """

    def __init__(
        self,
        *,
        find_key: Callable[[str], AuthorizedKey | None],
        audiences: Collection[str],
    ) -> None:
        self._find_key = find_key
        lowered = {each.lower() for each in audiences}
        self._urls = {each for each in lowered if "://" in each}
        self._names = {_without_brackets(each) for each in lowered - self._urls}

    def check(self, text: str, *, now: float) -> AuthorizedKey:
        """Give the key that signed it; `now` is in seconds since 1970.

        Raises:
            JwtRefusedError: says which rule is broken, and never quotes the JWT.
        """
        if len(text) > _MOST_CHARACTERS:
            raise _refused(f"is longer than {_MOST_CHARACTERS} characters")
        key = self._find_signing_key(text)
        try:
            claims = jwt.decode(
                text,
                _load_public_key(key.public_key),
                algorithms=[_ALGORITHM],
                options={
                    "require": ["iss", "aud", "iat", "exp"],
                    # Checked below, by our own clock and with our own words.
                    "verify_aud": False,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                    "verify_iss": False,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except jwt.MissingRequiredClaimError as error:
            raise _refused(f"has no claim {error.claim}") from None
        except jwt.InvalidSignatureError:
            raise _refused("is signed by another key than it names") from None
        except jwt.InvalidTokenError:
            raise _refused("is malformed") from None
        self._check_claims(claims, key=key, now=now)
        return key

    def _find_signing_key(self, text: str) -> AuthorizedKey:
        try:
            header = jwt.get_unverified_header(text)
        except jwt.InvalidTokenError:
            raise _refused("is malformed") from None
        if header.get("alg") != _ALGORITHM:
            raise _refused(f"is not signed with {_ALGORITHM}")
        key_id = header.get("kid")
        if not isinstance(key_id, str) or not key_id:
            raise _refused("has no key id (kid) in its header")
        key = self._find_key(key_id) if len(key_id) <= _MOST_KEY_ID_CHARACTERS else None
        if key is None:
            raise _refused(
                "names a key that this server does not know",
                remedy="Use the authorised key that this server made, such as keys/admin.json.",
            )
        return key

    def _check_claims(self, claims: dict[str, Any], *, key: AuthorizedKey, now: float) -> None:
        if claims["iss"] != key.service_account_id:
            raise _refused("names another issuer (iss) than the service account of its key")
        if not self._is_audience(claims["aud"]):
            raise _refused("is for another audience (aud)", remedy=_AUDIENCE_REMEDY)
        issued_at, expires_at = _to_seconds(claims, "iat"), _to_seconds(claims, "exp")
        if expires_at - issued_at > _LONGEST_SECONDS:
            raise _refused("lives longer than an hour (exp - iat)")
        if expires_at < issued_at:
            raise _refused("expires before it is issued (exp, iat)")
        clock_remedy = "Set the clocks of client and server."
        if issued_at > now + _LEEWAY_SECONDS:
            raise _refused("was issued in the future (iat)", remedy=clock_remedy)
        if expires_at <= now - _LEEWAY_SECONDS:
            raise _refused("has expired (exp)", remedy=clock_remedy)
        if "nbf" in claims and _to_seconds(claims, "nbf") > now + _LEEWAY_SECONDS:
            raise _refused("is not valid yet (nbf)", remedy=clock_remedy)

    def _is_audience(self, claim: Any) -> bool:
        return any(
            isinstance(each, str) and self._is_own_url(each.lower())
            for each in (claim if isinstance(claim, list) else [claim])
        )

    def _is_own_url(self, url: str) -> bool:
        if url in self._urls:
            return True
        if not url.startswith(_AUDIENCE_START) or not url.endswith(_AUDIENCE_END):
            return False
        authority = url.removeprefix(_AUDIENCE_START).removesuffix(_AUDIENCE_END)
        host, colon, port = authority.rpartition(":")
        if not colon or not (port.isascii() and port.isdecimal()):
            host, port = authority, ""
        host = _without_brackets(host)
        return host in self._names or f"{host}:{port}" in self._names


def _without_brackets(name: str) -> str:
    return _BRACKETED.sub(r"\1", name)


def _to_seconds(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(f"has a claim {name} that is no number")
    if not 0 <= value < _END_OF_TIME:  # JSON of Python has NaN, which any comparison lets pass
        raise _refused(f"has a claim {name} that is no time")
    return value


def _refused(what: str, *, remedy: str = "") -> JwtRefusedError:
    return JwtRefusedError(f"The JWT {what}.", remedy=remedy)


@lru_cache(maxsize=256)
def _load_public_key(pem: str) -> RSAPublicKey:
    key = load_pem_public_key(pem.encode())
    if not isinstance(key, RSAPublicKey):
        raise TypeError("An authorised key is an RSA key.")
    return key
