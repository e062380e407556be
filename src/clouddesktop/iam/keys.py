"""Authorised keys: RSA pairs by which service accounts prove who they are."""

from __future__ import annotations

from datetime import datetime

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from clouddesktop.ids import Prefix, new_id
from clouddesktop.model.access import AuthorizedKey

_KEY_BITS = 2048
_PUBLIC_EXPONENT = 65537


def make_authorized_key(
    service_account_id: str, *, now: datetime, description: str = ""
) -> tuple[AuthorizedKey, dict[str, str]]:
    """Make a new key; keeping it is the caller's matter.

    Returns:
        What the server keeps, and the document for the key's owner in the public cloud's JSON form.
        The document holds the private key, which exists nowhere else.
    """
    pair = rsa.generate_private_key(public_exponent=_PUBLIC_EXPONENT, key_size=_KEY_BITS)
    public_key = (
        pair.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    private_key = pair.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    key = AuthorizedKey(
        id=new_id(Prefix.KEY),
        service_account_id=service_account_id,
        created_at=now,
        public_key=public_key,
        description=description,
    )
    document = {
        "id": key.id,
        "service_account_id": service_account_id,
        "created_at": now.isoformat().replace("+00:00", "Z"),
        "key_algorithm": f"RSA_{_KEY_BITS}",
        "public_key": public_key,
        # The public cloud's files begin the PEM with such a line, and clients skip it.
        "private_key": f"PLEASE DO NOT REMOVE THIS LINE! SA Key ID <{key.id}>\n{private_key}",
    }
    return key, document
