"""The scrub: reads everything in the store again, hashes it again, and repairs what it can.

    packs       each pack of the index: its table and every chunk (pack_check.py)
    manifests   each content's manifest, and that the index knows all of its chunks
    repairing   from other packs, then from sources; damaged packs are written anew (repairing.py)
    judging     which contents are whole, since when; which images lack something

Damage is quarantined as soon as it is found: the chunk leaves the index, so that nobody is given
it, and the next copy of the same content stores it anew. A run that was interrupted goes on with
the pack after the last; the later phases are quick, and begin anew. docs/adr/0009 has the reasons.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from clouddesktop.catalog import repairs, scrubbing
from clouddesktop.catalog.chunks import find_known
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.scrubbing import Content, Damage, Finding, ScrubPack
from clouddesktop.catalog.store_keys import forget_keys
from clouddesktop.errors import DataLossError, UnavailableError
from clouddesktop.ids import Digest, PackId
from clouddesktop.keeping.originals import OpenOriginal
from clouddesktop.keeping.pace import Pace
from clouddesktop.keeping.pack_check import PackChecker
from clouddesktop.keeping.repairing import Repairs
from clouddesktop.keeping.runs import Turn
from clouddesktop.keeping.scrub_tally import ScrubPhase, ScrubTally
from clouddesktop.model.manifest import Manifest
from clouddesktop.store.chunks import ChunkPlace, ChunkStore
from clouddesktop.store.codec import Codec
from clouddesktop.store.faults import StoreOutOfReachError
from clouddesktop.store.manifests import ManifestBlob, ManifestStore
from clouddesktop.store.packs import PackEntry

_PACKS_AT_ONCE = 64
_CONTENTS_AT_ONCE = 100

_SAVE_SECONDS = 1.0
"""How often the place is kept that the next turn goes on from."""

_LONGEST_AGE_SECONDS = 100 * 365 * 86400

_UNKNOWN_PACK = PackId("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrubber:
    """Scrubs; one instance serves all runs.

    `check_store` raises when the store is not there at all; what it is given ends its wait for a
    server that is away. `bytes_per_second` bounds a run that does not say its own rate; 0 is no
    bound. `key_id` is the key that is used now, "" for none.
    """

    database: Database
    chunks: ChunkStore
    manifests: ManifestStore
    open_original: OpenOriginal
    check_store: Callable[[Callable[[], None]], None]
    key_id: str
    bytes_per_second: float

    def run(self, turn: Turn) -> Mapping[str, Any]:
        """Scrub, or go on with a scrub; the report is a ScrubTally's record.

        Options of the run: `max_age_seconds` passes over packs that were found right within that
        time; `bytes_per_second`; `repair` false only looks and quarantines; `rekey` writes anew
        what another key has encrypted, or none.

        Raises:
            CloudDesktopError: the store or the database does not work; what was found stays known.
        """
        return _Scrub(self, turn).run()


class _Scrub:
    def __init__(self, parts: Scrubber, turn: Turn) -> None:
        self._parts = parts
        self._database = parts.database
        self._turn = turn
        self._chunks = parts.chunks.waiting(turn.check)
        self._manifests = parts.manifests.waiting(turn.check)
        self._tally = ScrubTally(turn.progress)
        rate = turn.options.get("bytes_per_second")
        self._pace = Pace(
            bytes_per_second=parts.bytes_per_second if rate is None else rate,
            is_copying=lambda: parts.database.read(scrubbing.is_copying),
            check=turn.check,
        )
        self._check_store = partial(parts.check_store, turn.check)
        self._checker = PackChecker(
            chunks=self._chunks, pace=self._pace, check_store=self._check_store
        )
        self._repairs = Repairs(
            turn=turn,
            database=parts.database,
            chunks=self._chunks,
            manifests=self._manifests,
            open_original=parts.open_original,
            pace=self._pace,
            tally=self._tally,
        )
        self._is_rekeying = bool(turn.options.get("rekey") and parts.key_id)
        self._saved_at = time.monotonic()
        self._lost: dict[Digest, str] = {}
        self._checked_at: dict[Digest, datetime] = {}

    def run(self) -> Mapping[str, Any]:
        self._check_store()
        for phase, work in (
            (ScrubPhase.PACKS, self._check_packs),
            (ScrubPhase.MANIFESTS, self._check_manifests),
            (ScrubPhase.REPAIRING, self._repair),
            (ScrubPhase.JUDGING, self._judge),
        ):
            self._tally.phase = phase
            self._save()
            work()
        left = self._lost or self._tally.chunks_lost or self._tally.get("packs_not_rekeyed")
        if self._is_rekeying and not left:
            self._turn.write(forget_keys, but=self._parts.key_id)
        self._tally.phase = ScrubPhase.DONE
        return self._tally.to_record()

    def _save(self) -> None:
        self._turn.check()
        self._turn.save(self._tally.to_record())
        self._saved_at = time.monotonic()

    def _check_packs(self) -> None:
        tally = self._tally
        if tally.until is None:  # packs that come later are of bytes that were just verified
            tally.until, tally.packs_total, tally.bytes_total = self._database.read(
                scrubbing.count_packs
            )
        fresh_since = self._fresh_since()
        while batch := self._database.read(
            scrubbing.list_packs, after=tally.after, until=tally.until, limit=_PACKS_AT_ONCE
        ):
            for pack in batch:
                if self._is_fresh(pack, fresh_since):
                    tally.add("packs_skipped")
                else:
                    self._check_pack(pack)
                tally.after = pack.number
                if time.monotonic() > self._saved_at + _SAVE_SECONDS:
                    self._save()

    def _fresh_since(self) -> datetime | None:
        age = self._turn.options.get("max_age_seconds")
        if age is None or self._is_rekeying:
            return None
        return datetime.now(tz=UTC) - timedelta(seconds=max(0, min(age, _LONGEST_AGE_SECONDS)))

    @staticmethod
    def _is_fresh(pack: ScrubPack, since: datetime | None) -> bool:
        return (
            since is not None
            and pack.damage is None
            and pack.verified_at is not None
            and pack.verified_at >= since
        )

    def _check_pack(self, pack: ScrubPack) -> None:
        self._turn.check()
        before = self._checker.chunks_checked, self._checker.bytes_read
        quarantined = self._database.read(scrubbing.quarantined_entries, pack.id)
        finding = self._checker.check(
            pack,
            indexed=self._database.read(scrubbing.indexed_entries, pack.number),
            quarantined=quarantined,
        )
        hit, healed = self._turn.write(scrubbing.record_finding, finding, now=datetime.now(tz=UTC))
        self._tally.add("packs_checked")
        self._tally.add("chunks_checked", self._checker.chunks_checked - before[0])
        self._tally.add("bytes_read", self._checker.bytes_read - before[1])
        self._tally.add("chunks_damaged", hit)
        self._tally.add("packs_damaged", int(finding.damage is not None))
        in_place = min(_count_back(finding, quarantined), healed)
        self._tally.add("chunks_repaired_in_place", in_place)
        self._tally.add("chunks_repaired_from_packs", healed - in_place)
        self._look_at_keys(finding)

    def _look_at_keys(self, finding: Finding) -> None:
        """Count the chunks by their keys, and write the pack anew if that is wanted."""
        pack = finding.pack
        is_sealed = any(each.codec > Codec.ZSTD for each in finding.whole)
        if not (is_sealed or self._is_rekeying):
            return
        places = [ChunkPlace(pack_id=pack.id, entry=entry) for entry in finding.whole]
        key_ids = self._chunks.read_key_ids(places)
        self._tally.count_keys(key_ids)
        if not self._is_rekeying or set(key_ids) <= {self._parts.key_id}:
            return
        is_done = finding.damage is None and self._repairs.rewrite_pack(pack)
        self._tally.add("packs_rekeyed" if is_done else "packs_not_rekeyed")

    def _check_manifests(self) -> None:
        for content in self._iter_contents():
            self._turn.check()
            self._tally.add("manifests_checked")
            manifest = self._check_manifest(content)
            self._checked_at[content.manifest] = datetime.now(tz=UTC)
            if manifest is not None:
                self._check_index(manifest)

    def _check_manifest(self, content: Content) -> Manifest | None:
        manifests = self._manifests
        is_whole = self._is_whole(ManifestBlob(content.manifest, content.writer))
        if not is_whole:
            self._check_store()
            self._tally.add("manifests_damaged")
            if not self._turn.options.get("repair", True):
                self._lost[content.manifest] = "Its manifest is damaged or missing."
                return None
        try:
            if is_whole:
                manifest = manifests.get(content.manifest)
                self._rekey_manifest(content, manifest)
                return manifest
            return self._repairs.repair_manifest(content)
        except DataLossError as error:
            self._lost[content.manifest] = error.message
            return None

    def _rekey_manifest(self, content: Content, manifest: Manifest) -> None:
        blob = ManifestBlob(content.manifest, content.writer)
        if self._is_rekeying and self._manifests.key_id(blob) != self._parts.key_id:
            self._repairs.rewrite_manifest(content, manifest)
            self._tally.add("manifests_rekeyed")

    def _is_whole(self, blob: ManifestBlob) -> bool:
        try:
            return self._manifests.is_whole(blob)
        except StoreOutOfReachError:
            raise
        except UnavailableError:  # a bad sector, unless the store is gone
            return False

    def _check_index(self, manifest: Manifest) -> None:
        """Quarantine what the index has lost, so that it is looked for and comes back."""
        digests = list(set(manifest.chunks.values()))
        known = self._database.read(find_known, digests)
        unknown = [each for each in digests if each not in known]
        quarantined = self._database.read(scrubbing.find_quarantined, unknown)
        for digest in unknown:
            if digest not in quarantined:
                damage = Damage(_entry_of_unknown(digest), "The chunk index does not know it.")
                self._turn.write(
                    scrubbing.quarantine, _UNKNOWN_PACK, damage, now=datetime.now(tz=UTC)
                )
                self._tally.add("chunks_damaged")

    def _repair(self) -> None:
        if self._turn.options.get("repair", True):
            self._repairs.repair_chunks(
                content for content in self._iter_contents() if content.manifest not in self._lost
            )
            self._repairs.rewrite_packs()

    def _judge(self) -> None:
        """Say of each content what it lacks now, and name the images."""
        quarantined = self._database.read(scrubbing.list_quarantined)
        needed: set[Digest] = set()
        for content in self._iter_contents():
            self._turn.check()
            if content.manifest not in self._checked_at:
                continue  # it was sealed since
            lacking: list[Digest] = []
            if content.manifest in self._lost:
                damage: str | None = self._lost[content.manifest]
            else:
                suspects = set(quarantined)
                if suspects:
                    manifest = self._manifests.get(content.manifest)
                    lacking = list(suspects & set(manifest.chunks.values()))
                    needed.update(lacking)
                damage = _describe(lacking)
            self._turn.write(
                repairs.settle_content,
                content.manifest,
                damage=damage,
                checked_at=self._checked_at[content.manifest],
                digests=self._repairs.repaired_chunks_of(content.manifest),
            )
            if damage is not None:
                for image_id, name in self._database.read(scrubbing.list_images, content.manifest):
                    self._tally.hit(image_id=image_id, name=name, why=damage, chunks=len(lacking))
        if not self._lost:  # else one of the lost may need them
            self._turn.write(repairs.release, [each for each in quarantined if each not in needed])
        self._tally.chunks_lost = len(needed)

    def _iter_contents(self) -> Iterator[Content]:
        after = b""
        while batch := self._database.read(
            scrubbing.list_contents, after=after, limit=_CONTENTS_AT_ONCE
        ):
            yield from batch
            after = batch[-1].manifest


def _count_back(finding: Finding, quarantined: list[PackEntry]) -> int:
    whole = {each.digest for each in finding.whole}
    return sum(each.digest in whole for each in quarantined)


def _entry_of_unknown(digest: Digest) -> PackEntry:
    return PackEntry(digest=digest, codec=Codec.PLAIN, offset=0, stored_size=0, plain_size=0)


def _describe(lacking: list[Digest]) -> str | None:
    if not lacking:
        return None
    chunks = "one of its chunks is" if len(lacking) == 1 else f"{len(lacking)} of its chunks are"
    return f"{chunks} damaged and could not be repaired, such as {lacking[0].hex()}.".capitalize()
