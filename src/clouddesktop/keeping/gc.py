"""The collector: gives back what no image needs, beside copies, deletions, exports and itself.

    contents   that nothing holds: their rows, in one transaction each batch, then their blobs
    packs      that no content lists and no copy pins: index and rows, then their blobs
    examining  dirty packs that are needed: dead chunks leave the index; a pack of which little is
               live is written anew (rewriting.py)
    sweeping   blobs that the catalogue does not know (orphans.py)

Nothing stops meanwhile, and no clock decides anything. What makes it safe: every transaction looks
again whether it still may, and commits only if the turn still counts; a copy that shares a chunk
looks for it once more when it records its range; and no blob's name is ever used twice, so a delete
that comes late takes nothing new. docs/adr/0007 has the argument in full.

A crash leaves blobs that the catalogue does not know, never the other way round; the next turn goes
on with what the rows say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clouddesktop.catalog.collecting import (
    Content,
    Judgement,
    Pack,
    count_dirty_packs,
    drop_dead_chunks,
    list_dead_contents,
    list_dirty_packs,
    list_unneeded_packs,
    remove_contents,
    remove_packs,
)
from clouddesktop.catalog.engine import Database
from clouddesktop.keeping.liveness import PackExamination
from clouddesktop.keeping.orphans import OrphanSweep
from clouddesktop.keeping.rewriting import PackRewriter, live_share
from clouddesktop.keeping.runs import Turn
from clouddesktop.keeping.tally import GcPhase, Tally
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.manifests import ManifestBlob, ManifestStore

LEAST_LIVE = 0.5
"""A pack of whose bytes a smaller share is live is written anew: what stays dead is less than what
is live, and a byte is written again at most once for each byte that was given back."""

_CONTENTS_AT_ONCE = 20
_PACKS_AT_ONCE = 16
"""Removed in one transaction with their chunks, some three thousand rows of the index: it holds up
other writers some ten milliseconds, and ten times as long on a machine that is as busy."""

_EXAMINED_AT_ONCE = 512
"""Packs of 128 chunks: some 25 MiB of memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """Collects; one instance serves all runs. `failpoint` is called at named places."""

    database: Database
    chunks: ChunkStore
    manifests: ManifestStore
    failpoint: Callable[[str], None]
    least_live: float = LEAST_LIVE

    def run(self, turn: Turn) -> Mapping[str, Any]:
        """Collect, or go on with a collection; the report is a Tally's record.

        Options of the run: `dry_run` changes nothing and lists what would go; `keep_unknown` leaves
        orphans whose writer the catalogue has never heard of.

        Raises:
            CloudDesktopError: the store or the database does not work; nothing is lost.
        """
        return _Collection(self, turn).run()


