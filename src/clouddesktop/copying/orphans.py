"""Copies whose workflow has ended before them: each gets a new one."""

from __future__ import annotations

import time

import sqlalchemy as sa

from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.operations import list_unfinished, replace_workflow
from clouddesktop.copying.workflow import COPY_IMAGE
from clouddesktop.workflow.queue import WorkflowQueue

_AT_ONCE = 500
_LOOK_SECONDS = 5.0


class CopyOrphans:
    """Finds them, such as one that a bug or a hand in the database has ended."""

    def __init__(self, *, database: Database, queue: WorkflowQueue) -> None:
        self._database = database
        self._queue = queue
        self._next_look = 0.0

    def look(self) -> None:
        """Resume each operation that is not done and that no workflow works on.

        To be called every second or so: most calls come too early and do nothing.
        """
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        found = self._database.read(list_unfinished)
        for start in range(0, len(found), _AT_ONCE):
            unfinished = found[start : start + _AT_ONCE]
            live = self._queue.find_live([workflow_id for _, workflow_id in unfinished])
            for operation_id, workflow_id in unfinished:
                if workflow_id not in live:
                    self._database.write(self._resume, operation_id, workflow_id)

    def _resume(self, connection: sa.Connection, operation_id: str, workflow_id: str) -> None:
        stem, _, number = workflow_id.rpartition("-")
        new = f"{stem}-{int(number) + 1}"
        place = replace_workflow(connection, operation_id, old=workflow_id, new=new)
        if place is not None:
            self._queue.enqueue(
                connection,
                COPY_IMAGE,
                operation_id,
                workflow_id=new,
                partition=place.folder_id,
                priority=place.priority,
            )
