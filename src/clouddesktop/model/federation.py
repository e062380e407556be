"""Ids of federated subjects: whom an issuer of OpenID Connect tokens vouches for.

    corp:alice@example.org          the issuer's name, and what its token says
    ci:~2b7…                        the same, where that is too long for an id or no plain text

A colon is in no other subject's id, so nobody of an issuer is a service account or another issuer's
subject; docs/identity.md has the rule for administrators.
"""

from __future__ import annotations

import re
from base64 import b32encode
from hashlib import sha256

MOST_ID_CHARACTERS = 100
"""The longest subject id that the API takes."""

_NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,18}[a-z0-9])?")
_PLAIN = re.compile(r"[!-}][!-~]*")  # graphic ASCII that does not begin with the mark
DIGEST_MARK = "~"
"""What an id has after the issuer's name where a digest stands for the claim."""

_DIGEST_BYTES = 20


def is_issuer_name(text: str) -> bool:
    """Tell whether an issuer may be called so: up to 20 of `a-z`, `0-9` and `-`."""
    return _NAME.fullmatch(text) is not None


def federated_id(issuer_name: str, claim: str) -> str:
    """Give the id of the subject whom an issuer calls `claim`: always the same, one for each.

    Raises:
        UnicodeEncodeError: the claim is no text, but has half a surrogate pair.
    """
    plain = f"{issuer_name}:{claim}"
    if _PLAIN.fullmatch(claim) and len(plain) <= MOST_ID_CHARACTERS:
        return plain
    digest = b32encode(sha256(claim.encode()).digest()[:_DIGEST_BYTES]).decode().lower()
    return f"{issuer_name}:{DIGEST_MARK}{digest}"


def issuer_name_of(subject_id: str) -> str:
    """Give the name of the issuer that vouches for a subject; empty for others."""
    name, colon, _ = subject_id.partition(":")
    return name if colon else ""
