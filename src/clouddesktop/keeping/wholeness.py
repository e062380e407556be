"""Whether contents and running copies have all that they consist of, and bringing back what not.

When mending: what is missing goes into quarantine, is looked for in every pack, and each content
that lacked something is judged once more.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

from clouddesktop.catalog import reconciling, repairs, scrubbing
from clouddesktop.catalog.chunks import find_known
from clouddesktop.catalog.index_rebuild import fail_copy
from clouddesktop.catalog.scrubbing import Content, Damage
from clouddesktop.errors import DataLossError
from clouddesktop.ids import Digest, PackId
from clouddesktop.keeping.bringing_back import BringingBack
from clouddesktop.keeping.examining import Examination
from clouddesktop.keeping.findings import FindingState
from clouddesktop.keeping.liveness import iter_digests
from clouddesktop.keeping.rebuilding import ContentLostError
from clouddesktop.model.manifest import Manifest
from clouddesktop.store.codec import Codec
from clouddesktop.store.packs import PackEntry

_AT_ONCE = 500
_DIGESTS_AT_ONCE = 5000
_REFERENCE = struct.Struct("<Q32s")
_NO_PACK = PackId("")


class Wholeness:
    """Looks at each content, then at each running copy; `missing_packs` count as lost."""

    def __init__(self, parts: Examination, *, missing_packs: Collection[int]) -> None:
        self._parts = parts
        self._database = parts.database
        self._missing = missing_packs

    def run(self) -> None:
        for content in self._iter(scrubbing.list_contents):
            self._look_at(content)
        if self._parts.is_mending:
            if not self._database.read(reconciling.is_quarantine_empty):
                BringingBack(
                    database=self._database,
                    chunks=self._parts.chunks,
                    findings=self._parts.findings,
                    check=self._parts.check,
                ).run()
            self._judge()
        self._look_at_copies()

    def _look_at(self, content: Content) -> None:
        manifest = self._read(content)
        if isinstance(manifest, str):
            self._tell(content, manifest)
            return
        count, example = 0, ""
        for batch in _digest_batches(manifest):
            lacking = self._find_lacking(batch)
            if lacking and self._parts.is_mending:
                self._quarantine(lacking)
            count += len(lacking)
            example = example or (lacking[0].hex() if lacking else "")
        if count:
            self._tell(content, f"It lacks {count} chunks, such as {example}.")
        elif content.damage is not None:
            self._tell(content, content.damage)

    def _read(self, content: Content) -> Manifest | str:
        """Read its manifest, or say why that is not to be had."""
        try:
            return self._parts.manifests.get(content.manifest, writer=content.writer)
        except DataLossError as error:
            return error.message

    def _find_lacking(self, digests: Sequence[Digest]) -> list[Digest]:
        known = self._database.read(find_known, digests)
        return [
            each for each in digests if known.get(each, -1) in self._missing or each not in known
        ]

    def _quarantine(self, digests: Sequence[Digest]) -> None:
        now = datetime.now(tz=UTC)
        for digest in digests:
            entry = PackEntry(
                digest=digest, codec=Codec.PLAIN, offset=0, stored_size=0, plain_size=0
            )
            damage = Damage(entry, "The chunk index does not know it.")
            self._database.write(scrubbing.quarantine, _NO_PACK, damage, now=now)

    def _tell(self, content: Content, damage: str) -> None:
        """Note what a content lacks; when mending, only once it is known what came back."""
        if not self._database.read(reconciling.is_content_known, content.manifest):
            return  # collected meanwhile
        if self._parts.is_mending:
            self._database.write(reconciling.mark_damaged, content.manifest, damage)
        else:
            self._note(content, damage)

    def _note(self, content: Content, damage: str) -> bool:
        images = self._database.read(scrubbing.list_images, content.manifest)
        for image_id, name in images:
            self._parts.findings.note(
                "damaged_image",
                image_id,
                f"The image {name} ({image_id}) is not whole: {damage}",
                why="It cannot be exported, and no machine that boots from it gets far.",
                remedy="Put what is missing back from a backup of the store and run --mend;"
                " or `clouddesktop store scrub`, which takes from the sources what they still"
                " have; or delete the image.",
            )
        return bool(images)

    def _judge(self) -> None:
        """Say of each damaged content what it lacks now."""
        needed: set[Digest] = set()
        is_sure = True
        for content in self._iter(reconciling.list_damaged_contents):
            manifest = self._read(content)
            if isinstance(manifest, str):
                self._database.write(reconciling.mark_damaged, content.manifest, manifest)
                is_sure &= not self._note(content, manifest)
                continue
            count = 0
            lacked: set[Digest] = set()
            for batch in _digest_batches(manifest):
                lacking = self._find_lacking(batch)
                count += len(lacking)
                lacked.update(lacking)
            if count:
                damage = f"It lacks {count} chunks, such as {min(lacked).hex()}."
                self._database.write(reconciling.mark_damaged, content.manifest, damage)
                if self._note(content, damage):
                    needed |= lacked
            else:
                self._settle(content)
        if is_sure:
            quarantined = self._database.read(scrubbing.list_quarantined)
            gone = [each for each in quarantined if each not in needed]
            self._database.write(repairs.release, gone)

    def _settle(self, content: Content) -> None:
        self._database.write(
            repairs.settle_content,
            content.manifest,
            damage=None,
            checked_at=datetime.now(tz=UTC),
        )
        for image_id, name in self._database.read(scrubbing.list_images, content.manifest):
            self._parts.findings.note(
                "damaged_image",
                image_id,
                f"The image {name} ({image_id}) was not whole.",
                why="It could not be exported.",
                remedy="What it lacked was found in other packs: it is whole again.",
                state=FindingState.MENDED,
            )

    def _look_at_copies(self) -> None:
        after = ("", -1)
        told_of: set[str] = set()
        while batch := self._database.read(
            reconciling.list_recorded_ranges, after=after, limit=_AT_ONCE
        ):
            self._parts.check()
            after = batch[-1].operation_id, batch[-1].number
            for place in batch:
                if place.operation_id in told_of:
                    continue
                digests = [Digest(each[1]) for each in _REFERENCE.iter_unpack(place.references)]
                lacking = self._find_lacking(list(dict.fromkeys(digests)))
                if lacking and self._is_succeeding(place.operation_id):
                    told_of.add(place.operation_id)
                    self._note_copy(place.operation_id, lacking[0])

    def _is_succeeding(self, operation_id: str) -> bool:
        return self._database.read(reconciling.is_succeeding, operation_id)

    def _note_copy(self, operation_id: str, chunk: Digest) -> None:
        error = ContentLostError(
            f"The store has lost chunk {chunk.hex()}, which this copy had recorded.",
            remedy="Copy the image again.",
            facts={"chunk": chunk.hex()},
        )
        if self._parts.is_mending:
            self._database.write(fail_copy, operation_id, error.failure)
        self._parts.findings.note(
            "copy_lacks_chunks",
            operation_id,
            f"The operation {operation_id} has recorded chunks that are gone.",
            why="It would make an image that is not whole.",
            remedy="--mend has it fail and rolled back; then copy again.",
            state=self._parts.mended,
        )

    def _iter(self, query: Callable[..., list[Content]]) -> Iterator[Content]:
        after = b""
        while batch := self._database.read(query, after=after, limit=_AT_ONCE):
            for content in batch:
                self._parts.check()
                yield content
            after = batch[-1].manifest


def _digest_batches(manifest: Manifest) -> Iterator[list[Digest]]:
    digests = iter_digests(manifest)
    while batch := list(islice(digests, _DIGESTS_AT_ONCE)):
        yield list(dict.fromkeys(batch))
