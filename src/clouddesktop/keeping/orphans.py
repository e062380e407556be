"""Blobs that the catalogue does not know, and never will: what crashes and failures left behind.

Names tell who wrote a blob: `<operation>/…` and `<run>/…` for packs, `<digest>-<operation>-<epoch>`
for manifests. As long as that writer may still record the blob, it is left alone. A writer whose
operation is done, or whose turn is over, never records anything again, since its transactions fail:
so what is found to be an orphan stays one, however late it is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.orphans import (
    Writer,
    find_known_manifests,
    find_known_packs,
    find_writers,
)
from clouddesktop.ids import PackId
from clouddesktop.keeping.runs import Turn
from clouddesktop.keeping.tally import Tally
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.manifests import ManifestBlob, ManifestStore

T = TypeVar("T")

_AT_ONCE = 500


class OrphanSweep:
    """Lists the store, and deletes the orphans in it."""

    def __init__(
        self,
        *,
        turn: Turn,
        database: Database,
        chunks: ChunkStore,
        manifests: ManifestStore,
        tally: Tally,
        failpoint: Callable[[str], None],
    ) -> None:
        self._turn = turn
        self._database = database
        self._chunks = chunks
        self._manifests = manifests
        self._tally = tally
        self._failpoint = failpoint
        self._is_dry_run = bool(turn.options.get("dry_run"))
        self._keeps_unknown = bool(turn.options.get("keep_unknown"))

    def run(self) -> None:
        for packs in batches(self._chunks.iter_packs()):
            self._turn.check()
            self._sweep_packs(packs)
            self._turn.save(self._tally.to_record())
        for blobs in batches(self._manifests.iter_blobs()):
            self._turn.check()
            self._sweep_manifests(blobs)
            self._turn.save(self._tally.to_record())

    def _sweep_packs(self, packs: list[PackId]) -> None:
        # First the names, as they came from the store, then the rows: a pack is put before its row.
        known = self._database.read(find_known_packs, packs)
        writers = {each: pack_writer(each) for each in packs if each not in known}
        for pack_id, reason in self._reasons(writers).items():
            size = self._chunks.pack_size(pack_id)
            self._failpoint("gc-orphan-found")
            if not self._is_dry_run:
                self._chunks.delete_pack(pack_id)
            self._count("orphan_packs", what="pack", name=pack_id, size=size, reason=reason)

    def _sweep_manifests(self, blobs: list[ManifestBlob]) -> None:
        known = self._database.read(find_known_manifests, [each.digest for each in blobs])
        writers = {
            each: manifest_writer(each) for each in blobs if known.get(each.digest) != each.writer
        }
        for blob, reason in self._reasons(writers).items():
            size = self._manifests.size(blob)
            self._failpoint("gc-orphan-found")
            if not self._is_dry_run:
                self._manifests.delete(blob)
            name = f"{blob.digest.hex()}-{blob.writer}".rstrip("-")
            self._count("orphan_manifests", what="manifest", name=name, size=size, reason=reason)

    def _reasons(self, writers: Mapping[T, tuple[str, int]]) -> dict[T, str]:
        """Say of each blob that is an orphan why."""
        if not writers:
            return {}
        known = self._database.read(find_writers, {owner for owner, _ in writers.values()})
        reasons: dict[T, str] = {}
        for blob, (owner, epoch) in writers.items():
            writer = known.get(owner)
            if writer is None:
                if not self._keeps_unknown:
                    reasons[blob] = "The catalogue does not know it, nor who wrote it."
            elif not may_record(writer, epoch):
                reasons[blob] = f"{owner} has left it behind, and the catalogue does not know it."
        return reasons

    def _count(self, figure: str, *, what: str, name: str, size: int, reason: str) -> None:
        self._tally.add(figure)
        self._tally.add("bytes_freed", size)
        self._tally.note(what=what, name=name, size=size, reason=reason)


def may_record(writer: Writer, epoch: int) -> bool:
    """Tell whether the turn or run `epoch` of this writer, or a later one, may record the blob."""
    if writer.is_keeper:
        return writer.is_active and epoch >= writer.epoch
    return writer.is_active


def pack_writer(pack_id: PackId) -> tuple[str, int]:
    """Tell who wrote a pack: a copy, and its range; or a run of the keeper, and its turn."""
    owner, _, name = pack_id.partition("/")
    return owner, _number(name.partition("-")[0])


def manifest_writer(blob: ManifestBlob) -> tuple[str, int]:
    """Tell who wrote a manifest, and in which run or turn."""
    owner, _, epoch = blob.writer.rpartition("-")
    return owner, _number(epoch)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _AT_ONCE)):
        yield batch
