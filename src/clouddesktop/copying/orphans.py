"""Copies that no worker will ever go on with: each gets a new workflow, which begins it anew.

Their workflow has ended before them, or is of a version that no worker runs any more, as after an
upgrade that has changed the order of steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import sqlalchemy as sa
import structlog

from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.operations import list_unfinished, replace_workflow
from clouddesktop.copying.workflow import COPY_IMAGE
from clouddesktop.workflow.queue import WorkflowQueue

_AT_ONCE = 500
_LOOK_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class CopyOrphans:
    """Finds them.

    `read_versions` names the versions of workflows that are run by anybody; a copy of another one
    is left alone for `grace_seconds`, in which its workers may come back. None: all are run.
    """

    def __init__(
        self,
        *,
        database: Database,
        queue: WorkflowQueue,
        read_versions: Callable[[], Collection[str]] | None = None,
        grace_seconds: float = 0,
    ) -> None:
        self._database = database
        self._queue = queue
        self._read_versions = read_versions
        self._grace_seconds = grace_seconds
        self._unserved_since: dict[str, float] = {}
        self._next_look = 0.0

    def look(self) -> None:
        """Begin each operation anew that is not done and that no workflow works on, or ever will.

        To be called every second or so: most calls come too early and do nothing.
        """
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        versions = None if self._read_versions is None else self._read_versions()
        found = self._database.read(list_unfinished)
        unserved: dict[str, float] = {}
        for start in range(0, len(found), _AT_ONCE):
            unfinished = found[start : start + _AT_ONCE]
            live = self._queue.find_live([workflow_id for _, workflow_id in unfinished])
            for operation_id, workflow_id in unfinished:
                version = live.get(workflow_id)
                if version is None:
                    self._database.write(self._resume, operation_id, workflow_id)
                elif versions is not None and version not in versions:
                    since = self._unserved_since.get(workflow_id, time.monotonic())
                    unserved[workflow_id] = since
                    self._replace(operation_id, workflow_id, version=version, since=since)
        self._unserved_since = unserved

    def _replace(self, operation_id: str, workflow_id: str, *, version: str, since: float) -> None:
        if time.monotonic() - since < self._grace_seconds:
            return
        _log.warning(
            "no worker runs a copy's version of the workflows: it is begun anew",
            operation_id=operation_id,
            version=version,
        )
        # First, so that a worker of that version that comes later does not run it beside the new.
        self._queue.cancel(workflow_id)
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
