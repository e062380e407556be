"""Steps side by side, failures among them, and draining."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clouddesktop.catalog.engine import Database
from clouddesktop.workflow.engine import Steps, WorkflowEngine, migrate_workflows
from clouddesktop.workflow.queue import WorkflowQueue
from parts.waiting import wait_for

WAIT_SECONDS = 30


class Running:
    """An engine on a database of its own, and what its workflow has to say."""

    def __init__(self, path: Path) -> None:
        self.database = Database(f"sqlite:///{path}")
        self.database.read(lambda connection: connection.exec_driver_sql("SELECT 1"))
        migrate_workflows(self.database.url)
        self.queue = WorkflowQueue(database_url=self.database.url)
        self.queue.open()
        self.queue.set_bounds(per_worker=2, per_folder=None)
        self.engine = WorkflowEngine(queue=self.queue, executor_id="test")
        self.ended = threading.Event()
        self.results: list[int] = []

    def run(
        self,
        items: list[int],
        step: Callable[[int], Coroutine[None, None, int]],
        *,
        is_fatal: Callable[[int], bool],
    ) -> None:
        """Start a workflow that runs the step for each item, two side by side."""

        async def body(steps: Steps, argument: str) -> None:
            assert argument == "argument"
            self.results = await steps.run_each("step", step, items, at_once=2, is_fatal=is_fatal)
            self.ended.set()

        self.engine.register("workflow", body)
        self.engine.launch()
        self.database.write(
            lambda connection: self.queue.enqueue(
                connection, "workflow", "argument", workflow_id="workflow-1", partition="p"
            )
        )


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    started = Running(tmp_path / "workflows.db")
    yield started
    started.engine.stop()
    started.queue.close()
    started.database.close()


def test_results_come_in_the_order_of_their_items(running: Running) -> None:
    """Whatever ends first."""

    async def step(item: int) -> int:
        await asyncio.sleep(0.02 * item)
        return item

    running.run([3, 1, 2], step, is_fatal=lambda _: False)
    assert running.ended.wait(WAIT_SECONDS)
    assert running.results == [3, 1, 2]


def test_after_a_fatal_result_no_step_begins(running: Running) -> None:
    """Those that had begun are waited for; the rest is left."""
    begun: list[int] = []
    neighbour_begun, fatal_seen = asyncio.Event(), asyncio.Event()

    async def step(item: int) -> int:
        begun.append(item)
        if item == 3:
            await neighbour_begun.wait()
        if item > 3:
            neighbour_begun.set()
            await fatal_seen.wait()
        return item

    def is_fatal(result: int) -> bool:
        if result == 3:
            fatal_seen.set()
        return result == 3

    running.run(list(range(50)), step, is_fatal=is_fatal)
    assert running.ended.wait(WAIT_SECONDS)
    assert running.results == sorted(begun) == [0, 1, 2, 3, 4]


def test_a_workflow_of_a_rolled_back_transaction_never_runs(running: Running) -> None:
    """It exists if and only if the caller commits."""

    async def body(_steps: Steps, _argument: str) -> None:
        await asyncio.sleep(0)
        running.ended.set()

    running.engine.register("workflow", body)
    running.engine.launch()

    def enqueue_and_fail(connection: object) -> None:
        running.queue.enqueue(
            connection,  # type: ignore[arg-type]  # the query's connection, passed through
            "workflow",
            "argument",
            workflow_id="workflow-1",
            partition="p",
        )
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        running.database.write(enqueue_and_fail)
    assert not running.queue.is_live("workflow-1")


def test_draining_waits_for_the_step_at_work_and_begins_none(running: Running) -> None:
    """The workflow is left pending, with the ended step's result kept."""
    at_work, let_go = threading.Event(), threading.Event()
    begun: list[int] = []

    async def slow(item: int) -> int:
        begun.append(item)
        at_work.set()
        await asyncio.to_thread(let_go.wait)
        return item

    async def body(steps: Steps, _argument: str) -> None:
        for item in range(3):
            await steps.run("slow", slow, item)
        running.ended.set()

    running.engine.register("workflow", body)
    running.engine.launch()
    running.database.write(
        lambda connection: running.queue.enqueue(
            connection, "workflow", "argument", workflow_id="workflow-1", partition="p"
        )
    )
    assert at_work.wait(WAIT_SECONDS)
    assert not running.engine.drain(timeout_seconds=0.05)
    let_go.set()
    assert running.engine.drain(timeout_seconds=WAIT_SECONDS)
    assert begun == [0]
    assert not running.ended.is_set()
    assert running.queue.is_live("workflow-1")


