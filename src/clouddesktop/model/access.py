"""Who may call: subjects, and the keys that prove who they are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Who makes a call: the id of a service account."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizedKey:
    """The public half of a service account's key; `public_key` is PEM."""

    id: str
    service_account_id: str
    created_at: datetime
    public_key: str
