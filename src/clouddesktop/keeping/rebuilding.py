"""The chunk index made anew from what the store holds, when the one in the database is not trusted.

Everything happens in one transaction: an end before its end leaves the index as it was, and the
rebuild may be repeated as often as wanted. The server must not run.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import sqlalchemy as sa

from clouddesktop.catalog import index_rebuild as queries
from clouddesktop.catalog.engine import Database
from clouddesktop.errors import DataLossError
from clouddesktop.ids import Digest, PackId
from clouddesktop.store.chunks import ChunkPlace, ChunkStore
from clouddesktop.store.manifests import ManifestStore
from clouddesktop.store.packs import PackEntry

_REFERENCE = struct.Struct("<Q32s")


class ContentLostError(DataLossError):
    """Chunks that a running copy had recorded are not in the store any more."""

    reason = "CONTENT_LOST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What an image lacks: chunks, of which `example` is one; or its manifest, for `why`."""

    image_id: str
    name: str
    chunks: int = 0
    example: str = ""
    why: str = ""


@dataclass(slots=True)
class Rebuild:
    """What a rebuild came to; `unreadable` maps packs to what is wrong with their tables."""

    packs: int = 0
    chunks: int = 0
    contents: int = 0
    unreadable: dict[PackId, str] = field(default_factory=dict)
    lost_packs: list[PackId] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    failed_copies: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether every image has all that it needs."""
        return not (self.losses or self.failed_copies)


class Rebuilder:
    """Rebuilds the index of one store; `report` is told how many packs are read."""

    def __init__(
        self,
        *,
        database: Database,
        chunks: ChunkStore,
        manifests: ManifestStore,
        report: Callable[[int], None] = lambda _packs: None,
    ) -> None:
        self._database = database
        self._chunks = chunks
        self._manifests = manifests
        self._report = report

    def run(self) -> Rebuild:
        """Rebuild it, and check every content against it.

        A pack whose table cannot be read keeps those of its chunks that the old index leads to,
        once their bytes are seen to be right.

        Raises:
            PackTooNewError, ManifestTooNewError: a later version has written here; nothing changed.
            StoreUnavailableError: the store does not answer; nothing changed.
        """
        return self._database.write(self._rebuild)

    def _rebuild(self, connection: sa.Connection) -> Rebuild:
        result = Rebuild()
        queries.set_aside(connection)
        stored = sorted(self._chunks.iter_packs())
        for pack_id in stored:
            self._add_pack(connection, pack_id, result)
            result.packs += 1
            self._report(result.packs)
        result.lost_packs = queries.forget_lost_packs(connection, set(stored))
        for content in queries.list_contents(connection):
            self._check_content(connection, content, result)
            result.contents += 1
        self._check_copies(connection, result)
        return result

    def _add_pack(self, connection: sa.Connection, pack_id: PackId, result: Rebuild) -> None:
        damage = None
        try:
            entries = list(self._chunks.read_table(pack_id))
        except DataLossError as error:
            damage = result.unreadable[pack_id] = error.message
            entries = self._salvage(pack_id, queries.former_entries(connection, pack_id))
        queries.add_table(
            connection,
            pack_id=pack_id,
            size=self._chunks.pack_size(pack_id),
            entries=entries,
            damage=damage,
        )
        result.chunks += len(entries)

    def _salvage(self, pack_id: PackId, former: list[PackEntry]) -> list[PackEntry]:
        return [
            entry for entry in former if self._is_whole(ChunkPlace(pack_id=pack_id, entry=entry))
        ]

    def _is_whole(self, place: ChunkPlace) -> bool:
        try:
            self._chunks.read_chunks([place])
        except DataLossError:
            return False
        return True

    def _check_content(
        self, connection: sa.Connection, content: queries.Content, result: Rebuild
    ) -> None:
        try:
            manifest = self._manifests.get(content.manifest)
        except DataLossError as error:
            queries.set_damage(connection, content.manifest, error.message)
            result.losses += [
                Loss(image_id=image_id, name=name, why=error.message)
                for image_id, name in content.images
            ]
            return
        digests = list(set(manifest.chunks.values()))
        queries.rely_on_packs(connection, content.manifest, digests)
        missing = queries.find_missing(connection, digests)
        damage = f"It lacks {len(missing)} chunks." if missing else None
        queries.set_damage(connection, content.manifest, damage)
        if missing:
            result.losses += [
                Loss(image_id=image_id, name=name, chunks=len(missing), example=missing[0].hex())
                for image_id, name in content.images
            ]

    def _check_copies(self, connection: sa.Connection, result: Rebuild) -> None:
        for operation_id, references in queries.iter_copy_ranges(connection):
            digests = list({Digest(each[1]) for each in _REFERENCE.iter_unpack(references)})
            queries.rely_on_for_copy(connection, operation_id, digests)
            missing = queries.find_missing(connection, digests)
            if missing and operation_id not in result.failed_copies:
                error = ContentLostError(
                    f"The store has lost chunk {missing[0].hex()}, which this copy had recorded.",
                    remedy="Copy the image again.",
                    facts={"chunk": missing[0].hex()},
                )
                queries.fail_copy(connection, operation_id, error.failure)
                result.failed_copies.append(operation_id)
