"""What an examination of an installation finds, with a bound to what it lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

_MOST = 100
"""Findings of one kind that are listed; others are counted."""


class FindingState(StrEnum):
    """Where a finding stands; only the first is something that is wrong."""

    WRONG = "wrong"
    MENDED = "mended"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found: what, why it matters, and what mends it.

    `kind` is a stable word in lower_snake; `subject` is the id or the name of what it is about.
    """

    kind: str
    subject: str = ""
    what: str
    why: str
    remedy: str
    state: FindingState = FindingState.WRONG

    def to_record(self) -> dict[str, Any]:
        """Give JSON-ready values."""
        return {**asdict(self), "state": str(self.state)}


class Findings:
    """Collects findings: lists the first of each kind and state, and counts all."""

    def __init__(self) -> None:
        self._listed: list[Finding] = []
        self._counts: Counter[tuple[str, FindingState]] = Counter()

    def add(self, finding: Finding) -> None:
        key = finding.kind, finding.state
        self._counts[key] += 1
        if self._counts[key] <= _MOST:
            self._listed.append(finding)

    def note(
        self,
        kind: str,
        subject: str,
        what: str,
        *,
        why: str,
        remedy: str,
        state: FindingState = FindingState.WRONG,
    ) -> None:
        """Add a finding; its parts as `Finding` has them."""
        self.add(
            Finding(kind=kind, subject=subject, what=what, why=why, remedy=remedy, state=state)
        )

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._listed)

    def count(self, state: FindingState) -> int:
        return sum(count for (_, each), count in self._counts.items() if each is state)

    @property
    def unlisted(self) -> dict[str, int]:
        """How many of each kind are not listed, by kind and state."""
        return {
            f"{kind} ({state})": count - _MOST
            for (kind, state), count in self._counts.items()
            if count > _MOST
        }
