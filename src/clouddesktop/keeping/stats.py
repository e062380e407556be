"""What the store holds: logical, unique, stored and dead bytes, and each image's share.

Exact, and in bounded memory: packs are looked at in batches, and the contents that list them are
read one after the other. The time grows with the contents times the batches that they are spread
over (docs/adr/0007 has figures); nothing is locked meanwhile, so figures of a store that changes
are of no single moment.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from clouddesktop.catalog.collecting import (
    Pack,
    list_contents_of_pack,
    list_packs,
    list_pinned_packs,
    load_chunks,
)
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.keeper_runs import find_last_run
from clouddesktop.catalog.usage import ImageUsage, list_image_usage
from clouddesktop.errors import DataLossError
from clouddesktop.ids import Digest
from clouddesktop.keeping.liveness import iter_digests
from clouddesktop.model.keeping import KeeperRun, RunKind
from clouddesktop.model.manifest import Manifest
from clouddesktop.store.manifests import ManifestStore
from clouddesktop.store.packs import overhead_of

_AT_ONCE = 512
_SHARED = Digest(b"")
"""Stands for several contents as the owner of a chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFigures:
    """What one image is to the store, in bytes.

    `logical_bytes` are its plain chunks that are not zero, as often as they come; `stored_bytes`
    what its distinct chunks take; `exclusive_bytes` those of them that no other image has.
    """

    usage: ImageUsage
    logical_bytes: int
    exclusive_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFigures:
    """What the store holds, in bytes.

    `logical_bytes`: the images' plain chunks, as often as they come. `unique_bytes`: these chunks,
    each once. `stored_bytes`: the packs as they lie in the store. `dead_bytes`: what of them no
    image needs, and no running copy may still need. `problems`: contents that cannot be read.
    """

    logical_bytes: int
    unique_bytes: int
    stored_bytes: int
    live_bytes: int
    dead_bytes: int
    packs: int
    chunks: int
    images: list[ImageFigures]
    problems: list[str]
    last_collection: KeeperRun | None

    @property
    def ratio(self) -> float | None:
        """How many times less is stored than the images hold; None of an empty store."""
        return round(self.logical_bytes / self.stored_bytes, 2) if self.stored_bytes else None


class StoreMeter:
    """Measures the store; one measuring at a time, since each takes a core while it runs."""

    def __init__(self, *, database: Database, manifests: ManifestStore) -> None:
        self._database = database
        self._manifests = manifests
        self._turn = threading.Lock()

    def measure(self) -> StoreFigures:
        """Look through the whole catalogue; takes seconds in a large store. Call from a thread."""
        with self._turn:
            return _Measuring(self._database, self._manifests).run()


@dataclass(slots=True)
class _Sums:
    stored: int = 0
    live: int = 0
    dead: int = 0
    unique: int = 0
    packs: int = 0
    chunks: int = 0
    logical: dict[Digest, int] = field(default_factory=dict)
    exclusive: dict[Digest, int] = field(default_factory=dict)
    problems: dict[Digest, str] = field(default_factory=dict)


class _Measuring:
    def __init__(self, database: Database, manifests: ManifestStore) -> None:
        self._database = database
        self._manifests = manifests
        self._sums = _Sums()

    def run(self) -> StoreFigures:
        after = 0
        while batch := self._database.read(list_packs, limit=_AT_ONCE, after=after):
            self._add(batch)
            after = batch[-1].number
        usages = self._database.read(list_image_usage)
        owners: dict[Digest, int] = {}
        for each in usages:
            owners[each.manifest] = owners.get(each.manifest, 0) + 1
        sums = self._sums
        return StoreFigures(
            logical_bytes=sum(sums.logical.get(each.manifest, 0) for each in usages),
            unique_bytes=sums.unique,
            stored_bytes=sums.stored,
            live_bytes=sums.live,
            dead_bytes=sums.dead,
            packs=sums.packs,
            chunks=sums.chunks,
            images=[
                ImageFigures(
                    usage=each,
                    logical_bytes=sums.logical.get(each.manifest, 0),
                    exclusive_bytes=(
                        sums.exclusive.get(each.manifest, 0) if owners[each.manifest] == 1 else 0
                    ),
                )
                for each in usages
            ],
            problems=list(sums.problems.values()),
            last_collection=self._database.read(find_last_run, RunKind.GC),
        )

    def _add(self, batch: list[Pack]) -> None:
        numbers = [each.number for each in batch]
        chunks = self._database.read(load_chunks, numbers)
        pinned = self._database.read(list_pinned_packs, numbers)
        owners = self._find_owners(batch, chunks)
        live_size = dict.fromkeys(numbers, 0)
        live_count = dict.fromkeys(numbers, 0)
        for digest, (number, stored_size, plain_size) in chunks.items():
            owner = owners.get(digest)
            if owner is not None:
                live_size[number] += stored_size
                live_count[number] += 1
                self._sums.unique += plain_size
                self._sums.chunks += 1
                if owner != _SHARED:
                    total = self._sums.exclusive.get(owner, 0)
                    self._sums.exclusive[owner] = total + stored_size
        for pack in batch:
            self._sums.packs += 1
            self._sums.stored += pack.size
            self._sums.live += live_size[pack.number]
            if pack.number not in pinned:
                payload = pack.size - overhead_of(live_count[pack.number])
                self._sums.dead += max(payload - live_size[pack.number], 0)

    def _find_owners(
        self, batch: list[Pack], chunks: Mapping[Digest, tuple[int, int, int]]
    ) -> dict[Digest, Digest]:
        """Say of each chunk of the batch which content has it, or that several have it."""
        owners: dict[Digest, Digest] = {}
        seen: set[Digest] = set()
        for pack in batch:
            for name in self._database.read(list_contents_of_pack, pack.number, held_only=True):
                if name not in seen:
                    seen.add(name)
                    self._claim(name, chunks, owners)
        return owners

    def _claim(
        self,
        name: Digest,
        chunks: Mapping[Digest, tuple[int, int, int]],
        owners: dict[Digest, Digest],
    ) -> None:
        try:
            content = self._manifests.get(name)
        except DataLossError as error:
            self._sums.problems[name] = error.message
            return
        if name not in self._sums.logical:
            self._sums.logical[name] = _data_size(content)
        for digest in iter_digests(content):
            if digest in chunks and owners.setdefault(digest, name) != name:
                owners[digest] = _SHARED


def _data_size(content: Manifest) -> int:
    """Add up the plain bytes of a content's chunks that are not zero."""
    last = (content.size - 1) // content.chunk_size
    missing = content.chunk_size - content.length_of(last) if last in content.chunks else 0
    return len(content.chunks) * content.chunk_size - missing
