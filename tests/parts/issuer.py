"""A real issuer of OpenID Connect tokens on this machine: publishes its keys, signs by them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from parts.web import WebServer

AUDIENCE = "clouddesktop"
REALM = "realms/corp"
DISCOVERY = f"/{REALM}/.well-known/openid-configuration"
KEYS = f"/{REALM}/keys"

_CURVES: dict[str, ec.EllipticCurve] = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
}


@cache
def make_private_key(algorithm: str, key_id: str) -> Any:
    """Make a key of the right kind; one for each id, since RSA keys take their time."""
    del key_id
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm])
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Issuer:
    """Serves a discovery document and its keys, under a path as Keycloak does.

    `web` counts requests and takes faults.
    """

    def __init__(self, folder: Path, *, tls: Path | None = None, port: int = 0) -> None:
        self._folder = folder
        self.web = WebServer(folder, tls=tls, port=port)
        self.url = f"{self.web.url}{REALM}"
        self._records: dict[str, dict[str, Any]] = {}
        self.write(DISCOVERY, {"issuer": self.url, "jwks_uri": f"{self.web.url[:-1]}{KEYS}"})
        self.add_key("one")

    @property
    def fetches(self) -> int:
        """How often keys were asked for."""
        return self.web.requests[KEYS]

    def write(self, path: str, document: Any) -> None:
        """Publish a document instead of what was there."""
        file = self._folder / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(document if isinstance(document, str) else json.dumps(document))

    def add_key(self, key_id: str, algorithm: str = "RS256", **changes: Any) -> None:
        """Publish one more key; `changes` of None leave out what a JWK else has."""
        public = make_private_key(algorithm, key_id).public_key()
        record = jwt.get_algorithm_by_name(algorithm).to_jwk(public, as_dict=True)
        record |= {"kid": key_id, "use": "sig", "alg": algorithm, **changes}
        self._records[key_id] = {name: value for name, value in record.items() if value is not None}
        self._publish()

    def remove_key(self, key_id: str) -> None:
        del self._records[key_id]
        self._publish()

    def sign(
        self,
        key_id: str = "one",
        algorithm: str = "RS256",
        *,
        secret: Any = None,
        headers: dict[str, Any] | None = None,
        without: tuple[str, ...] = (),
        now: float | None = None,
        **claims: Any,
    ) -> str:
        """Sign a token for `alice` that lives five minutes, with these claims over the usual."""
        now = time.time() if now is None else now
        everything = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "alice",
            "iat": int(now),
            "exp": int(now) + 300,
            **claims,
        }
        for name in without:
            del everything[name]
        key = make_private_key(algorithm, key_id) if secret is None else secret
        return jwt.encode(
            everything, key, algorithm=algorithm, headers={"kid": key_id, **(headers or {})}
        )

    def _publish(self) -> None:
        self.write(KEYS, {"keys": list(self._records.values())})


@contextmanager
def issuing(folder: Path, *, tls: Path | None = None, port: int = 0) -> Iterator[Issuer]:
    """Run an issuer until the end; `folder` holds what it publishes."""
    issuer = Issuer(folder, tls=tls, port=port)
    issuer.web.start()
    try:
        yield issuer
    finally:
        issuer.web.stop()
