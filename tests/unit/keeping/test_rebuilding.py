"""The chunk index made anew in a database that others share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clouddesktop.catalog import postgres as postgres_backend
from clouddesktop.catalog.engine import Database
from clouddesktop.ids import PackId
from clouddesktop.keeping.rebuilding import Rebuilder
from clouddesktop.store.blobs import open_store
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.encryption import KeyRing
from clouddesktop.store.manifests import ManifestStore
from parts.postgres import Postgres
from parts.waiting import wait_for

PAUSED_MS = 200
PAUSED_FOR_LONG = (
    "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
    " AND now() - state_change > interval '1 second'"
)


def test_a_store_may_take_its_time(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred thousand packs are not listed in the time that a write may pause."""
    monkeypatch.setattr(postgres_backend, "_PAUSED_MS", PAUSED_MS)
    database = Database(postgres.make_database())
    database.migrate()
    blobs = open_store(tmp_path.as_uri())

    class SlowStore(ChunkStore):
        def iter_packs(self, prefix: str = "") -> Iterator[PackId]:
            with postgres.connect(autocommit=True) as connection:
                wait_for(
                    lambda: connection.execute(PAUSED_FOR_LONG).fetchone() == (1,),
                    "the write pauses, and is still there",
                    timeout_seconds=20,
                )
            return super().iter_packs(prefix)

    rebuilt = Rebuilder(
        database=database, chunks=SlowStore(blobs, keys=KeyRing()), manifests=ManifestStore(blobs)
    ).run()
    assert rebuilt.is_complete
    database.close()
