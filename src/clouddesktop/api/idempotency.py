"""Idempotency keys: what tells a request from others that come with the same key."""

from __future__ import annotations

import hashlib

from google.protobuf.message import Message

from clouddesktop.api.calls import Call
from clouddesktop.model.operation import IdempotencyKey


def idempotency_of(request: Message, call: Call, *further: str) -> IdempotencyKey | None:
    """Give the call's key with the digest of method, request and `further`; None without a key."""
    if call.idempotency_key is None:
        return None
    digest = hashlib.sha256(call.method.path.encode() + b"\0")
    digest.update(request.SerializeToString(deterministic=True))
    for each in further:
        digest.update(each.encode())
    return IdempotencyKey(key=call.idempotency_key, request_digest=digest.digest())
