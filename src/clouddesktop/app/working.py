"""Puts a worker together: it runs the copies, and keeps the store when that is its duty."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from clouddesktop.app.foundation import Foundation, check_own_store
from clouddesktop.catalog.pruning import PRUNED_AT_ONCE
from clouddesktop.catalog.workers import list_versions
from clouddesktop.copying.helping import CopyHelper
from clouddesktop.copying.orphans import CopyOrphans
from clouddesktop.copying.turns import RangeTurns
from clouddesktop.copying.workflow import COPY_IMAGE, CopyWorkflow
from clouddesktop.disk.errors import MissingProgramError
from clouddesktop.disk.sandbox import SandboxPolicy, explain_missing_sandbox
from clouddesktop.disk.spool import Spool
from clouddesktop.ids import Prefix, new_id
from clouddesktop.keeping.gc import Collector
from clouddesktop.keeping.holding import hold
from clouddesktop.keeping.idle import IdleCollections
from clouddesktop.keeping.originals import open_original
from clouddesktop.keeping.retention import Retention
from clouddesktop.keeping.runs import Keeper, RunDesk
from clouddesktop.keeping.scrub import Scrubber
from clouddesktop.model.keeping import RunKind
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.manifests import ManifestStore
from clouddesktop.workflow.engine import WorkflowEngine
from clouddesktop.workflow.membership import Membership

_log = structlog.get_logger(__name__)

EXECUTOR_ID = "embedded"
"""Of a database that nobody shares. Constant, so that a restart takes its workflows up again; the
data folder's lock keeps it unique."""

UPKEEP_SECONDS = 1.0
"""How often to call `Worker.keep_up`."""

_MOST_RANGES = 4
"""Each takes some 50 MiB when nothing compresses: six made the process exceed 400 MiB."""

_NICENESS = 15
"""Of threads that copy beside calls in one process: figures in docs/adr/0041."""

_SWITCH_SECONDS = 0.001
"""How soon who answers a call gets the interpreter from who copies; 5 ms are usual."""

_CLOSE_SECONDS = 10
"""How long a stopping worker waits for the keeper to let go of what it does."""


class Duty:
    """Whether this process keeps the store; alone on a database, it always does."""

    def __init__(self, *, is_mine: bool) -> None:
        self.is_mine = is_mine


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What runs copies and keeps the store; valid inside `working`."""

    id: str
    desk: RunDesk
    _engine: WorkflowEngine
    _keeper: Keeper
    _spool: Spool
    _membership: Membership | None
    _helper: CopyHelper | None
    _duty: Duty
    _orphans: CopyOrphans
    _idle_collections: IdleCollections
    _retention: Retention

    def keep_up(self) -> None:
        """Look after what nobody works on any more; to be called every UPKEEP_SECONDS."""
        if self._membership is not None:
            self._duty.is_mine = self._membership.look_after_others()
        self._engine.resume_lost()
        if self._duty.is_mine:
            self._orphans.look()
            self._idle_collections.look()
            self._retention.look()

    def hold(self) -> None:
        """Begin nothing new. What is being unpacked would be unpacked again anyway: it ends."""
        self._engine.hold()
        if self._helper is not None:
            self._helper.hold()
        self._keeper.close(timeout_seconds=0)
        self._spool.close()

    def drain(self, *, timeout_seconds: float) -> bool:
        """Hold, and wait for what is at work; False when some still is at the end."""
        ends_at = time.monotonic() + timeout_seconds
        drained = self._engine.drain(timeout_seconds=timeout_seconds)
        if self._helper is not None:
            left = max(ends_at - time.monotonic(), 0)
            drained = self._helper.close(timeout_seconds=left) and drained
        return drained


@contextmanager
def working(foundation: Foundation, *, on_lost: Callable[[], None]) -> Iterator[Worker]:
    """Build a worker and launch it: it goes on with what others have left.

    `on_lost` is called from a thread when the workers of a shared database have taken this one for
    dead, and its work over: the process must end.
    """
    settings, database = foundation.settings, foundation.database
    worker_id = new_id(Prefix.WORKER) if database.is_shared else EXECUTOR_ID
    with ExitStack() as stack:
        beside_calls = not database.is_shared
        ranges_at_once = _count_ranges(beside_calls=beside_calls)
        # Each copy that begins has one at once, for as long as its source takes to be opened, too.
        threads = _make_threads(ranges_at_once + settings.workers, beside_calls=beside_calls)
        stack.callback(threads.shutdown, cancel_futures=True)
        threads.submit(_report_sandbox)
        spool = Spool(foundation.folder.spool, most_bytes=settings.spool_size)
        stack.callback(spool.close)
        duty = Duty(is_mine=not database.is_shared)
        membership = None
        if database.is_shared:
            membership = _join(foundation, worker_id, on_lost=on_lost)
            stack.callback(membership.leave)
        engine = WorkflowEngine(queue=foundation.queue, executor_id=worker_id)
        stack.callback(engine.stop)
        workflow = _make_copies(
            foundation,
            threads,
            ranges_at_once=ranges_at_once,
            spool=spool,
            worker_id=worker_id if database.is_shared else None,
        )
        engine.register(COPY_IMAGE, workflow.run)
        foundation.queue.set_bounds(per_worker=settings.workers, per_folder=settings.folder_copies)
        engine.launch()
        helper = None
        if database.is_shared:
            helper = _make_helper(
                foundation, threads, engine, ranges_at_once=ranges_at_once, worker_id=worker_id
            )
            helper.launch()
            stack.callback(helper.close, timeout_seconds=0)
        orphans = _make_orphans(foundation)
        if duty.is_mine:
            orphans.look()
        keeper = _make_keeper(foundation, spool, is_on_duty=lambda: duty.is_mine)
        keeper.launch()
        stack.callback(keeper.close, timeout_seconds=_CLOSE_SECONDS)
        yield Worker(
            id=worker_id,
            desk=keeper.desk,
            _engine=engine,
            _keeper=keeper,
            _spool=spool,
            _membership=membership,
            _helper=helper,
            _duty=duty,
            _orphans=orphans,
            _idle_collections=_make_idle_collections(foundation, keeper.desk),
            _retention=_make_retention(foundation),
        )


def _count_ranges(*, beside_calls: bool) -> int:
    """Tell how many ranges keep the cores busy; one more than those hides waiting for disks."""
    cores = os.cpu_count() or 1
    return min(max(cores, 2) if beside_calls else cores + 1, _MOST_RANGES)


def _make_threads(count: int, *, beside_calls: bool) -> ThreadPoolExecutor:
    if beside_calls:
        sys.setswitchinterval(_SWITCH_SECONDS)
    return ThreadPoolExecutor(
        count, thread_name_prefix="range", initializer=_step_back if beside_calls else None
    )


def _step_back() -> None:
    """Let the threads that answer calls come before this one (Linux counts threads for itself)."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _join(foundation: Foundation, worker_id: str, *, on_lost: Callable[[], None]) -> Membership:
    membership = Membership(
        database=foundation.database,
        queue=foundation.queue,
        worker_id=worker_id,
        host=socket.gethostname(),
        lease_seconds=foundation.settings.worker_lease,
        on_lost=on_lost,
    )
    membership.join()
    return membership


