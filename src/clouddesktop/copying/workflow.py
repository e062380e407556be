"""The copy as a durable workflow: nothing but the order of its steps.

begin, plan, the ranges side by side, seal, publish; after a failure in any of them, roll back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

import structlog

from clouddesktop.catalog.copies import begin_run
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.patience import PatientDatabase
from clouddesktop.copying.cancelling import Cancellation
from clouddesktop.copying.ranges import RangeMemory
from clouddesktop.copying.session import CopySession
from clouddesktop.copying.stages import Answer, CopyStages
from clouddesktop.copying.turns import RangeTurns
from clouddesktop.disk.sandbox import SandboxPolicy
from clouddesktop.disk.spool import Spool
from clouddesktop.source.catalogue import SourceCatalogue
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.manifests import ManifestStore
from clouddesktop.workflow.engine import Steps

_log = structlog.get_logger(__name__)

COPY_IMAGE = "copy_image"
"""The workflow's name in the database; its argument is the operation's id."""


class CopyWorkflow:
    """Runs copies; one instance serves all of them."""

    def __init__(
        self,
        *,
        database: Database,
        sources: SourceCatalogue,
        chunks: ChunkStore,
        manifests: ManifestStore,
        threads: Executor,
        ranges_at_once: int,
        turns: RangeTurns,
        sandbox: SandboxPolicy,
        spool: Spool,
        failpoint: Callable[[str], None],
        worker_id: str | None,
    ) -> None:
        """Other workers may help if `worker_id`, this one's, is given."""
        self._worker_id = worker_id
        self._database = database
        self._sources = sources
        self._chunks = chunks
        self._manifests = manifests
        self._threads = threads
        self._ranges_at_once = ranges_at_once
        self._sandbox = sandbox
        self._spool = spool
        self._failpoint = failpoint
        self._memory = RangeMemory()
        self._turns = turns

    async def run(self, steps: Steps, operation_id: str) -> None:
        """Copy, or go on with a copy that was interrupted, to the operation's end."""
        self._failpoint("run-begin")
        # Outside the steps on purpose: a step would give a resumed run the epoch of the one before.
        database = PatientDatabase(self._database, check=self._spool.check_open)
        run = await asyncio.to_thread(database.write, begin_run, operation_id)
        if run is None:
            return
        _log.info(
            "copy begins" if run.epoch == 1 else "copy goes on",
            operation_id=operation_id,
            compute_image_id=run.compute_image.id,
            run=run.epoch,
        )
        cancellation = Cancellation(database=self._database, run=run)
        session = CopySession(
            sources=self._sources,
            compute_image=run.compute_image,
            readers=self._ranges_at_once,
            sandbox=self._sandbox,
            spool=self._spool,
            check_cancelled=cancellation.check,
        )
        stages = CopyStages(
            run=run,
            session=session,
            cancellation=cancellation,
            database=self._database,
            chunks=self._chunks,
            manifests=self._manifests,
            threads=self._threads,
            memory=self._memory,
            turns=self._turns,
            failpoint=self._failpoint,
            worker_id=self._worker_id,
        )
        async with self._turns.joined(run):
            with self._memory.kept():
                try:
                    succeeded = await self._copy(steps, stages)
                    if not succeeded:
                        await steps.run("roll_back", stages.roll_back)
                    _log.info("copy ends", operation_id=operation_id, succeeded=succeeded)
                finally:
                    # In a thread: a source that has stalled would hold up every other copy.
                    await asyncio.to_thread(session.close)

    async def _copy(self, steps: Steps, stages: CopyStages) -> bool:
        plan = await steps.run("plan", stages.plan)
        if not plan["ok"]:
            return False
        await stages.share(plan["ranges"])
        stored = await steps.run_each(
            "range",
            stages.store_range,
            plan["ranges"],
            at_once=self._ranges_at_once,
            is_fatal=_is_failure,
            is_ready=stages.is_ready,
        )
        if any(map(_is_failure, stored)):
            return False
        if [each["index"] for each in stored] != [each[0] for each in plan["ranges"]]:
            raise RuntimeError("The results of the ranges do not belong to the plan.")
        sealed = await steps.run("seal", stages.seal)
        if not sealed["ok"]:
            return False
        published = await steps.run("publish", stages.publish, sealed["manifest"])
        return bool(published["ok"])


def _is_failure(answer: Answer) -> bool:
    return not answer["ok"]
