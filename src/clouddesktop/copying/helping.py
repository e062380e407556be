"""A worker that has no copy of its own helps with those of others, range by range.

It opens the source by itself, and records under the run of the worker that it helps: when that run
is over, nothing of what the helper still does counts. What it cannot read, it leaves alone; whether
the copy fails is for the worker that runs it to find out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, wait

import structlog

from clouddesktop.catalog import sharing
from clouddesktop.catalog.copies import CopyRun, RunReplacedError
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.patience import PatientDatabase
from clouddesktop.catalog.sharing import SharedCopy
from clouddesktop.copying.cancelling import Cancellation
from clouddesktop.copying.ranges import RangeMemory, RangeStore
from clouddesktop.copying.session import CopySession
from clouddesktop.disk.sandbox import SandboxPolicy
from clouddesktop.errors import OperationCancelledError
from clouddesktop.source.catalogue import SourceCatalogue
from clouddesktop.store.chunks import ChunkStore

_LOOK_SECONDS = 1.0
_MOST_REMEMBERED = 1000

_log = structlog.get_logger(__name__)


class CopyHelper:
    """Looks for copies to help with, in a thread of its own, from `launch` to `close`."""

    def __init__(
        self,
        *,
        worker_id: str,
        database: Database,
        sources: SourceCatalogue,
        chunks: ChunkStore,
        threads: Executor,
        ranges_at_once: int,
        sandbox: SandboxPolicy,
        is_idle: Callable[[], bool],
        failpoint: Callable[[str], None],
    ) -> None:
        """`is_idle` tells whether this worker has nothing of its own to do."""
        self._worker_id = worker_id
        self._database = database
        self._sources = sources
        self._chunks = chunks
        self._threads = threads
        self._ranges_at_once = ranges_at_once
        self._sandbox = sandbox
        self._is_idle = is_idle
        self._failpoint = failpoint
        self._memory = RangeMemory()
        self._hopeless: dict[tuple[str, int], None] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_again, name="helper", daemon=True)

    def launch(self) -> None:
        self._thread.start()

    def hold(self) -> None:
        """Claim nothing more."""
        self._ended.set()

    def close(self, *, timeout_seconds: float) -> bool:
        """Hold, and wait for what is at work; False when some still is at the end."""
        self.hold()
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _look_again(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            try:
                self._look()
            except Exception as error:  # noqa: BLE001  (help is no duty: the next look is another try)
                _log.warning("could not help", why=str(error))

    def _look(self) -> None:
        if not self._is_idle():
            return
        for run in self._database.read(sharing.list_open_copies):
            if run not in self._hopeless:
                copy = self._database.read(sharing.get_shared_copy, run[0])
                if copy is not None:
                    self._help(copy)
                return

    def _help(self, copy: SharedCopy) -> None:
        run = copy.run
        cancellation = Cancellation(database=self._database, run=run)

        def check() -> None:
            cancellation.check()
            if self._ended.is_set():
                raise RunReplacedError("The worker stops.")

        session = CopySession(
            sources=self._sources,
            compute_image=run.compute_image,
            readers=self._ranges_at_once,
            sandbox=self._sandbox,
            check_cancelled=check,
        )
        database = PatientDatabase(self._database, check=session.check_alive)
        ranges = RangeStore(
            run=run,
            database=database,
            chunks=self._chunks.waiting(session.check_alive),
            memory=self._memory,
            check_wanted=cancellation.check,  # what is at work when the worker stops is finished
            failpoint=self._failpoint,
            helper=self._worker_id,
        )
        done = 0
        try:
            with self._memory.kept():
                done = self._take_turns(copy, session, database, ranges)
        except (RunReplacedError, OperationCancelledError):
            pass  # its own worker knows, and what was claimed is void
        except Exception as error:  # noqa: BLE001  (such as a file that is not seen from here)
            self._give_up(run, error)
        finally:
            session.close()
            self._database.write(sharing.release, run.operation_id, worker_id=self._worker_id)
        if done:
            _log.info("has helped", operation_id=run.operation_id, ranges=done)

    def _take_turns(
        self,
        copy: SharedCopy,
        session: CopySession,
        database: PatientDatabase,
        ranges: RangeStore,
    ) -> int:
        """Store ranges side by side for as long as there are any; gives how many.

        Raises:
            Exception: the first failure, once all has come to rest.
        """
        failed = threading.Event()

        def take_turns() -> int:
            done = 0
            while self._is_idle() and not self._ended.is_set() and not failed.is_set():
                copy_range = database.write(sharing.claim_last, copy, worker_id=self._worker_id)
                if copy_range is None:
                    break
                try:
                    ranges.copy(session, copy_range)
                except BaseException:
                    failed.set()
                    raise
                done += 1
            return done

        turns = [self._threads.submit(take_turns) for _ in range(self._ranges_at_once)]
        wait(turns)
        return sum(each.result() for each in turns)

    def _give_up(self, run: CopyRun, error: Exception) -> None:
        _log.warning("cannot help", operation_id=run.operation_id, run=run.epoch, why=str(error))
        self._hopeless[run.operation_id, run.epoch] = None
        while len(self._hopeless) > _MOST_REMEMBERED:
            del self._hopeless[next(iter(self._hopeless))]
