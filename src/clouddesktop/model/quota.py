"""Quotas: how much of something a cloud may have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class QuotaId(StrEnum):
    """What is bounded, by the public cloud's ids."""

    IMAGES_COUNT = "vdi.desktopImages.count"
    IMAGES_SIZE = "vdi.desktopImages.size"  # bytes: what is stored, or reserved by running copies


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """A quota of one cloud: its limit, None where there is none, and what is used of it."""

    id: QuotaId
    limit: int | None
    usage: int
