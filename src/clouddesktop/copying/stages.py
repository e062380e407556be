"""The steps of a copy, each with its failures: what the workflow only puts into order.

Every step answers a JSON object whose `ok` tells whether to go on. A failure is on the operation,
for clients to see, before its step answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any, TypeVar

import structlog

from clouddesktop.catalog import copies, rolling_back, sealing
from clouddesktop.catalog.chunks import sum_stored_size
from clouddesktop.catalog.copies import CopyRun, RunReplacedError
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.patience import PatientDatabase
from clouddesktop.copying.cancelling import Cancellation
from clouddesktop.copying.ranges import RangeMemory, RangeStore
from clouddesktop.copying.session import CopySession
from clouddesktop.copying.sharing import SharedRanges
from clouddesktop.copying.turns import RangeTurns
from clouddesktop.copying.verifying import verify_checksum
from clouddesktop.disk.reader import Disk
from clouddesktop.errors import (
    CloudDesktopError,
    FailedPreconditionError,
    Failure,
    OperationCancelledError,
)
from clouddesktop.ids import epoch_of, to_digest
from clouddesktop.model.manifest import (
    CHUNK_SIZE,
    CopyRange,
    Extent,
    Manifest,
    chunk_length,
    plan_ranges,
)
from clouddesktop.model.operation import Phase
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.manifests import ManifestBlob, ManifestStore

T = TypeVar("T")
Answer = dict[str, Any]

MOST_ATTEMPTS = 25
"""Runs without a recorded range after which a copy is given up: it may be what ends the server."""

_log = structlog.get_logger(__name__)


class TooManyAttemptsError(FailedPreconditionError):
    """The copy was begun again and again and never got on."""

    reason = "TOO_MANY_ATTEMPTS"


class CopyStages:
    """The steps of one run."""

    def __init__(
        self,
        *,
        run: CopyRun,
        session: CopySession,
        cancellation: Cancellation,
        database: Database,
        chunks: ChunkStore,
        manifests: ManifestStore,
        threads: Executor,
        memory: RangeMemory,
        turns: RangeTurns,
        failpoint: Callable[[str], None],
        worker_id: str | None,
    ) -> None:
        """Other workers may help if `worker_id`, this one's, is given."""
        self._run = run
        self._session = session
        self._cancellation = cancellation
        self._database = PatientDatabase(database, check=session.check_running)
        # What a copy stores waits while the store is out of reach, and so does what it gives back.
        self._chunks = chunks.waiting(session.check_alive)
        self._manifests = manifests.waiting(session.check_alive)
        self._chunks_to_roll_back = chunks.waiting(session.check_running)
        self._threads = threads
        self._turns = turns
        self._failpoint = failpoint
        self._ranges = RangeStore(
            run=run,
            database=self._database,
            chunks=self._chunks,
            memory=memory,
            check_wanted=cancellation.check,
            failpoint=failpoint,
        )
        self._shared = None
        if worker_id is not None:
            self._shared = SharedRanges(database=self._database, run=run, worker_id=worker_id)
        self._failed = run.failed

    async def share(self, ranges: list[list[int]]) -> None:
        """Let other workers help with the ranges of the plan. No step: each run does it anew.

        Raises:
            RunReplacedError: the run is over.
        """
        if self._shared is not None:
            share, planned = self._shared.share, [_to_range(each) for each in ranges]
            await self._in_thread(lambda: share(planned))

    async def is_ready(self, numbers: list[int]) -> bool:
        """Tell whether to go on with a range, rather than to wait for a worker that helps.

        Raises:
            RunReplacedError: the run is over.
        """
        if self._shared is None or self._failed:
            return True
        is_ready = self._shared.is_ready

        def ask() -> bool:
            self._cancellation.check()
            return is_ready(numbers[0])

        try:
            return await self._in_thread(ask)
        except OperationCancelledError:
            return True  # its step ends the copy, without waiting for whoever helps

    async def plan(self) -> Answer:
        """Open the source, find it safe, and cut its data into ranges."""
        return await self._guarded("plan", self._plan)

    async def store_range(self, numbers: list[int]) -> Answer:
        """Store the range given as [index, first chunk, count of chunks]."""
        copy_range = _to_range(numbers)
        async with self._turns.taken(self._run):
            return await self._guarded("range", lambda: self._store_range(copy_range))

    async def seal(self) -> Answer:
        """Put the manifest together, once the source is seen to have stayed as it was."""
        return await self._guarded("seal", self._seal)

    async def publish(self, manifest: str) -> Answer:
        """Make the image ACTIVE and the operation done, in one transaction."""
        return await self._guarded("publish", lambda: self._publish(manifest))

    async def roll_back(self) -> Answer:
        """Remove every trace of the copy but its operation, then end that."""
        await self._in_thread(self._roll_back)
        return {"ok": True}

    def _plan(self) -> Answer:
        self._failpoint("plan-begin")
        self._retried(copies.set_phase, Phase.PLANNING)
        with self._session.reading() as (file, disk):
            fingerprint = file.settle()
            ranges = list(plan_ranges(self._extents(disk), disk_size=disk.size))
            self._retried(
                copies.record_plan,
                fingerprint=fingerprint.to_text(),
                settled=fingerprint.settled,
                disk_size=disk.size,
                bytes_total=sum(_size_of(each, disk_size=disk.size) for each in ranges),
            )
        self._failpoint("plan-end")
        return {"ranges": [[each.index, each.first_chunk, each.chunk_count] for each in ranges]}

    def _extents(self, disk: Disk) -> Iterator[Extent]:
        for extent in disk.iter_extents():
            self._cancellation.check()
            yield extent

    def _store_range(self, copy_range: CopyRange) -> Answer:
        if not self._ranges.is_recorded(copy_range):
            self._ranges.copy(self._session, copy_range)
        return {"index": copy_range.index}

    def _seal(self) -> Answer:
        self._failpoint("seal-begin")
        self._retried(copies.set_phase, Phase.SEALING)
        fingerprint, disk_size = self._database.read(copies.get_fingerprint, self._run)
        with self._session.reading() as (file, _):
            if self._run.checksum is not None:
                verify_checksum(
                    self._session.disk_file,
                    self._run.checksum,
                    check_alive=self._session.check_alive,
                )
            file.check_unchanged(fingerprint)
        content = self._database.read(
            lambda connection: dict(copies.iter_recorded_chunks(connection, self._run))
        )
        manifest = Manifest(size=disk_size, chunk_size=CHUNK_SIZE, chunks=content)
        # Named after the run: no other blob ever has this name, so none is deleted by mistake.
        mine = f"{self._run.operation_id}-{self._run.epoch}"
        digest = self._manifests.put(manifest, writer=mine)
        self._failpoint("seal-stored")
        storage_size = self._database.read(sum_stored_size, list(set(content.values())))
        counts = self._retried(
            sealing.record_manifest,
            manifest=digest,
            writer=mine,
            disk_size=disk_size,
            storage_size=storage_size,
        )
        if counts != mine:
            self._drop_second_blob(ManifestBlob(digest, counts), ManifestBlob(digest, mine))
        self._delete_left_packs(self._chunks)
        self._failpoint("seal-end")
        return {"manifest": digest.hex()}

    def _drop_second_blob(self, first: ManifestBlob, second: ManifestBlob) -> None:
        """Keep one blob of a content that was sealed before: the first, unless it is damaged."""
        if not self._manifests.is_whole(first):
            self._retried(
                sealing.replace_manifest_blob, manifest=second.digest, writer=second.writer
            )
            first, second = second, first
        self._manifests.delete(second)

    def _publish(self, manifest: str) -> Answer:
        self._failpoint("publish-begin")
        self._retried(copies.publish, manifest=to_digest(bytes.fromhex(manifest)))
        self._failpoint("publish-end")
        return {}

    def _roll_back(self) -> None:
        self._failpoint("rollback-begin")
        for pack_id in self._retried(rolling_back.roll_back):
            self._chunks_to_roll_back.delete_pack(pack_id)
        self._delete_left_packs(self._chunks_to_roll_back)
        self._failpoint("rollback-removed")
        self._retried(rolling_back.finish_rollback)
        self._failpoint("rollback-end")

    def _delete_left_packs(self, chunks: ChunkStore) -> None:
        """Delete what interrupted runs of this copy have written and not recorded.

        Nothing of later runs: this one may be over without knowing it yet.
        """
        operation_id = self._run.operation_id
        written = [
            each for each in chunks.iter_packs(operation_id) if epoch_of(each) <= self._run.epoch
        ]
        indexed = self._database.read(rolling_back.indexed_packs, operation_id)
        for pack_id in written:
            if pack_id not in indexed:
                chunks.delete_pack(pack_id)

    async def _guarded(self, name: str, work: Callable[[], Answer]) -> Answer:
        if self._failed:
            return {"ok": False}
        try:
            self._check_attempts()
            # Not `check_alive`: what is left of a step while the server stops may be finished.
            await self._in_thread(self._cancellation.look)
            return {"ok": True, **await self._in_thread(work)}
        except RunReplacedError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is, the operation must end)
            if not isinstance(error, CloudDesktopError):
                _log.exception("copy failed", operation_id=self._run.operation_id, step=name)
            self._failed = True
            failure = Failure.of(error)
            await self._in_thread(lambda: self._record_failure(failure))
            return {"ok": False}

    def _check_attempts(self) -> None:
        if self._run.attempts > MOST_ATTEMPTS:
            raise TooManyAttemptsError(
                f"The copy of {self._run.compute_image.id} was begun {self._run.attempts} times"
                " without getting on.",
                remedy="Look into the server's log for what ended it, then copy again.",
            )

    def _record_failure(self, failure: Failure) -> None:
        self._retried(rolling_back.record_failure, failure)
        _log.warning(
            "copy fails",
            operation_id=self._run.operation_id,
            reason=failure.reason,
            message=failure.message,
        )

    def _retried(self, query: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return self._database.write(query, self._run, *args, **kwargs)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _to_range(numbers: list[int]) -> CopyRange:
    index, first_chunk, chunk_count = numbers
    return CopyRange(index=index, first_chunk=first_chunk, chunk_count=chunk_count)


def _size_of(copy_range: CopyRange, *, disk_size: int) -> int:
    last = copy_range.first_chunk + copy_range.chunk_count - 1
    whole = (copy_range.chunk_count - 1) * CHUNK_SIZE
    return whole + chunk_length(last, disk_size=disk_size)
