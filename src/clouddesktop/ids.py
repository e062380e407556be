"""Identifiers: resource ids as the public API shapes them, and digests of content.

A resource id is 20 characters, lower-case letters and digits, and begins with three characters that
tell the kind.
"""

from __future__ import annotations

import secrets
from enum import StrEnum
from typing import NewType

Digest = NewType("Digest", bytes)
"""The 32 bytes of a BLAKE3-256."""

PackId = NewType("PackId", str)
"""Names one pack of the store: `<operation id>/<range>-<epoch>-<attempt>`, to which a worker that
helps adds its id, or `<run id>/<epoch>-<number>`."""

DIGEST_SIZE = 32
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID_LENGTH = 20


class Prefix(StrEnum):
    """The three characters that begin an id of each kind."""

    CLOUD = "b1c"
    FOLDER = "b1g"
    IMAGE = "e3v"
    COMPUTE_IMAGE = "fd8"
    OPERATION = "e3o"
    SERVICE_ACCOUNT = "aje"
    KEY = "ajk"
    KEEPER_RUN = "e3k"
    UPLOAD = "fdu"
    WORKER = "e3w"


def new_id(prefix: Prefix) -> str:
    """Draw an id that was never used: 17 random characters carry 87 bits."""
    length = _ID_LENGTH - len(prefix)
    number = secrets.randbelow(len(_ALPHABET) ** length)  # once: a draw for each takes far longer
    tail = ""
    for _ in range(length):
        number, place = divmod(number, len(_ALPHABET))
        tail += _ALPHABET[place]
    return f"{prefix}{tail}"


def to_digest(raw: bytes) -> Digest:
    """Check the length of a digest that comes from outside."""
    if len(raw) != DIGEST_SIZE:
        raise ValueError(f"A digest has {DIGEST_SIZE} bytes, not {len(raw)}.")
    return Digest(raw)


def epoch_of(pack_id: PackId) -> int:
    """Tell which run of its copy has written a pack; 0 if its name says nothing of the kind."""
    _, _, name = pack_id.partition("/")
    epoch = name.split("-")[1:2]
    return int(epoch[0]) if epoch and epoch[0].isdecimal() else 0
