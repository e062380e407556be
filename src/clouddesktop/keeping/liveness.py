"""Which chunks of some packs are live: looked up in the contents that list these packs alone.

A batch of packs is judged at a time, and its contents are read one after the other, so memory is
that of the batch's chunks and of one manifest, however much the store holds. No content is read
once every chunk of the packs that it lists is known to be live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from clouddesktop.catalog.collecting import (
    Judgement,
    Pack,
    list_contents_of_pack,
    load_chunks,
)
from clouddesktop.catalog.engine import Database
from clouddesktop.errors import DataLossError
from clouddesktop.ids import Digest
from clouddesktop.model.manifest import Manifest
from clouddesktop.store.manifests import ChunkDigests, ManifestStore


class PackExamination:
    """Judges one batch of packs.

    `examined` holds the contents that were read, `unreadable` those that could not be, `blind` the
    numbers of packs that such a content lists: nothing can be said about them.
    """

    def __init__(
        self,
        *,
        packs: Sequence[Pack],
        database: Database,
        manifests: ManifestStore,
        held_only: bool,
        check: Callable[[], None],
    ) -> None:
        """Prepare; `held_only` looks at no dead contents; `check` raises to end it early."""
        self._packs = packs
        self._database = database
        self._manifests = manifests
        self._held_only = held_only
        self._check = check
        self.chunks = database.read(load_chunks, [each.number for each in packs])
        self.examined: set[Digest] = set()
        self.unreadable: dict[Digest, DataLossError] = {}
        self.blind: set[int] = set()
        self._unproven: dict[int, set[Digest]] = {each.number: set() for each in packs}
        for digest, (number, _, _) in self.chunks.items():
            self._unproven[number].add(digest)

    def judge(self) -> Iterator[Judgement]:
        """Go through the judgements of the packs that are not blind, in their order."""
        for pack in self._packs:
            if self._unproven[pack.number]:
                self._look_into(pack)
        by_pack: dict[int, list[Digest]] = {each.number: [] for each in self._packs}
        for digest, (number, _, _) in self.chunks.items():
            by_pack[number].append(digest)
        for pack in self._packs:
            if pack.number not in self.blind:
                dead = self._unproven[pack.number]
                live = [each for each in by_pack[pack.number] if each not in dead]
                yield Judgement(pack, live, list(dead))

    def stored_size(self, digests: Sequence[Digest]) -> int:
        """Add up what chunks of the batch take in the store, in bytes."""
        return sum(self.chunks[each][1] for each in digests)

    def _look_into(self, pack: Pack) -> None:
        contents = self._database.read(
            list_contents_of_pack, pack.number, held_only=self._held_only
        )
        for manifest in contents:
            if not self._unproven[pack.number]:
                return
            self._check()
            if manifest in self.unreadable:
                self.blind.add(pack.number)
            elif manifest not in self.examined:
                self._read(manifest, pack)

    def _read(self, manifest: Digest, pack: Pack) -> None:
        try:
            content = self._manifests.get(manifest)
        except DataLossError as error:
            self.unreadable[manifest] = error
            self.blind.add(pack.number)
            return
        self.examined.add(manifest)
        for digest in iter_digests(content):
            place = self.chunks.get(digest)
            if place is not None:
                self._unproven[place[0]].discard(digest)


def iter_digests(manifest: Manifest) -> Iterator[Digest]:
    """Go through the digests of a content's chunks, as often as they come."""
    if isinstance(manifest.chunks, ChunkDigests):
        return manifest.chunks.iter_digests()
    return iter(manifest.chunks.values())
