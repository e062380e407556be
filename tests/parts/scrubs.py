"""Scrubs of a data folder whose server has stopped, in the test's own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from clouddesktop.app.encryption import open_keys
from clouddesktop.app.foundation import check_own_store
from clouddesktop.catalog import keeper_runs
from clouddesktop.catalog.engine import Database
from clouddesktop.disk.sandbox import SandboxPolicy
from clouddesktop.ids import Prefix, new_id
from clouddesktop.keeping.originals import open_original
from clouddesktop.keeping.runs import Turn
from clouddesktop.keeping.scrub import Scrubber
from clouddesktop.model.keeping import KeeperRun, RunKind, RunState
from clouddesktop.source.catalogue import SourceCatalogue
from clouddesktop.source.folder import FolderSource
from clouddesktop.store.blobs import open_store
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.manifests import ManifestStore
from parts.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubBench:
    """What a scrub needs, and a run to give turns of."""

    database: Database
    scrubber: Scrubber

    def add_run(self, **options: Any) -> str:
        run = KeeperRun(
            id=new_id(Prefix.KEEPER_RUN),
            kind=RunKind.SCRUB,
            state=RunState.WAITING,
            options=options,
            progress={},
            created_by="",
            created_at=datetime.now(tz=UTC),
        )
        self.database.write(keeper_runs.add_run, run)
        return run.id

    def begin(self, run_id: str) -> Turn:
        run = self.database.write(keeper_runs.begin_run, run_id)
        assert run is not None
        return Turn(run, database=self.database)

    def scrub(self, **options: Any) -> dict[str, Any]:
        """Run one scrub to its end; gives its report."""
        run_id = self.add_run(**options)
        turn = self.begin(run_id)
        report = dict(self.scrubber.run(turn))
        self.database.write(
            keeper_runs.end_run, run_id, turn.epoch, state=RunState.DONE, report=report
        )
        return report


@contextmanager
def open_bench(
    vault: Vault, *, with_sources: bool = True, keys: Path | None = None
) -> Iterator[ScrubBench]:
    """Open a vault for scrubs."""
    blobs = open_store(f"file://{vault.store}")
    database = Database(f"sqlite:///{vault.data_dir / 'clouddesktop.db'}")
    ring = open_keys(keys, database)
    sources = [FolderSource(name="images", folder_id="f", root=vault.sources)]
    try:
        yield ScrubBench(
            database=database,
            scrubber=Scrubber(
                database=database,
                chunks=ChunkStore(blobs, keys=ring),
                manifests=ManifestStore(blobs, keys=ring),
                open_original=partial(
                    open_original,
                    SourceCatalogue(sources if with_sources else []),
                    sandbox=SandboxPolicy.PREFERRED,
                ),
                check_store=lambda check: check_own_store(blobs.waiting(check), database),
                key_id="" if ring.active is None else ring.active.id,
                bytes_per_second=0,
            ),
        )
    finally:
        database.close()


def scrub(
    vault: Vault, *, with_sources: bool = True, keys: Path | None = None, **options: Any
) -> dict[str, Any]:
    """Scrub a vault once."""
    with open_bench(vault, with_sources=with_sources, keys=keys) as bench:
        return bench.scrub(**options)
