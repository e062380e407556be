"""One range of a copy: read, drop zeros, hash, compress what is new, store, record.

Runs in a thread. Its memory is one batch of plain bytes and one pack of compressed ones.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clouddesktop.catalog.chunks import find_known
from clouddesktop.catalog.copies import (
    ChunkGoneError,
    CopyRun,
    RangeRecord,
    StoredPack,
    get_fingerprint,
    is_range_recorded,
    record_range,
)
from clouddesktop.catalog.patience import PatientDatabase
from clouddesktop.copying.session import CopySession
from clouddesktop.direct import aligned_memory
from clouddesktop.disk.reader import Disk
from clouddesktop.errors import CloudDesktopError, OperationCancelledError
from clouddesktop.ids import Digest, PackId
from clouddesktop.model.manifest import CHUNK_SIZE, CopyRange, chunk_length
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.codec import digest_of, encode, is_zero
from clouddesktop.store.packs import PackBuffer, PackWriter

BATCH_SIZE = 8 << 20
"""Plain bytes that a range holds at a time, and asks the index about in one query."""

_TRIES = 3
"""How often a range is read because a chunk that it shares was removed beside it.

The last time it shares nothing, and so cannot fail for that again.
"""


class RangeMemory:
    """What ranges are read into and packed in: used by one range at a time, kept for the next.

    Thread-safe. Pages that the system has to find anew cost as much time as the compression.
    """

    def __init__(self) -> None:
        self._free: list[tuple[memoryview, PackBuffer]] = []
        self._keepers = 0
        self._lock = threading.Lock()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what is not used at the moment, until the last caller leaves."""
        with self._lock:
            self._keepers += 1
        try:
            yield
        finally:
            with self._lock:
                self._keepers -= 1
                if not self._keepers:
                    self._free.clear()

    @contextmanager
    def taken(self) -> Iterator[tuple[memoryview, PackBuffer]]:
        """Give the bytes of a batch and a pack's buffer, for the time being."""
        with self._lock:
            taken = self._free.pop() if self._free else None
        memory = taken or (memoryview(aligned_memory(BATCH_SIZE)), PackBuffer())
        try:
            yield memory
        finally:
            with self._lock:
                if self._keepers:
                    self._free.append(memory)


