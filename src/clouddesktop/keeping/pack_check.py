"""Looking at one pack: its table, and every chunk that the table or the index finds in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from clouddesktop.catalog.scrubbing import Damage, Finding, ScrubPack
from clouddesktop.errors import CloudDesktopError, DataLossError, UnavailableError
from clouddesktop.ids import Digest
from clouddesktop.keeping.pace import Pace
from clouddesktop.store.chunks import ChunkPlace, ChunkStore
from clouddesktop.store.faults import StoreOutOfReachError
from clouddesktop.store.packs import PackEntry

_READ_AT_ONCE = 8 << 20
"""Plain bytes that are held at a time."""


class PackChecker:
    """Checks packs, one after the other. `check_store` raises when the store itself is not there.

    Nothing is called damaged before it was read twice and the store was seen to be there: a disk
    that is not mounted is no damage.
    """

    def __init__(self, *, chunks: ChunkStore, pace: Pace, check_store: Callable[[], None]) -> None:
        self._chunks = chunks
        self._pace = pace
        self._check_store = check_store
        self.chunks_checked = 0
        self.bytes_read = 0

    def check(
        self,
        pack: ScrubPack,
        *,
        indexed: Sequence[PackEntry],
        quarantined: Sequence[PackEntry],
    ) -> Finding:
        """Read a pack and verify all of it.

        Args:
            pack: the pack.
            indexed: the chunks that the index finds in it.
            quarantined: those that it found there before they were damaged.

        Raises:
            CloudDesktopError: the store does not work; nothing is known of the pack.
        """
        table, table_damage = self._read_table(pack)
        listed = {each.digest for each in table}
        candidates: dict[Digest, list[PackEntry]] = {}
        for entry in (*table, *indexed, *quarantined):
            places = candidates.setdefault(entry.digest, [])
            if entry not in places:
                places.append(entry)
        whole, failed = self._verify(pack, candidates)
        if failed or table_damage:
            self._check_store()
        strays = [entry for entry in whole if table and entry.digest not in listed]
        return Finding(
            pack=pack,
            damage=table_damage or _describe(failed, strays),
            whole=whole,
            damaged=[
                Damage(entry, failed[entry.digest]) for entry in indexed if entry.digest in failed
            ],
        )

    def _read_table(self, pack: ScrubPack) -> tuple[Sequence[PackEntry], str | None]:
        try:
            return self._chunks.read_table(pack.id), None
        except StoreOutOfReachError:
            raise
        except (DataLossError, UnavailableError):
            try:
                return self._chunks.read_table(pack.id), None
            except StoreOutOfReachError:
                raise
            except (DataLossError, UnavailableError) as error:
                return (), error.message

    def _verify(
        self, pack: ScrubPack, candidates: dict[Digest, list[PackEntry]]
    ) -> tuple[list[PackEntry], dict[Digest, str]]:
        whole: list[PackEntry] = []
        failed: dict[Digest, str] = {}
        first = sorted((each[0] for each in candidates.values()), key=lambda each: each.offset)
        for batch in _batches(first):
            if self._why_not(pack, batch) is None:
                whole += batch
            else:
                for entry in batch:
                    found, why = self._find_whole(pack, candidates[entry.digest])
                    if found is None:
                        failed[entry.digest] = why
                    else:
                        whole.append(found)
            stored_size = sum(each.stored_size for each in batch)
            self.chunks_checked += len(batch)
            self.bytes_read += stored_size
            self._pace.spend(stored_size)
        return whole, failed

    def _find_whole(
        self, pack: ScrubPack, places: Sequence[PackEntry]
    ) -> tuple[PackEntry | None, str]:
        why = ""
        for entry in places:
            error = self._why_not(pack, [entry])
            if error is None:
                return entry, ""
            why = why or error.message
        return None, why

    def _why_not(self, pack: ScrubPack, entries: Sequence[PackEntry]) -> CloudDesktopError | None:
        """Read chunks; None when they are right."""
        try:
            self._chunks.read_chunks(
                [ChunkPlace(pack_id=pack.id, entry=entry) for entry in entries]
            )
        except StoreOutOfReachError:
            raise
        except (DataLossError, UnavailableError) as error:
            return error
        return None


def _batches(entries: Sequence[PackEntry]) -> Iterator[list[PackEntry]]:
    batch: list[PackEntry] = []
    size = 0
    for entry in entries:
        if batch and size + entry.plain_size > _READ_AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry.plain_size
    if batch:
        yield batch


def _describe(failed: dict[Digest, str], strays: Sequence[PackEntry]) -> str | None:
    if failed:
        return f"{len(failed)} of its chunks are damaged. {next(iter(failed.values()))}"
    if strays:
        return f"Its table does not know chunk {strays[0].digest.hex()}, which lies in it."
    return None
