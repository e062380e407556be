"""Authorised keys in the public cloud's JSON form."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)
from yandexcloud._auth_fabric import ServiceAccountAuth, get_auth_token_requester

from clouddesktop.iam.jwts import JwtChecker
from clouddesktop.iam.keys import make_authorized_key

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def test_a_key_is_one_pair_in_two_halves() -> None:
    """The document's private key belongs to the public key that the server keeps."""
    key, document = make_authorized_key("ajeadmin", now=NOW)
    assert set(document) == {
        "id",
        "service_account_id",
        "created_at",
        "key_algorithm",
        "public_key",
        "private_key",
    }
    assert document["id"] == key.id
    assert len(key.id) == 20
    assert document["service_account_id"] == key.service_account_id == "ajeadmin"
    assert document["created_at"] == "2026-11-24T12:00:00Z"
    assert document["key_algorithm"] == "RSA_2048"
    guard, _, pem = document["private_key"].partition("\n")
    assert guard.startswith("PLEASE DO NOT REMOVE THIS LINE!")
    private = load_pem_private_key(pem.encode(), password=None)
    public = load_pem_public_key(key.public_key.encode())
    assert isinstance(private, RSAPrivateKey)
    assert isinstance(public, RSAPublicKey)
    assert private.key_size == 2048
    assert private.public_key() == public
    assert "PRIVATE" not in repr(key)


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")
@pytest.mark.parametrize("endpoint", ["localhost:50051", "127.0.0.1:1", "[::1]:50051"])
def test_the_official_sdk_signs_with_the_document_as_it_is(endpoint: str) -> None:
    """Guard line and all; what it signs is taken."""
    key, document = make_authorized_key("ajeadmin", now=NOW)
    requester = get_auth_token_requester(service_account_key=document, endpoint=endpoint)
    assert isinstance(requester, ServiceAccountAuth)
    jwt = requester.get_token_request().jwt
    checker = JwtChecker(find_key={key.id: key}.get, audiences=["localhost", "127.0.0.1", "::1"])
    assert checker.check(jwt, now=datetime.now(tz=UTC).timestamp()) == key
