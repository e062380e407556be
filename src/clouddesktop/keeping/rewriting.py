"""Writing packs anew of which few chunks are live: the live ones move into a new pack.

The new pack is durable before one transaction lets it stand for the old ones; their blobs go last.
A reader that holds an old place meets a missing pack, and asks the index once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clouddesktop.catalog.chunks import find_places
from clouddesktop.catalog.collecting import Judgement, replace_packs
from clouddesktop.catalog.engine import Database
from clouddesktop.errors import DataLossError
from clouddesktop.ids import Digest, PackId
from clouddesktop.keeping.liveness import PackExamination
from clouddesktop.keeping.runs import Turn
from clouddesktop.keeping.tally import Tally
from clouddesktop.model.manifest import RANGE_SIZE
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.codec import Buffer, Codec, encode
from clouddesktop.store.packs import PackEntry, PackWriter, overhead_of

_READ_AT_ONCE = 32
"""Chunks read at a time: 8 MiB of plain bytes."""

_MOST_PACKS = 64
"""Packs that one new pack stands for at most, so that the transaction stays short."""

_Encoded = tuple[Digest, Codec, Buffer, int]


def live_share(judgement: Judgement, examination: PackExamination) -> float:
    """Tell which share of a pack's chunk bytes is live, 0 to 1.

    The rest is of dead chunks, or of chunks that another copy had stored before.
    """
    known = len(judgement.live) + len(judgement.dead)
    payload = judgement.pack.size - overhead_of(known)
    live_size = examination.stored_size(judgement.live)
    return live_size / payload if payload > live_size else float(live_size > 0)


class PackRewriter:
    """Gathers packs until their live chunks make up a new one, or `flush` is called.

    Memory: a new pack of up to 48 MiB, what is live of one old pack, and 8 MiB of plain bytes.
    """

    def __init__(
        self,
        *,
        turn: Turn,
        database: Database,
        chunks: ChunkStore,
        tally: Tally,
        failpoint: Callable[[str], None],
    ) -> None:
        self._turn = turn
        self._database = database
        self._chunks = chunks
        self._tally = tally
        self._failpoint = failpoint
        self._is_dry_run = bool(turn.options.get("dry_run"))
        self._gathered: list[Judgement] = []
        self._gathered_size = 0
        self._written = 0

    def add(self, judgement: Judgement, examination: PackExamination) -> None:
        """Take a pack; it is written anew now or at the next `flush`, of the same examination."""
        live_size = examination.stored_size(judgement.live)
        if self._is_dry_run:
            self._foresee(judgement, live_size)
            return
        is_full = self._gathered_size + live_size > RANGE_SIZE
        if self._gathered and (is_full or len(self._gathered) >= _MOST_PACKS):
            self.flush(examination)
        self._gathered.append(judgement)
        self._gathered_size += live_size

    def flush(self, examination: PackExamination) -> None:
        """Write the gathered packs anew."""
        gathered, self._gathered, self._gathered_size = self._gathered, [], 0
        if not gathered:
            return
        self._turn.check()
        writer = self._chunks.new_pack()
        readable = [each for each in gathered if self._copy_live(each, writer)]
        self._written += 1
        pack_id = PackId(f"{self._turn.run_id}/{self._turn.epoch}-{self._written}")
        entries, size = self._put(pack_id, writer)
        replaced = self._turn.write(
            replace_packs,
            readable,
            examined=examination.examined,
            run_id=self._turn.run_id,
            pack_id=pack_id,
            size=size,
            entries=entries,
        )
        self._failpoint("gc-packs-replaced")
        self._tally.add("packs_left", len(gathered) - len(replaced))
        if entries and not replaced:
            self._chunks.delete_pack(pack_id)
        elif entries:
            self._tally.add("packs_written")
            self._tally.add("bytes_written", size)
        for each in replaced:
            self._chunks.delete_pack(each.pack.id)
            self._tally.add("packs_rewritten" if each.live else "packs_removed")
            self._tally.add("chunks_dropped", len(each.dead))
            self._tally.add("bytes_freed", each.pack.size)

    def _put(self, pack_id: PackId, writer: PackWriter) -> tuple[Sequence[PackEntry], int]:
        if writer.is_empty:
            return (), 0
        entries, data = writer.finish()
        self._chunks.put_pack(pack_id, data)
        self._failpoint("gc-pack-put")
        return entries, len(memoryview(data))

    def _copy_live(self, judgement: Judgement, writer: PackWriter) -> bool:
        """Verify and add all live chunks of a pack, or none of them if one cannot be read."""
        encoded: list[_Encoded] = []
        try:
            for start in range(0, len(judgement.live), _READ_AT_ONCE):
                encoded += self._read(judgement.live[start : start + _READ_AT_ONCE])
        except DataLossError as error:
            self._tally.note_problem(error.message)
            return False
        for digest, codec, stored, plain_size in encoded:
            writer.add(digest, codec, stored, plain_size)
        return True

    def _read(self, digests: Sequence[Digest]) -> list[_Encoded]:
        places = self._database.read(find_places, digests)
        known = [places[each] for each in digests if each in places]
        plain = self._chunks.read_chunks(known)
        return [
            (place.entry.digest, *encode(data), len(data))
            for place, data in zip(known, plain, strict=True)
        ]

    def _foresee(self, judgement: Judgement, live_size: int) -> None:
        size = judgement.pack.size
        self._tally.add("packs_rewritten" if judgement.live else "packs_removed")
        self._tally.add("chunks_dropped", len(judgement.dead))
        self._tally.add("bytes_freed", size)
        self._tally.add("bytes_written", live_size)
        self._tally.note(
            what="pack",
            name=judgement.pack.id,
            size=size - live_size,
            reason=f"Only {live_size} of its {size} bytes are needed: these are written anew.",
        )
