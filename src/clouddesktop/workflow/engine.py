"""Durable workflows: the one module that touches DBOS and its process-wide instance.

A workflow is a coroutine function that gets `Steps` and a text. What it does between steps must
come out the same when it is run again after a crash; everything else belongs into a step, whose
result is kept. docs/adr/0003-durable-workflows.md tells why, and what DBOS is not used for.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
from dbos import (
    DBOS,
    DBOSClient,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    EnqueueOptions,
    WorkflowSerializationFormat,
)

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")

APPLICATION_VERSION = "1"
"""Raise only when the order of steps changes: workflows in flight stay with their version."""

_APPLICATION = "clouddesktop"
_QUEUE = "copies"
_POLL_SECONDS = 0.1
_LIVE = {"PENDING", "ENQUEUED", "DELAYED"}
_ENDED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")


class Steps:
    """What a workflow body may call. Arguments and results of steps are JSON values."""

    def __init__(self, gate: _Gate) -> None:
        self._gate = gate

    async def run(
        self,
        name: str,
        step: Callable[P, Coroutine[Any, Any, T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run one step, or give its result when an earlier run has finished it."""
        async with self._gate.inside():
            return await DBOS.run_step_async({"name": name}, step, *args, **kwargs)

    async def run_each(
        self,
        name: str,
        step: Callable[[Item], Coroutine[Any, Any, T]],
        items: Sequence[Item],
        *,
        at_once: int,
        is_fatal: Callable[[T], bool],
    ) -> list[T]:
        """Run one step for each item, `at_once` side by side, and give the results by item.

        After a result that `is_fatal`, or an exception, no further step is begun; those begun are
        waited for. Then the list holds the results there are, in the order of their items.
        """
        # A step's number decides which result it gets back after a crash, so all numbers are drawn
        # here, in the order of the items, and not when a step's turn comes.
        reserved = [(item, DBOS.reserve_step()) for item in items]
        results: dict[int, T] = {}
        turns = iter(enumerate(reserved))
        stopped = False

        async def take_turns() -> None:
            nonlocal stopped
            for index, (item, slot) in turns:
                if stopped:
                    return
                async with self._gate.inside():
                    try:
                        results[index] = await slot.run_async({"name": name}, step, item)
                    except BaseException:
                        stopped = True
                        raise
                if is_fatal(results[index]):
                    stopped = True

        outcomes = await asyncio.gather(
            *(take_turns() for _ in range(min(at_once, len(reserved)))), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [results[index] for index in sorted(results)]


Body = Callable[[Steps, str], Awaitable[None]]


class WorkflowEngine:
    """Starts and stops DBOS, and enqueues workflows. One at a time in a process.

    Register every workflow, then `launch`, which also goes on with what an earlier process left.
    """

    def __init__(self, *, database_url: str, executor_id: str, workflows_at_once: int) -> None:
        """Keep DBOS's tables in the database at `database_url`, beside the catalogue's."""
        self._database_url = database_url
        self._workflows_at_once = workflows_at_once
        self._gate = _Gate()
        self._running: set[str] = set()
        self._seen_lost: set[str] = set()
        self._client: DBOSClient | None = None
        logging.getLogger("dbos").propagate = True
        config: DBOSConfig = {
            "name": _APPLICATION,
            "system_database_url": database_url,
            "application_version": APPLICATION_VERSION,
            "executor_id": executor_id,
            "serializer": DBOSPortableJSONSerializer(),
            "max_executor_threads": 64,
            "log_level": "ERROR",
            "use_listen_notify": False,
        }
        DBOS(config=config)

    def register(self, name: str, body: Body) -> None:
        """Name a workflow; the name is kept in the database and must outlive the code's own."""

        async def workflow(argument: str) -> None:
            workflow_id = DBOS.workflow_id or ""
            self._running.add(workflow_id)
            try:
                await body(Steps(self._gate), argument)
            finally:
                self._running.discard(workflow_id)

        workflow.__qualname__ = name
        DBOS.workflow(name=name, serialization_type=WorkflowSerializationFormat.PORTABLE)(workflow)

    def launch(self) -> None:
        """Make or migrate DBOS's tables and begin to run workflows. Call it from a plain thread."""
        DBOS.migrate(self._database_url)
        self._client = DBOSClient(
            system_database_url=self._database_url,
            serializer=DBOSPortableJSONSerializer(),
            application_name=_APPLICATION,
        )
        # Before the launch: a queue that appears later is noticed up to a second later.
        self._client.register_queue(
            _QUEUE,
            worker_concurrency=self._workflows_at_once,
            partition_concurrency=self._workflows_at_once,
            polling_interval_sec=_POLL_SECONDS,
            on_conflict="always_update",
        )
        DBOS.launch()

    def enqueue(
        self,
        connection: sa.Connection,
        name: str,
        argument: str,
        *,
        workflow_id: str,
        partition: str,
    ) -> None:
        """Enqueue a workflow in the caller's transaction: it exists if and only if that commits.

        `workflow_id` must never have been used; `partition` shares the workers fairly among owners.
        """
        if self._client is None:
            raise RuntimeError("Launch the engine before the first enqueue.")
        options: EnqueueOptions = {
            "workflow_name": name,
            "queue_name": _QUEUE,
            "workflow_id": workflow_id,
            "workflow_id_reuse_policy": "reject",
            "queue_partition_key": partition,
            "app_version": APPLICATION_VERSION,
            "serialization_type": WorkflowSerializationFormat.PORTABLE,
        }
        self._client.enqueue_in_transaction(connection, options, argument)

    def is_live(self, workflow_id: str) -> bool:
        """Tell whether a workflow is waiting or running, or will be recovered."""
        status = DBOS.get_workflow_status(workflow_id)
        return status is not None and status.status in _LIVE

    def resume_lost(self) -> None:
        """Go on with workflows that DBOS takes for running although nothing runs them.

        A full disk under the database makes DBOS drop a workflow without a trace in its row, which
        keeps a place in the queue too. To be called every few seconds: a workflow counts as lost
        when two calls in a row find it so.
        """
        pending = DBOS.list_workflows(
            status="PENDING", load_input=False, load_output=False, queue_name=_QUEUE
        )
        lost = {each.workflow_id for each in pending} - self._running
        for workflow_id in lost & self._seen_lost:
            DBOS.resume_workflow(workflow_id, queue_name=_QUEUE)
        self._seen_lost = lost

    def prune(self, ended_before: datetime, *, at_once: int) -> int:
        """Remove some workflows that ended before an instant, and say how many; cheap when none."""
        ended = DBOS.list_workflows(
            status=list(_ENDED),
            completed_before=ended_before.isoformat(),
            load_input=False,
            load_output=False,
            limit=at_once,
        )
        if ended:
            DBOS.delete_workflows([each.workflow_id for each in ended])
        return len(ended)

    def hold(self) -> None:
        """Begin no further step; workflows stay where they are and go on at the next launch."""
        self._gate.close()

    def drain(self, *, timeout_seconds: float) -> bool:
        """Hold, and wait for the steps that run; False when some still do at the end."""
        self._gate.close()
        return self._gate.wait_empty(timeout_seconds=timeout_seconds)

    def stop(self) -> None:
        """End DBOS; steps that still run are forgotten and run again after the next launch."""
        if self._client is not None:
            self._client.destroy()
            self._client = None
        DBOS.destroy(destroy_registry=True)


class _Gate:
    """Counts the steps that run; once closed it lets none begin. Shared by loops and threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._closed = False

    @asynccontextmanager
    async def inside(self) -> AsyncIterator[None]:
        with self._changed:
            is_open = not self._closed
            self._running += is_open
        if not is_open:
            # For ever: the workflow is parked until its process ends, and resumed by the next one.
            await asyncio.Event().wait()
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True

    def wait_empty(self, *, timeout_seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._running == 0, timeout_seconds)
