"""Chunks that the index has lost, looked for in the tables of all packs that the store has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clouddesktop.catalog import scrubbing
from clouddesktop.catalog.chunks import add_pack
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.index_rebuild import find_packs
from clouddesktop.catalog.orphans import find_writers
from clouddesktop.errors import DataLossError
from clouddesktop.ids import PackId
from clouddesktop.keeping.findings import Finding, Findings, FindingState
from clouddesktop.keeping.orphans import batches, pack_writer
from clouddesktop.store.chunks import ChunkPlace, ChunkStore
from clouddesktop.store.packs import PackEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class BringingBack:
    """Lets the index find again what is in quarantine, wherever it lies whole.

    A pack that the index does not know is taken into it, unless its writer may yet do so.
    """

    database: Database
    chunks: ChunkStore
    findings: Findings
    check: Callable[[], None]

    def run(self) -> None:
        """Look into every pack.

        Raises:
            CloudDesktopError: the database or the store does not work.
        """
        found = 0
        for pack_id, number in self._iter_packs():
            self.check()
            found += self._look_into(pack_id, number)
        if found:
            self.findings.add(
                Finding(
                    kind="lost_chunks",
                    subject=str(found),
                    what=f"{found} chunks were not where the index said, or not in it.",
                    why="Images that have them could not be read.",
                    remedy="They were found in other packs, and are in the index now.",
                    state=FindingState.MENDED,
                )
            )

    def _iter_packs(self) -> Iterator[tuple[PackId, int | None]]:
        for batch in batches(self.chunks.iter_packs()):
            numbers = self.database.read(find_packs, batch)
            owners = {pack_writer(each)[0] for each in batch if each not in numbers}
            writers = self.database.read(find_writers, owners) if owners else {}
            for pack_id in batch:
                writer = writers.get(pack_writer(pack_id)[0])
                if pack_id in numbers or writer is None or not writer.is_active:
                    yield pack_id, numbers.get(pack_id)

    def _look_into(self, pack_id: PackId, number: int | None) -> int:
        try:
            table = list(self.chunks.read_table(pack_id))
        except DataLossError:
            return 0
        wanted = self.database.read(scrubbing.find_quarantined, [each.digest for each in table])
        whole = [each for each in table if each.digest in wanted and self._is_whole(pack_id, each)]
        if not whole:
            return 0
        if number is not None:
            return self.database.write(scrubbing.place_chunks, number, whole)
        self.database.write(
            add_pack,
            pack_id=pack_id,
            operation_id=pack_writer(pack_id)[0],
            size=self.chunks.pack_size(pack_id),
            entries=whole,
        )
        return len(whole)

    def _is_whole(self, pack_id: PackId, entry: PackEntry) -> bool:
        try:
            self.chunks.read_chunks([ChunkPlace(pack_id=pack_id, entry=entry)])
        except DataLossError:
            return False
        return True
