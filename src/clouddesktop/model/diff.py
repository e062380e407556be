"""What changed from one image to another, in whole chunks.

old     |--data--|--data--|  zero  |--data--|--data--|
new     |--same--|--other-|--data--|  zero  |             a smaller disk
`changed'`-added--'`----removed-----'    ranges; neighbours of a kind are one
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class ChangeKind(StrEnum):
    """What happened to a range of the disk."""

    CHANGED = "changed"  # data before and after
    ADDED = "added"  # zero before, or past the old disk's end
    REMOVED = "removed"  # zero now, or past the new disk's end


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A run of chunks that changed in one way, in bytes from the disk's start."""

    offset: int
    length: int
    kind: ChangeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffTotals:
    """The sums of a comparison, in plain bytes; `old_` and `new_` are the two images'.

    Zeros count nowhere. `same_bytes` lie at the same place in both. `distinct_bytes` count each
    chunk of an image once, wherever and however often it stands; `shared_bytes` are the distinct
    ones of both images, which a store keeps once.
    """

    old_disk_size: int
    new_disk_size: int
    old_data_bytes: int = 0
    new_data_bytes: int = 0
    same_bytes: int = 0
    changed_bytes: int = 0
    added_bytes: int = 0
    removed_bytes: int = 0
    old_distinct_bytes: int = 0
    new_distinct_bytes: int = 0
    shared_bytes: int = 0

    def to_record(self) -> dict[str, str]:
        """JSON-ready values: 64-bit integers are texts, as in the API's JSON."""
        return {name: str(getattr(self, name)) for name in self.__dataclass_fields__}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read what `to_record` gave.

        Raises:
            KeyError, ValueError, TypeError: it did not.
        """
        return cls(**{name: int(record[name]) for name in cls.__dataclass_fields__})
