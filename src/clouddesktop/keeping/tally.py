"""What a collection has come to so far: figures that add up over all turns of its run."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

_MOST_ITEMS = 1000
_MOST_PROBLEMS = 100

_FIGURES = (
    "contents_removed",
    "packs_removed",
    "packs_rewritten",
    "packs_written",
    "packs_left",
    "chunks_dropped",
    "orphan_packs",
    "orphan_manifests",
    "bytes_freed",
    "bytes_written",
)


class GcPhase(StrEnum):
    """Where a collection stands."""

    CONTENTS = "contents"
    PACKS = "packs"
    EXAMINING = "examining"
    SWEEPING = "sweeping"
    DONE = "done"


class Tally:
    """Counts; `to_record` is what is kept, shown, and gone on from.

    In a dry run the figures say what a collection would do, and `items` what it would do it to.
    """

    def __init__(self, record: Mapping[str, Any], *, is_dry_run: bool) -> None:
        """Go on from what an earlier turn has kept; a dry run begins anew, having changed nothing.

        What is left undone, or is a problem, is found again by each turn.
        """
        earlier = {} if is_dry_run else record
        self.phase = GcPhase.CONTENTS
        self.packs_examined: int = earlier.get("packs_examined", 0)
        self.packs_to_examine = 0
        self._is_dry_run = is_dry_run
        self._figures: dict[str, int] = {name: earlier.get(name, 0) for name in _FIGURES}
        self._figures["packs_left"] = 0
        self._items: list[dict[str, Any]] = []
        self._item_count = 0
        self._problems: list[str] = []

    def add(self, name: str, count: int = 1) -> None:
        self._figures[name] += count

    def note(self, *, what: str, name: str, size: int, reason: str) -> None:
        """Say what would go, in a dry run: `size` is the bytes that this would give back."""
        if self._is_dry_run:
            self._item_count += 1
            if len(self._items) < _MOST_ITEMS:
                self._items.append({"what": what, "id": name, "bytes": size, "reason": reason})

    def note_problem(self, text: str) -> None:
        if text not in self._problems and len(self._problems) < _MOST_PROBLEMS:
            self._problems.append(text)

    def to_record(self) -> dict[str, Any]:
        record: dict[str, Any] = {
            "phase": str(self.phase),
            "packs_examined": self.packs_examined,
            "packs_to_examine": self.packs_to_examine,
            **self._figures,
            "problems": list(self._problems),
        }
        if self._is_dry_run and self.phase is GcPhase.DONE:
            record["items"] = list(self._items)
            record["items_left_out"] = self._item_count - len(self._items)
        return record
