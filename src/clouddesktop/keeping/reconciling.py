"""The catalogue against the store: what one names and the other does not have, and mending it.

    packs       in the store and not in the index; in the index and not in the store
    manifests   in the store and not in the catalogue
    contents    whose manifest is missing, or chunks of it are (wholeness.py)
    copies      that have recorded chunks which are gone (wholeness.py)

A page of names is compared at a time, and one manifest is read at a time. Names are taken from the
store before the rows that tell of them, for a blob is put before its row and deleted after it: so
nothing that runs meanwhile looks like a fault. Whatever is mended is mended as a scrub does it, and
no blob is ever deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from clouddesktop.catalog import reconciling, scrubbing
from clouddesktop.catalog.orphans import find_known_manifests, find_known_packs, find_writers
from clouddesktop.catalog.scrubbing import Damage, Finding, ScrubPack
from clouddesktop.errors import DataLossError
from clouddesktop.ids import PackId, epoch_of
from clouddesktop.keeping.examining import Examination
from clouddesktop.keeping.findings import FindingState
from clouddesktop.keeping.name_set import NameSet
from clouddesktop.keeping.orphans import batches, manifest_writer, may_record, pack_writer
from clouddesktop.keeping.wholeness import Wholeness
from clouddesktop.store.manifests import ManifestBlob

_AT_ONCE = 500
_LOST = "It is not in the store."


class Reconciliation:
    """Compares everything, once."""

    def __init__(self, parts: Examination) -> None:
        self._parts = parts
        self._database = parts.database
        self._chunks = parts.chunks
        self._manifests = parts.manifests

    def run(self) -> None:
        """Compare everything.

        Raises:
            CloudDesktopError: the database or the store does not work; what was mended stays so.
        """
        missing = self._look_for_packs(NameSet(self._look_at_stored_packs()))
        self._look_at_stored_manifests()
        Wholeness(self._parts, missing_packs=missing.keys()).run()
        if self._parts.is_mending:
            self._drop_lost_packs(missing)

    def _look_at_stored_packs(self) -> Iterator[PackId]:
        """Go through the packs of the store, and tell of those that the index does not know."""
        left = unknown = 0
        for batch in batches(self._chunks.iter_packs()):
            self._parts.check()
            known = self._database.read(find_known_packs, batch)
            strange = [each for each in batch if each not in known]
            owners = {pack_writer(each)[0] for each in strange}
            writers = self._database.read(find_writers, owners) if owners else {}
            for pack_id in strange:
                owner, number = pack_writer(pack_id)
                writer = writers.get(owner)
                if writer is None:
                    unknown += 1
                    continue
                # The names of a copy's packs have their range before the run's epoch.
                epoch = number if writer.is_keeper else epoch_of(pack_id)
                if writer.is_active and epoch > writer.epoch:
                    self._note_epoch(owner, epoch)
                elif not may_record(writer, epoch):
                    left += 1
            yield from batch
        if unknown:
            self._parts.findings.note(
                "unknown_packs",
                str(unknown),
                f"{unknown} packs in the store were written by nobody that the database knows.",
                why="The store is newer than the database, as after restoring a backup of it."
                " Nothing that the database knows needs them, unless this says so.",
                remedy="Nothing has to be done. `clouddesktop store gc` removes them.",
                state=FindingState.NOTE,
            )
        self._note_left("packs", left)

    def _note_left(self, what: str, count: int) -> None:
        if count:
            self._parts.findings.note(
                f"left_{what}",
                str(count),
                f"{count} {what} were left behind by crashes.",
                why="They take room, and nothing needs them.",
                remedy="`clouddesktop store gc` removes them.",
                state=FindingState.NOTE,
            )

    def _note_epoch(self, owner: str, epoch: int) -> None:
        if self._parts.is_mending:
            self._database.write(reconciling.raise_epoch, owner, epoch)
        self._parts.findings.note(
            "run_behind",
            owner,
            f"{owner} has written a pack in run {epoch}, which the database has not heard of.",
            why="The database comes from a backup; the next run would use names that are taken.",
            remedy="--mend numbers its next run after those.",
            state=self._parts.mended,
        )

    def _look_for_packs(self, stored: NameSet) -> dict[int, ScrubPack]:
        """Find the packs of the index that the store does not have, by their numbers."""
        missing: dict[int, ScrubPack] = {}
        after = 0
        while batch := self._database.read(
            scrubbing.list_packs, after=after, until=scrubbing.LAST_NUMBER, limit=_AT_ONCE
        ):
            self._parts.check()
            after = batch[-1].number
            for pack in batch:
                if pack.id in stored:
                    if pack.damage == _LOST and self._parts.is_mending:  # it was put back
                        self._database.write(reconciling.forget_damage, pack.number, _LOST)
                elif self._is_lost(pack):
                    missing[pack.number] = pack
                    self._note_missing(pack)
        return missing

    def _is_lost(self, pack: ScrubPack) -> bool:
        """Look twice: it may have been put, or collected, since the names were taken."""
        if self._chunks.pack_size(pack.id):
            return False
        return self._database.read(reconciling.is_pack_known, pack.id)

    def _note_missing(self, pack: ScrubPack) -> None:
        entries = self._database.read(scrubbing.indexed_entries, pack.number)
        if self._parts.is_mending:
            finding = Finding(
                pack=pack,
                damage=_LOST,
                whole=(),
                damaged=[Damage(each, _LOST) for each in entries],
            )
            self._database.write(scrubbing.record_finding, finding, now=datetime.now(tz=UTC))
        if entries:
            self._parts.findings.note(
                "missing_pack",
                pack.id,
                f"The pack {pack.id} is not in the store; the index finds {len(entries)} chunks"
                " in it.",
                why="Images that have them cannot be read, and new copies would rely on them.",
                remedy="Put the pack back from a backup of the store; --mend looks for the chunks"
                " in other packs, and takes those that are gone out of the index.",
                state=self._parts.mended,
            )

    def _drop_lost_packs(self, missing: dict[int, ScrubPack]) -> None:
        for pack in missing.values():
            self._database.write(reconciling.forget_pack, pack.number, pack.id)

    def _look_at_stored_manifests(self) -> None:
        left = 0
        for batch in batches(self._manifests.iter_blobs()):
            self._parts.check()
            known = self._database.read(find_known_manifests, [each.digest for each in batch])
            strange = [each for each in batch if each.digest not in known]
            owners = {manifest_writer(each)[0] for each in strange}
            writers = self._database.read(find_writers, owners) if owners else {}
            for blob in strange:
                owner, epoch = manifest_writer(blob)
                writer = writers.get(owner)
                if writer is None:
                    self._note_unknown_content(blob, owner)
                else:
                    left += not may_record(writer, epoch)
        self._note_left("manifests", left)

    def _note_unknown_content(self, blob: ManifestBlob, owner: str) -> None:
        digest = blob.digest.hex()
        try:
            size = f"a disk of {self._manifests.get(blob.digest).size} bytes"
        except DataLossError:
            size = "a disk"
        self._parts.findings.note(
            "unknown_content",
            digest,
            f"The store has {size}, content {digest}, that the database does not know;"
            f" the operation {owner or '?'} made it.",
            why="An image that was made after the database's backup: its name and folder are lost,"
            " its bytes are there.",
            remedy="docs/backup.md says how to fetch the bytes by restore_image.py; or copy or"
            " import it again. `clouddesktop store gc` removes what is not wanted.",
        )
