"""Puts the parts together that keep the store: the keeper and its works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from clouddesktop.catalog.engine import Database
from clouddesktop.keeping.deletion import Deletions
from clouddesktop.keeping.gc import Collector
from clouddesktop.keeping.idle import IdleCollections
from clouddesktop.keeping.runs import Keeper, Work
from clouddesktop.keeping.stats import StoreMeter
from clouddesktop.keeping.updating import Updates
from clouddesktop.model.keeping import RunKind
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.manifests import ManifestStore

_CLOSE_SECONDS = 10
"""How long a stopping server waits for the keeper to let go of what it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepingParts:
    """What keeps the store; valid inside `keeping`."""

    deletions: Deletions
    updates: Updates
    keeper: Keeper
    idle_collections: IdleCollections
    meter: StoreMeter


@contextmanager
def keeping(
    *,
    database: Database,
    chunks: ChunkStore,
    manifests: ManifestStore,
    scrub: Work,
    collect_after_seconds: float,
    failpoint: Callable[[str], None],
) -> Iterator[KeepingParts]:
    """Launch the keeper, which goes on with what an earlier process left."""
    collector = Collector(
        database=database, chunks=chunks, manifests=manifests, failpoint=failpoint
    )
    keeper = Keeper(database=database, works={RunKind.GC: collector.run, RunKind.SCRUB: scrub})
    keeper.launch()
    try:
        yield KeepingParts(
            deletions=Deletions(database=database, failpoint=failpoint),
            updates=Updates(database=database),
            keeper=keeper,
            idle_collections=IdleCollections(
                database=database, keeper=keeper, after_seconds=collect_after_seconds
            ),
            meter=StoreMeter(database=database, manifests=manifests),
        )
    finally:
        keeper.close(timeout_seconds=_CLOSE_SECONDS)