class _Collection:
    def __init__(self, collector: Collector, turn: Turn) -> None:
        self._database = collector.database
        self._chunks = collector.chunks.waiting(turn.check)
        self._manifests = collector.manifests.waiting(turn.check)
        self._failpoint = collector.failpoint
        self._least_live = collector.least_live
        self._turn = turn
        self._is_dry_run = bool(turn.options.get("dry_run"))
        self._tally = Tally(turn.progress, is_dry_run=self._is_dry_run)
        self._rewriter = PackRewriter(
            turn=turn,
            database=self._database,
            chunks=self._chunks,
            tally=self._tally,
            failpoint=self._failpoint,
        )

    def run(self) -> Mapping[str, Any]:
        for phase, work in (
            (GcPhase.CONTENTS, self._collect_contents),
            (GcPhase.PACKS, self._collect_packs),
            (GcPhase.EXAMINING, self._examine_packs),
            (GcPhase.SWEEPING, self._sweep),
        ):
            self._tally.phase = phase
            self._save()
            self._failpoint(f"gc-{phase}-begin")
            work()
            self._failpoint(f"gc-{phase}-end")
        self._tally.phase = GcPhase.DONE
        return self._tally.to_record()

    def _save(self) -> None:
        self._turn.check()
        self._turn.save(self._tally.to_record())

    def _collect_contents(self) -> None:
        for batch in self._iter_dead_contents():
            dead = batch
            if not self._is_dry_run:
                dead = self._turn.write(remove_contents, [each.manifest for each in batch])
                self._failpoint("gc-contents-removed")
            for content in dead:
                self._give_back(content)
            self._save()

    def _iter_dead_contents(self) -> Iterator[list[Content]]:
        after = b""
        while batch := self._database.read(
            list_dead_contents, limit=_CONTENTS_AT_ONCE, after=after
        ):
            yield batch
            after = batch[-1].manifest

    def _give_back(self, content: Content) -> None:
        blob = ManifestBlob(content.manifest, content.writer)
        size = self._manifests.size(blob)
        if not self._is_dry_run:
            self._manifests.delete(blob)
        self._tally.add("contents_removed")
        self._tally.add("bytes_freed", size)
        self._tally.note(
            what="content",
            name=content.manifest.hex(),
            size=size,
            reason="No image has this content, and no copy is making one of it.",
        )

    def _collect_packs(self) -> None:
        for batch in self._iter_packs(list_unneeded_packs, _PACKS_AT_ONCE):
            gone = batch
            if not self._is_dry_run:
                gone = self._turn.write(remove_packs, [each.number for each in batch])
                self._failpoint("gc-packs-removed")
            for pack in gone:
                if not self._is_dry_run:
                    self._chunks.delete_pack(pack.id)
                self._tally.add("packs_removed")
                self._tally.add("bytes_freed", pack.size)
                self._tally.note(
                    what="pack",
                    name=pack.id,
                    size=pack.size,
                    reason="No content needs any of its chunks, and no running copy does.",
                )
            self._save()

    def _examine_packs(self) -> None:
        self._tally.packs_to_examine = self._database.read(
            count_dirty_packs, foreseen=self._is_dry_run
        )
        for batch in self._iter_packs(list_dirty_packs, _EXAMINED_AT_ONCE):
            self._examine(batch)
            self._tally.packs_examined += len(batch)
            self._tally.packs_to_examine -= len(batch)
            self._save()
        # What is left is pinned by copies, and so stays for the next collection.
        self._tally.add("packs_left", max(self._tally.packs_to_examine, 0))
        self._tally.packs_to_examine = 0

    def _examine(self, batch: list[Pack]) -> None:
        examination = PackExamination(
            packs=batch,
            database=self._database,
            manifests=self._manifests,
            held_only=self._is_dry_run,
            check=self._turn.check,
        )
        kept: list[Judgement] = []
        for judgement in examination.judge():
            if live_share(judgement, examination) < self._least_live:
                self._rewriter.add(judgement, examination)
            else:
                kept.append(judgement)
        self._failpoint("gc-examined")
        self._drop(kept, examination)
        self._rewriter.flush(examination)
        for error in examination.unreadable.values():
            self._tally.note_problem(error.message)
        self._tally.add("packs_left", len(examination.blind))

    def _drop(self, judgements: list[Judgement], examination: PackExamination) -> None:
        for start in range(0, len(judgements), _PACKS_AT_ONCE):
            some = judgements[start : start + _PACKS_AT_ONCE]
            done = some
            if not self._is_dry_run:
                done = self._turn.write(drop_dead_chunks, some, examined=examination.examined)
                self._failpoint("gc-chunks-dropped")
                self._tally.add("packs_left", len(some) - len(done))
            self._tally.add("chunks_dropped", sum(len(each.dead) for each in done))

    def _sweep(self) -> None:
        OrphanSweep(
            turn=self._turn,
            database=self._database,
            chunks=self._chunks,
            manifests=self._manifests,
            tally=self._tally,
            failpoint=self._failpoint,
        ).run()

    def _iter_packs(self, query: Callable[..., list[Pack]], limit: int) -> Iterator[list[Pack]]:
        after = 0
        while batch := self._database.read(
            query, limit=limit, after=after, foreseen=self._is_dry_run
        ):
            yield batch
            after = batch[-1].number
