"""OpenID Connect tokens: issued elsewhere, checked here on every call.

    header: alg, kid -> iss names the issuer -> its key -> signature -> aud, times, subject

A token is a JWT that an issuer of the settings has signed for one of its audiences: an ID token, or
an access token in the form of RFC 9068. Rules: OpenID Connect Core 1.0, section 3.1.3.7; RFC 8725.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt

from clouddesktop.iam.errors import TokenExpiredError, TokenInvalidError
from clouddesktop.iam.issuer_keys import IssuerKeys
from clouddesktop.model.access import Subject
from clouddesktop.model.federation import federated_id

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
"""What tokens may be signed with; with a shared secret, whoever checks tokens could make them."""

_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""JWTs of other types, such as `logout+jwt`, say something else than who calls."""

_MOST_CHARACTERS = 16_000
_MOST_CLAIM_CHARACTERS = 1000
_CACHED_TOKENS = 4096
_END_OF_TIME = 1 << 53
_REMEDY = "Get a new token from the issuer that this server was told to trust."
_EMAIL = "email"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Who is trusted to say who somebody is.

    `url` is compared with `iss` character by character; `audiences` are the names that this server
    has at the issuer; `claim` is what tells its subjects apart. `name` begins their ids here.
    """

    name: str
    url: str
    audiences: frozenset[str]
    keys: IssuerKeys
    claim: str = "sub"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """What a token says whose signature was good with `version` of its issuer's keys."""

    subject: Subject
    keys: IssuerKeys
    version: int
    not_before: float
    expires_at: float


class OidcTokens:
    """Checks tokens of other issuers. For one event loop, like IssuerKeys.

    Clocks may differ by `skew_seconds`. `clock` gives the seconds since 1970.
    """

    def __init__(
        self,
        *,
        issuers: Collection[Issuer],
        algorithms: Collection[str] = ALGORITHMS,
        skew_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issuers = {each.url: each for each in issuers}
        self._algorithms = frozenset(algorithms)
        self._skew_seconds = skew_seconds
        self._clock = clock
        self._cache: OrderedDict[bytes, _Checked] = OrderedDict()
        self._jws = jwt.PyJWS()

    async def check_token(self, token: str) -> Subject:
        """Say whom a token was issued to; waits for its issuer when the key has to be fetched.

        Raises:
            TokenInvalidError: it proves nothing; says which rule is broken, and never quotes it.
            TokenExpiredError: its time is over.
            IssuerUnavailableError: its issuer is out of reach, and the key not known.
        """
        if len(token) > _MOST_CHARACTERS or not token.isascii():
            raise _invalid(f"is no text of up to {_MOST_CHARACTERS} characters")
        digest = sha256(token.encode()).digest()
        checked = self._cache.get(digest)
        if checked is None or not _is_current(checked):
            checked = await self._verify(token)
        now = self._clock()
        if checked.expires_at + self._skew_seconds <= now:
            raise TokenExpiredError("The OpenID Connect token has expired.", remedy=_REMEDY)
        if checked.not_before - self._skew_seconds > now:
            raise _invalid("is not valid yet (nbf, iat)", remedy="Set the clocks of both sides.")
        self._cache[digest] = checked
        self._cache.move_to_end(digest)
        if len(self._cache) > _CACHED_TOKENS:
            self._cache.popitem(last=False)
        return checked.subject

    async def _verify(self, token: str) -> _Checked:
        header, claims = self._open(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise _invalid("is signed with an algorithm (alg) that is not allowed")
        if str(header.get("typ", "JWT")).lower() not in _TYPES:
            raise _invalid("is of another type (typ) than tokens for calls")
        url = claims.get("iss")
        issuer = self._issuers.get(url) if isinstance(url, str) else None
        if issuer is None:
            raise _invalid("is not of an issuer (iss) that this server trusts")
        key = await issuer.keys.find(header.get("kid"), algorithm)
        version = issuer.keys.version
        if key is None:
            raise _invalid("is not signed by a key (kid) that its issuer publishes")
        try:
            self._jws.decode_complete(
                token,
                key.public_key,  # type: ignore[arg-type]  # of a kind that `algorithm` is for
                algorithms=[algorithm],
                options={"verify_signature": True, "enforce_minimum_key_length": True},
            )
        except jwt.InvalidKeyError:
            raise _invalid("is signed with a key that is too weak, or not for its alg") from None
        except jwt.PyJWTError:
            raise _invalid("is not signed by the key that it names") from None
        return self._read(claims, issuer=issuer, version=version)

    def _open(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give header and claims; nobody has vouched for them yet."""
        try:
            parts = self._jws.decode_complete(token, options={"verify_signature": False})
            claims = json.loads(parts["payload"])
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _invalid("is malformed") from None
        if not isinstance(claims, dict):
            raise _invalid("is malformed")
        return parts["header"], claims

    def _read(self, claims: dict[str, Any], *, issuer: Issuer, version: int) -> _Checked:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if not any(isinstance(each, str) and each in issuer.audiences for each in audiences):
            raise _invalid(
                "is for another audience (aud)",
                remedy="Ask the issuer for a token for the audience that this server was given.",
            )
        starts = [_to_seconds(claims, name) for name in ("nbf", "iat") if name in claims]
        return _Checked(
            subject=Subject(id=_find_subject_id(claims, issuer)),
            keys=issuer.keys,
            version=version,
            not_before=max(starts, default=0.0),
            expires_at=_to_seconds(claims, "exp"),
        )


def _is_current(checked: _Checked) -> bool:
    return checked.keys.are_usable() and checked.version == checked.keys.version


def _find_subject_id(claims: dict[str, Any], issuer: Issuer) -> str:
    claim = claims.get(issuer.claim)
    if not isinstance(claim, str) or not 0 < len(claim) <= _MOST_CLAIM_CHARACTERS:
        raise _without_subject(issuer)
    # Else whoever registers somebody's address at the issuer would be taken for its owner.
    if issuer.claim == _EMAIL and claims.get("email_verified", True) is not True:
        raise _invalid("has an address (email) that its issuer has not verified")
    try:
        return federated_id(issuer.name, claim)
    except UnicodeEncodeError:
        raise _without_subject(issuer) from None


def _without_subject(issuer: Issuer) -> TokenInvalidError:
    return _invalid(f"has no text in the claim {issuer.claim}, which names the subject")


def _to_seconds(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(f"has no number in the claim {name}")
    if not 0 <= value < _END_OF_TIME:  # JSON of Python has NaN, which any comparison lets pass
        raise _invalid(f"has a claim {name} that is no time")
    return value


def _invalid(what: str, *, remedy: str = _REMEDY) -> TokenInvalidError:
    return TokenInvalidError(f"The OpenID Connect token {what}.", remedy=remedy)