def test_ended_workflows_are_pruned_and_others_are_not(running: Running) -> None:
    """By when they ended; with the results of their steps, and no more at once than asked for."""
    let_go = threading.Event()

    async def step(item: int) -> int:
        if item:
            await asyncio.to_thread(let_go.wait)
        return item

    async def body(steps: Steps, argument: str) -> None:
        await steps.run("step", step, len(argument))

    def enqueue(workflow_id: str, argument: str) -> None:
        running.database.write(
            lambda connection: running.queue.enqueue(
                connection, "workflow", argument, workflow_id=workflow_id, partition="p"
            )
        )

    running.engine.register("workflow", body)
    running.engine.launch()
    for workflow_id in ("ended-1", "ended-2"):
        enqueue(workflow_id, "")
        wait_for(lambda each=workflow_id: not running.queue.is_live(each), workflow_id)  # type: ignore[misc]  # bound now
    enqueue("running", "x")
    wait_for(lambda: count_rows(running, "operation_outputs", "ended-1") > 0, "a result is kept")
    now = datetime.now(tz=UTC)
    assert running.queue.prune(now - timedelta(hours=1), at_once=10) == 0
    later = now + timedelta(seconds=1)
    assert running.queue.prune(later, at_once=1) == 1
    assert running.queue.prune(later, at_once=10) == 1
    assert running.queue.prune(later, at_once=10) == 0
    for table in ("workflow_status", "operation_outputs"):
        assert count_rows(running, table, "ended-1") == 0
    assert running.queue.is_live("running")
    let_go.set()
    wait_for(lambda: not running.queue.is_live("running"), "the last workflow ends")


def count_rows(running: Running, table: str, workflow_id: str) -> int:
    """Count what the engine's own table has of a workflow."""
    column = "workflow_uuid"
    return int(
        running.database.read(
            lambda connection: connection.exec_driver_sql(
                f"SELECT count(*) FROM {table} WHERE {column} = ?",  # noqa: S608  (ours)
                (workflow_id,),
            ).scalar_one()
        )
    )


def test_a_workflow_that_was_begun_twice_here_is_not_lost_with_its_first_run(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be begun again and again, and no long step of it would ever end."""
    begun: list[threading.Event] = []
    ended: list[int] = []

    async def body(_steps: Steps, _argument: str) -> None:
        number, may_end = len(begun), threading.Event()
        begun.append(may_end)
        await asyncio.to_thread(may_end.wait)
        ended.append(number)

    running.engine.register("workflow", body)
    running.engine.launch()
    running.database.write(
        lambda connection: running.queue.enqueue(
            connection, "workflow", "argument", workflow_id="workflow-1", partition="p"
        )
    )
    wait_for(lambda: len(begun) == 1, "it has begun")
    running.queue.resume("workflow-1")
    wait_for(lambda: len(begun) == 2, "it has begun again")
    begun[0].set()
    wait_for(lambda: ended == [0], "the first run has ended")
    resumed: list[str] = []
    monkeypatch.setattr(running.queue, "resume", resumed.append)
    wait_for(lambda: "workflow-1" in {each.id for each in running.queue.list_running()}, "it runs")
    for _ in range(3):
        running.engine.resume_lost()
    assert resumed == []
    begun[1].set()
    wait_for(lambda: not running.queue.is_live("workflow-1"), "the second run has ended")