def _make_orphans(foundation: Foundation) -> CopyOrphans:
    database, queue = foundation.database, foundation.queue
    if not database.is_shared:
        return CopyOrphans(database=database, queue=queue, read_versions=lambda: [queue.version])
    return CopyOrphans(
        database=database,
        queue=queue,
        read_versions=lambda: database.read(list_versions),
        grace_seconds=foundation.settings.worker_lease,
    )


def _make_idle_collections(foundation: Foundation, desk: RunDesk) -> IdleCollections:
    return IdleCollections(
        database=foundation.database,
        desk=desk,
        after_seconds=foundation.settings.collect_after,
    )


def _make_retention(foundation: Foundation) -> Retention:
    return Retention(
        database=foundation.database,
        days=foundation.settings.operation_retention,
        prune_workflows=partial(foundation.queue.prune, at_once=PRUNED_AT_ONCE),
    )


def _make_copies(
    foundation: Foundation,
    threads: Executor,
    *,
    ranges_at_once: int,
    spool: Spool,
    worker_id: str | None,
) -> CopyWorkflow:
    return CopyWorkflow(
        database=foundation.database,
        sources=foundation.sources,
        chunks=foundation.chunks,
        manifests=foundation.manifests,
        threads=threads,
        ranges_at_once=ranges_at_once,
        turns=RangeTurns(ranges_at_once),
        sandbox=SandboxPolicy(foundation.settings.sandbox),
        spool=spool,
        failpoint=foundation.failpoint,
        worker_id=worker_id,
    )


def _make_helper(
    foundation: Foundation,
    threads: Executor,
    engine: WorkflowEngine,
    *,
    ranges_at_once: int,
    worker_id: str,
) -> CopyHelper:
    return CopyHelper(
        worker_id=worker_id,
        database=foundation.database,
        sources=foundation.sources,
        chunks=foundation.chunks,
        threads=threads,
        ranges_at_once=ranges_at_once,
        sandbox=SandboxPolicy(foundation.settings.sandbox),
        is_idle=lambda: engine.is_idle,
        failpoint=foundation.failpoint,
    )


def _make_keeper(foundation: Foundation, spool: Spool, *, is_on_duty: Callable[[], bool]) -> Keeper:
    collector = Collector(
        database=foundation.database,
        chunks=foundation.chunks,
        manifests=foundation.manifests,
        failpoint=foundation.failpoint,
    )
    return Keeper(
        database=foundation.database,
        works={
            RunKind.HOLD: hold,
            RunKind.GC: collector.run,
            RunKind.SCRUB: _make_scrubber(foundation, spool).run,
        },
        is_on_duty=is_on_duty,
    )


def _make_scrubber(foundation: Foundation, spool: Spool) -> Scrubber:
    settings, keys = foundation.settings, foundation.keys
    return Scrubber(
        database=foundation.database,
        chunks=ChunkStore(foundation.blobs, keys=keys),
        manifests=ManifestStore(foundation.blobs, keys=keys),
        key_id="" if keys.active is None else keys.active.id,
        open_original=partial(
            open_original,
            foundation.sources,
            sandbox=SandboxPolicy(settings.sandbox),
            spool=spool,
        ),
        check_store=lambda check: check_own_store(
            foundation.blobs.waiting(check), foundation.database
        ),
        bytes_per_second=settings.scrub_rate,
    )


def _report_sandbox() -> None:
    """Say once, at the start, whether QEMU can be locked in; that takes a moment to find out."""
    try:
        why = explain_missing_sandbox()
    except MissingProgramError as error:
        why = error.message
    if why:
        _log.warning("no sandbox for QEMU: see the setting sandbox", why=why)
