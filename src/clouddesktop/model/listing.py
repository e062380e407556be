"""What a list is narrowed down by, what it is sorted by, and where in it a page ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from clouddesktop.model.image import Image, ImageStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class NameCondition:
    """The name is one of `names`, or none of them if `is_negated`; compared as they are."""

    names: Sequence[str]
    is_negated: bool = False

    def is_met(self, name: str) -> bool:
        return (name in self.names) != self.is_negated


class SortField(StrEnum):
    """What images can be sorted by: names by their characters' numbers, statuses by their own."""

    NAME = "name"
    CREATED_AT = "created_at"
    STATUS = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class SortKey:
    """A field to sort by; the first one counts most."""

    field: SortField
    is_descending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a page ends: its last image's values of the fields sorted by, and its id.

    It stands for itself: the image may be renamed or deleted before the next page is asked for.
    """

    values: tuple[Any, ...]
    image_id: str

    @classmethod
    def of_image(cls, image: Image, order: Sequence[SortKey]) -> Position:
        values = tuple(getattr(image, each.field.value) for each in order)
        return cls(values=values, image_id=image.id)

    def to_bytes(self) -> bytes:
        """Give it as it is kept in or for a page token."""
        plain = [
            each.isoformat() if isinstance(each, datetime) else each
            for each in (*self.values, self.image_id)
        ]
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, raw: bytes, order: Sequence[SortKey]) -> Position:
        """Read back what `to_bytes` gave for a list in this order."""
        *plain, image_id = json.loads(raw)
        values = tuple(_READERS[key.field](value) for key, value in zip(order, plain, strict=True))
        return cls(values=values, image_id=image_id)


_READERS: dict[SortField, Any] = {
    SortField.NAME: str,
    SortField.CREATED_AT: datetime.fromisoformat,
    SortField.STATUS: ImageStatus,
}
