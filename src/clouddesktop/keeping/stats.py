"""What the store holds: logical, unique, stored and dead bytes, and each image's share.

Exact: each content is read once, and each row of the chunk index. Memory does not grow with the
chunks, which are sorted into files (claims.py), 16 bytes for each chunk of each content. Nothing is
locked meanwhile, so figures of a store that changes are of no single moment.
"""

from __future__ import annotations

import tempfile
import threading
from array import array
from dataclasses import dataclass, field
from pathlib import Path

from clouddesktop.catalog.collecting import Pack, list_packs, list_pinned_packs
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.keeper_runs import find_last_run
from clouddesktop.catalog.scrubbing import count_packs
from clouddesktop.catalog.usage import (
    ImageUsage,
    count_chunks,
    list_held_contents,
    list_image_usage,
    load_chunks_between,
)
from clouddesktop.errors import DataLossError
from clouddesktop.ids import Digest
from clouddesktop.keeping.claims import SHARED, Claims, Part, key_of
from clouddesktop.keeping.liveness import iter_digests
from clouddesktop.model.keeping import KeeperRun, RunKind
from clouddesktop.model.manifest import Manifest
from clouddesktop.store.manifests import ManifestStore
from clouddesktop.store.packs import overhead_of

_AT_ONCE = 512
_USAGES_AT_ONCE = 5_000
_CHUNKS_AT_ONCE = 65_536
"""Some 25 MiB of memory."""


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
        with self._turn, tempfile.TemporaryDirectory(prefix="clouddesktop-stats-") as scratch:
            return _Measuring(self._database, self._manifests, Path(scratch)).run()


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
    def __init__(self, database: Database, manifests: ManifestStore, scratch: Path) -> None:
        self._database = database
        self._manifests = manifests
        self._sums = _Sums()
        highest, _, _ = database.read(count_packs)
        # By the packs' numbers; a dict would take ten times the memory.
        self._live_sizes = array("q", bytes(8 * (highest + 1)))
        self._live_counts = array("l", bytes(array("l").itemsize * (highest + 1)))
        self._names: list[Digest] = []
        chunk_count = database.read(count_chunks)
        self._claims = Claims(scratch, chunk_count=chunk_count, at_once=_CHUNKS_AT_ONCE)

    def run(self) -> StoreFigures:
        after = b""
        while contents := self._database.read(list_held_contents, limit=_AT_ONCE, after=after):
            for name in contents:
                self._claim(name)
            after = contents[-1]
        for part in self._claims.iter_parts():
            self._add_chunks(part)
        last = 0
        while batch := self._database.read(list_packs, limit=_AT_ONCE, after=last):
            self._add_packs(batch)
            last = batch[-1].number
        return self._figures()

    def _figures(self) -> StoreFigures:
        usages = self._list_usages()
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

    def _list_usages(self) -> list[ImageUsage]:
        usages: list[ImageUsage] = []
        after = ""
        while page := self._database.read(list_image_usage, limit=_USAGES_AT_ONCE, after=after):
            usages += page
            after = page[-1].id
        return usages

    def _claim(self, name: Digest) -> None:
        try:
            content = self._manifests.get(name)
        except DataLossError as error:
            self._sums.problems[name] = error.message
            return
        self._sums.logical[name] = _data_size(content)
        self._claims.claim(len(self._names), set(iter_digests(content)))
        self._names.append(name)

    def _add_chunks(self, part: Part) -> None:
        owners = self._claims.load(part)
        sums = self._sums
        for chunk in self._database.read(load_chunks_between, part.first, part.until):
            owner = owners.get(key_of(chunk.digest))
            # A pack that is newer than the figures' begin is not counted at all.
            if owner is None or chunk.pack >= len(self._live_sizes):
                continue
            self._live_sizes[chunk.pack] += chunk.stored_size
            self._live_counts[chunk.pack] += 1
            sums.unique += chunk.plain_size
            sums.chunks += 1
            if owner != SHARED:
                name = self._names[owner]
                sums.exclusive[name] = sums.exclusive.get(name, 0) + chunk.stored_size

    def _add_packs(self, batch: list[Pack]) -> None:
        pinned = self._database.read(list_pinned_packs, [each.number for each in batch])
        for pack in batch:
            if pack.number >= len(self._live_sizes):
                return
            live_size = self._live_sizes[pack.number]
            self._sums.packs += 1
            self._sums.stored += pack.size
            self._sums.live += live_size
            if pack.number not in pinned:
                payload = pack.size - overhead_of(self._live_counts[pack.number])
                self._sums.dead += max(payload - live_size, 0)


def _data_size(content: Manifest) -> int:
    """Add up the plain bytes of a content's chunks that are not zero."""
    last = (content.size - 1) // content.chunk_size
    missing = content.chunk_size - content.length_of(last) if last in content.chunks else 0
    return len(content.chunks) * content.chunk_size - missing
