"""A process with one workflow of many steps, which ends itself when it is told to.

Arguments: the database's path, a file of notes, how many steps end before the process is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

from clouddesktop.catalog.engine import Database
from clouddesktop.workflow.engine import Steps, WorkflowEngine, migrate_workflows
from clouddesktop.workflow.queue import WorkflowQueue

ITEMS = 24


def main(database_path: str, notes_path: str, ends_before_kill: int) -> None:
    """Run the workflow, or what is left of it, to its end."""
    notes = Path(notes_path)
    ended = 0

    def note(text: str) -> None:
        with notes.open("a") as file:
            file.write(f"{text}\n")

    async def square(item: int) -> list[int]:
        nonlocal ended
        note(f"begin {item}")
        # Later items end first, so that the order of completion is not that of the items.
        await asyncio.sleep(0.005 * ((ITEMS - item) % 5))
        ended += 1
        if ended == ends_before_kill:
            os.kill(os.getpid(), signal.SIGKILL)
        return [item, item * item]

    async def body(steps: Steps, argument: str) -> None:
        results = await steps.run_each(
            "square", square, list(range(ITEMS)), at_once=5, is_fatal=lambda _: False
        )
        note(f"{argument} {json.dumps(results)}")

    database = Database(f"sqlite:///{database_path}")
    database.read(lambda connection: connection.exec_driver_sql("SELECT 1"))
    migrate_workflows(database.url)
    queue = WorkflowQueue(database_url=database.url)
    queue.open()
    queue.set_bounds(per_worker=1, per_folder=None)
    engine = WorkflowEngine(queue=queue, executor_id="test")
    engine.register("squares", body)
    engine.launch()
    if not notes.exists():
        notes.touch()
        database.write(
            lambda connection: queue.enqueue(
                connection, "squares", "result", workflow_id="squares-1", partition="test"
            )
        )
    while queue.is_live("squares-1"):
        time.sleep(0.05)
    engine.stop()
    queue.close()
    database.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