class RangeStore:
    """Stores the ranges of one run."""

    def __init__(
        self,
        *,
        run: CopyRun,
        database: PatientDatabase,
        chunks: ChunkStore,
        memory: RangeMemory,
        check_wanted: Callable[[], None],
        failpoint: Callable[[str], None],
        helper: str = "",
    ) -> None:
        """Store by way of `memory`; `check_wanted` is called between batches and may raise.

        `helper` is the id of a worker that helps with another worker's run.
        """
        self._run = run
        self._database = database
        self._chunks = chunks
        self._memory = memory
        self._check_wanted = check_wanted
        self._failpoint = failpoint
        self._helper = helper

    def is_recorded(self, copy_range: CopyRange) -> bool:
        """Tell whether an earlier run has recorded the range, so that it need not be read."""
        return self._database.read(is_range_recorded, self._run, copy_range.index)

    def copy(self, session: CopySession, copy_range: CopyRange) -> None:
        """Bring one range of the open source into the store and record it, both durably.

        Raises:
            SourceChangedError: the file is not what the plan was made for.
            OperationCancelledError: the operation has an error.
            RunReplacedError: the run is over.
            CloudDesktopError: the file cannot be read, or the store not be written.
        """
        fingerprint, _ = self._database.read(get_fingerprint, self._run)
        with session.reading() as (file, disk):
            file.check_unchanged(fingerprint)
            try:
                self._store_often(disk, copy_range, check=lambda: file.check_unchanged(fingerprint))
            except OperationCancelledError:
                raise
            except CloudDesktopError:
                # A file that changes under its reader looks damaged: the change is the news.
                file.check_unchanged(fingerprint)
                raise

    def _store_often(self, disk: Disk, copy_range: CopyRange, *, check: Callable[[], None]) -> None:
        """Store a range; `check` raises, just before, when what was read may not be recorded."""
        for tries_left in reversed(range(_TRIES)):
            try:
                with self._memory.taken() as (batch, buffer):
                    pack = self._chunks.new_pack(buffer)
                    self._store(
                        disk,
                        copy_range,
                        pack,
                        memory=batch,
                        check=check,
                        attempt=_TRIES - tries_left,
                    )
            except ChunkGoneError:
                if not tries_left:
                    raise
            else:
                return

    def _store(
        self,
        disk: Disk,
        copy_range: CopyRange,
        pack: PackWriter,
        *,
        memory: memoryview,
        check: Callable[[], None],
        attempt: int,
    ) -> None:
        self._failpoint(f"range-begin:{copy_range.index}")
        written: set[Digest] = set()
        references: list[tuple[int, Digest]] = []
        bytes_new = bytes_shared = bytes_zero = 0
        for batch in _iter_batches(disk, copy_range, memory):
            self._check_wanted()
            plain: dict[Digest, memoryview] = {}
            for number, view in batch:
                if is_zero(view):
                    bytes_zero += len(view)
                    continue
                digest = digest_of(view)
                references.append((number, digest))
                if digest in written or digest in plain:
                    bytes_shared += len(view)
                else:
                    plain[digest] = view
            known = self._database.read(find_known, list(plain) if attempt < _TRIES else [])
            for digest, view in plain.items():
                if digest in known:
                    bytes_shared += len(view)
                    continue
                codec, stored = encode(view)
                pack.add(digest, codec, stored, len(view))
                written.add(digest)
                bytes_new += len(view)
        self._failpoint(f"range-read:{copy_range.index}")
        check()
        stored_pack = self._put(pack, copy_range, attempt=attempt)
        record = RangeRecord(
            index=copy_range.index,
            chunks=references,
            bytes_new=bytes_new,
            bytes_stored=0 if stored_pack is None else stored_pack.size,
            bytes_deduplicated=bytes_shared,
            bytes_zero=bytes_zero,
        )
        is_needed = self._database.write(record_range, self._run, record, pack=stored_pack)
        if stored_pack is not None and not is_needed:
            self._chunks.delete_pack(stored_pack.id)
        self._failpoint(f"range-recorded:{copy_range.index}")

    def _put(self, pack: PackWriter, copy_range: CopyRange, *, attempt: int) -> StoredPack | None:
        if pack.is_empty:
            return None
        # Named after the run, so that what a crash leaves behind is found and removed by its copy.
        name = f"{copy_range.index:06d}-{self._run.epoch}-{attempt}"
        if self._helper:
            name = f"{name}-{self._helper}"
        pack_id = PackId(f"{self._run.operation_id}/{name}")
        entries, data = pack.finish()
        size = len(memoryview(data))
        self._chunks.put_pack(pack_id, data)
        return StoredPack(pack_id, size, entries)


def _iter_batches(
    disk: Disk, copy_range: CopyRange, buffer: memoryview
) -> Iterator[list[tuple[int, memoryview]]]:
    """Read a range piece by piece: chunk numbers and their bytes, valid until the next piece."""
    step = BATCH_SIZE // CHUNK_SIZE
    end = copy_range.first_chunk + copy_range.chunk_count
    for first in range(copy_range.first_chunk, end, step):
        numbers = range(first, min(first + step, end))
        lengths = [chunk_length(number, disk_size=disk.size) for number in numbers]
        filled = buffer[: sum(lengths)]
        disk.read_into(first * CHUNK_SIZE, filled)
        starts = range(0, len(numbers) * CHUNK_SIZE, CHUNK_SIZE)
        yield [
            (number, filled[start : start + length])
            for number, start, length in zip(numbers, starts, lengths, strict=True)
        ]
