"""What every part of an examination of an installation is given, and how it tells what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clouddesktop.catalog.engine import Database
from clouddesktop.keeping.findings import Findings, FindingState
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.manifests import ManifestStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """Looks, and mends if `is_mending`: then no other process collects or scrubs.

    `check` is called between units of work; what it raises ends it.
    """

    database: Database
    chunks: ChunkStore
    manifests: ManifestStore
    findings: Findings
    is_mending: bool
    check: Callable[[], None] = lambda: None

    @property
    def mended(self) -> FindingState:
        """The state of a finding that is mended wherever that is asked for."""
        return FindingState.MENDED if self.is_mending else FindingState.WRONG
