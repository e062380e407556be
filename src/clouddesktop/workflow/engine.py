"""Durable workflows: the one module that touches DBOS's process-wide instance.

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
from typing import Any, ParamSpec, TypeVar

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, WorkflowSerializationFormat

from clouddesktop.workflow.queue import (
    APPLICATION,
    APPLICATION_VERSION,
    PAUSED_SECONDS,
    WorkflowQueue,
)

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")


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


def migrate_workflows(database_url: str) -> None:
    """Make DBOS's tables, or bring them to this version's form; one process at a time."""
    DBOS.migrate(database_url)


class WorkflowEngine:
    """Runs the workflows of a queue. One at a time in a process.

    Register every workflow, then `launch`, which also goes on with what an earlier process of the
    same `executor_id` has left.
    """

    def __init__(self, *, queue: WorkflowQueue, executor_id: str) -> None:
        """Run what is in `queue`; processes that run at the same time have ids of their own."""
        self._queue = queue
        self._gate = _Gate()
        self._running: set[str] = set()
        self._seen_lost: set[str] = set()
        self._executor_id = executor_id
        logging.getLogger("dbos").propagate = True
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": queue.database_url,
            "application_version": APPLICATION_VERSION,
            "executor_id": executor_id,
            "serializer": DBOSPortableJSONSerializer(),
            "max_executor_threads": 64,
            "sys_db_idle_transaction_timeout_sec": PAUSED_SECONDS,
            "log_level": "ERROR",
            "use_listen_notify": False,
            "run_migrations": False,
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
        """Begin to run workflows. Call it from a plain thread, once the queue is open."""
        DBOS.launch()

    def resume_lost(self) -> None:
        """Go on with workflows that DBOS takes for running here although nothing runs them.

        A full disk under the database makes DBOS drop a workflow without a trace in its row, which
        keeps a place in the queue too. To be called every few seconds: a workflow counts as lost
        when two calls in a row find it so.
        """
        mine = {each.id for each in self._queue.list_running() if each.worker == self._executor_id}
        lost = mine - self._running
        for workflow_id in lost & self._seen_lost:
            self._queue.resume(workflow_id)
        self._seen_lost = lost

    def hold(self) -> None:
        """Begin no further step; workflows stay where they are and go on at the next launch."""
        self._gate.close()

    def drain(self, *, timeout_seconds: float) -> bool:
        """Hold, and wait for the steps that run; False when some still do at the end."""
        self._gate.close()
        return self._gate.wait_empty(timeout_seconds=timeout_seconds)

    def stop(self) -> None:
        """End DBOS; steps that still run are forgotten and run again after the next launch."""
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
