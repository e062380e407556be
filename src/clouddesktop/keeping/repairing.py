"""Repairs of a scrub: chunks from other packs and from sources, manifests, packs written anew.

Repaired chunks go into packs of the run's own, which are durable before a transaction lets the
index find them there. A crash leaves a pack that the catalogue does not know; a collection removes
it. Nothing is taken over whose digest is not right.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from clouddesktop.catalog import repairs, scrubbing
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.scrubbing import Content, ScrubPack
from clouddesktop.errors import DataLossError, UnavailableError
from clouddesktop.ids import Digest, PackId
from clouddesktop.keeping.originals import OpenOriginal, read_chunk, read_manifest
from clouddesktop.keeping.pace import Pace
from clouddesktop.keeping.runs import Turn
from clouddesktop.keeping.scrub_tally import ScrubTally
from clouddesktop.model.manifest import RANGE_SIZE, Manifest
from clouddesktop.store.chunks import ChunkPlace, ChunkStore
from clouddesktop.store.codec import digest_of, encode
from clouddesktop.store.manifests import ManifestBlob, ManifestStore, encode_manifest
from clouddesktop.store.packs import PackEntry, PackWriter


class Repairs:
    """The repairs of one turn."""

    def __init__(
        self,
        *,
        turn: Turn,
        database: Database,
        chunks: ChunkStore,
        manifests: ManifestStore,
        open_original: OpenOriginal,
        pace: Pace,
        tally: ScrubTally,
    ) -> None:
        self._turn = turn
        self._database = database
        self._chunks = chunks
        self._manifests = manifests
        self._open_original = open_original
        self._pace = pace
        self._tally = tally
        self._written = 0
        self._wanted_by: dict[Digest, set[Digest]] = {}

    def repaired_chunks_of(self, manifest: Digest) -> list[Digest]:
        """Give the chunks of a content that were in quarantine when the repair began."""
        return list(self._wanted_by.get(manifest, ()))

    def repair_manifest(self, content: Content) -> Manifest:
        """Store a content's manifest anew: from another blob of it, or by reading its source.

        Raises:
            DamagedManifestError: neither is to be had.
        """
        try:
            manifest = self._manifests.get(content.manifest)
        except DataLossError:
            found = self._read_original(content)
            if found is None:
                raise
            manifest = found
        self.rewrite_manifest(content, manifest)
        self._tally.add("manifests_repaired")
        return manifest

    def rewrite_manifest(self, content: Content, manifest: Manifest) -> None:
        """Store a manifest anew, and drop the blob that counted so far."""
        writer = f"{self._turn.run_id}-{self._turn.epoch}"
        self._manifests.put(manifest, writer=writer)
        self._turn.write(
            repairs.replace_manifest,
            content.manifest,
            old_writer=content.writer,
            writer=writer,
        )
        self._manifests.delete(ManifestBlob(content.manifest, content.writer))

    def repair_chunks(self, contents: Iterable[Content]) -> None:
        """Bring back what is in quarantine, as far as packs and sources have it."""
        quarantined = set(self._database.read(scrubbing.list_quarantined))
        if not quarantined:
            return
        wanted = list(contents)
        for content in wanted:
            digests = set(self._manifests.get(content.manifest).chunks.values())
            self._wanted_by[content.manifest] = digests & quarantined
        self._repair_from_packs(quarantined)
        for content in wanted:
            self._repair_from_source(content)

    def rewrite_packs(self) -> None:
        """Write damaged packs anew of which nothing is in quarantine any more; drop the old."""
        for pack in self._database.read(scrubbing.list_damaged_packs):
            self._turn.check()
            if self._database.read(scrubbing.quarantined_entries, pack.id):
                continue  # it may come back from a backup
            try:
                is_done = self.rewrite_pack(pack)
            except (DataLossError, UnavailableError):
                continue  # damaged since it was looked at: for the next scrub
            self._tally.add("packs_rewritten", int(is_done))

    def rewrite_pack(self, pack: ScrubPack) -> bool:
        """Write the chunks that the index finds in a pack into a new one, and drop the old.

        Returns:
            False when the index finds other chunks there by now; nothing has changed then.

        Raises:
            DataLossError: one of them is damaged; nothing has changed.
        """
        entries = self._database.read(scrubbing.indexed_entries, pack.number)
        writer = self._chunks.new_pack()
        for entry in entries:
            (plain,) = self._chunks.read_chunks([ChunkPlace(pack_id=pack.id, entry=entry)])
            writer.add(entry.digest, *encode(plain), len(plain))
        pack_id = self._new_pack_id()
        moved: tuple[PackEntry, ...] = ()
        size = 0
        if not writer.is_empty:
            found, data = writer.finish()
            moved, size = tuple(found), len(memoryview(data))
            self._chunks.put_pack(pack_id, data)
        is_done = self._turn.write(
            repairs.evacuate,
            run_id=self._turn.run_id,
            old=pack,
            pack_id=pack_id,
            size=size,
            entries=moved,
            now=datetime.now(tz=UTC),
        )
        self._chunks.delete_pack(pack.id if is_done else pack_id)
        return is_done

    def _repair_from_packs(self, quarantined: set[Digest]) -> None:
        """Look into the tables of all packs: a chunk may lie in several."""
        _, count, _ = self._database.read(scrubbing.count_packs)
        packs = self._database.read(
            scrubbing.list_packs, after=0, until=scrubbing.LAST_NUMBER, limit=count
        )
        for pack in packs:
            self._turn.check()
            try:
                table = self._chunks.read_table(pack.id)
            except (DataLossError, UnavailableError):
                continue
            found = [
                entry
                for entry in table
                if entry.digest in quarantined and self._is_whole(pack.id, entry)
            ]
            if found:
                healed = self._turn.write(scrubbing.place_chunks, pack.number, found)
                self._tally.add("chunks_repaired_from_packs", healed)

    def _is_whole(self, pack_id: PackId, entry: PackEntry) -> bool:
        try:
            self._chunks.read_chunks([ChunkPlace(pack_id=pack_id, entry=entry)])
        except (DataLossError, UnavailableError):
            return False
        return True

    def _repair_from_source(self, content: Content) -> None:
        wanted = set(
            self._database.read(
                scrubbing.find_quarantined, self.repaired_chunks_of(content.manifest)
            )
        )
        originals = self._database.read(scrubbing.list_originals, content.manifest)
        if not (wanted and originals):
            return
        manifest = self._manifests.get(content.manifest)
        for original in originals:
            with self._open_original(original, check_alive=self._turn.check) as disk:
                if disk is None or disk.size != manifest.size:
                    continue
                writer = self._chunks.new_pack()
                for number, digest in manifest.chunks.items():
                    if digest not in wanted:
                        continue
                    plain = read_chunk(
                        disk, number=number, digest=digest, chunk_size=manifest.chunk_size
                    )
                    self._pace.spend(manifest.chunk_size)
                    if plain is not None:
                        wanted.discard(digest)
                        writer.add(digest, *encode(plain), len(plain))
                        if writer.size >= RANGE_SIZE:
                            self._store(writer)
                            writer = self._chunks.new_pack()
                self._store(writer)

    def _store(self, writer: PackWriter) -> None:
        if writer.is_empty:
            return
        entries, data = writer.finish()
        pack_id = self._new_pack_id()
        self._chunks.put_pack(pack_id, data)
        healed = self._turn.write(
            repairs.add_repair_pack,
            run_id=self._turn.run_id,
            pack_id=pack_id,
            size=len(memoryview(data)),
            entries=entries,
            now=datetime.now(tz=UTC),
        )
        if not healed:  # a copy beside has stored the same
            self._chunks.delete_pack(pack_id)
        self._tally.add("chunks_repaired_from_sources", healed)

    def _read_original(self, content: Content) -> Manifest | None:
        for original in self._database.read(scrubbing.list_originals, content.manifest):
            with self._open_original(original, check_alive=self._turn.check) as disk:
                if disk is None:
                    continue
                manifest = read_manifest(disk, spend=self._pace.spend)
                if digest_of(encode_manifest(manifest)) == content.manifest:
                    return manifest
        return None

    def _new_pack_id(self) -> PackId:
        self._written += 1
        return PackId(f"{self._turn.run_id}/{self._turn.epoch}-{self._written}")
