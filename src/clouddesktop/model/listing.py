"""What a list is narrowed down by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NameCondition:
    """The name is one of `names`, or none of them if `is_negated`; compared as they are."""

    names: Sequence[str]
    is_negated: bool = False

    def is_met(self, name: str) -> bool:
        return (name in self.names) != self.is_negated
