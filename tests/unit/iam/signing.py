"""One authorised key, and JWTs signed with it, good and bad."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from clouddesktop.iam.keys import make_authorized_key
from clouddesktop.model.access import AuthorizedKey

NOW = 1_790_000_000
AUDIENCE = "https://iam.localhost:50051/iam/v1/tokens"


@cache
def make_pair() -> tuple[AuthorizedKey, Any]:
    """Make one key for all tests here: making keys is slow."""
    key, document = make_authorized_key("ajeadmin", now=datetime.fromtimestamp(NOW, tz=UTC))
    pem = document["private_key"].partition("\n")[2]
    return key, load_pem_private_key(pem.encode(), password=None)


def sign(
    *,
    claims: dict[str, Any] | None = None,
    headers: dict[str, Any] | None = None,
    algorithm: str = "PS256",
    secret: Any = None,
    without: tuple[str, ...] = (),
) -> str:
    key, private = make_pair()
    everything = {"iss": "ajeadmin", "aud": AUDIENCE, "iat": NOW, "exp": NOW + 3600}
    everything |= claims or {}
    for name in without:
        del everything[name]
    return jwt.encode(
        everything,
        private if secret is None else secret,
        algorithm=algorithm,
        headers={"kid": key.id, **(headers or {})},
    )
