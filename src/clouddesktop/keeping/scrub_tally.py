"""What a scrub has come to so far: its figures, and the images that it found hit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

MOST_IMAGES = 1000
"""Images that a report names; it counts them all."""

_FIGURES = (
    "packs_checked",
    "packs_skipped",
    "chunks_checked",
    "bytes_read",
    "manifests_checked",
    "packs_damaged",
    "chunks_damaged",
    "manifests_damaged",
    "chunks_repaired_in_place",
    "chunks_repaired_from_packs",
    "chunks_repaired_from_sources",
    "manifests_repaired",
    "packs_rewritten",
    "packs_rekeyed",
    "packs_not_rekeyed",
    "manifests_rekeyed",
)


class ScrubPhase(StrEnum):
    """Where a scrub stands."""

    PACKS = "packs"
    MANIFESTS = "manifests"
    REPAIRING = "repairing"
    JUDGING = "judging"
    DONE = "done"


class ScrubTally:
    """Counts; `to_record` is what is kept, shown, and gone on from."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.phase = ScrubPhase.PACKS
        self.after: int = record.get("after", 0)
        self.until: int | None = record.get("until")
        self.packs_total: int = record.get("packs_total", 0)
        self.bytes_total: int = record.get("bytes_total", 0)
        self._figures: dict[str, int] = {name: record.get(name, 0) for name in _FIGURES}
        self.keys: dict[str, int] = dict(record.get("keys", {}))
        self.chunks_lost = 0
        self._images: list[dict[str, Any]] = []
        self._images_hit = 0

    def add(self, name: str, count: int = 1) -> None:
        self._figures[name] += count

    def get(self, name: str) -> int:
        return self._figures[name]

    def count_keys(self, key_ids: Iterable[str]) -> None:
        """Count chunks by the keys that they were found encrypted by; "" is for none."""
        for key_id in key_ids:
            self.keys[key_id] = self.keys.get(key_id, 0) + 1

    def hit(self, *, image_id: str, name: str, why: str, chunks: int) -> None:
        """Note an image that lacks something: `chunks` of its chunks, or its manifest."""
        self._images_hit += 1
        if len(self._images) < MOST_IMAGES:
            self._images.append({"id": image_id, "name": name, "why": why, "chunks": chunks})

    def to_record(self) -> dict[str, Any]:
        return {
            "phase": str(self.phase),
            "after": self.after,
            "until": self.until,
            "packs_total": self.packs_total,
            "bytes_total": self.bytes_total,
            **self._figures,
            "keys": self.keys,
            "chunks_lost": self.chunks_lost,
            "images_hit": self._images_hit,
            "images": self._images,
        }
