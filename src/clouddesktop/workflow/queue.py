"""The queue of durable workflows, seen from any process: it needs no engine of its own.

A workflow waits in the queue, is run by one worker at a time, and stays in the database until it is
pruned. Its partition is its folder: workers take turns among the folders that have something to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from dbos import (
    DBOSClient,
    DBOSPortableJSONSerializer,
    EnqueueOptions,
    WorkflowSerializationFormat,
)

APPLICATION = "clouddesktop"
APPLICATION_VERSION = "1"
"""Raise only when the order of steps changes: workflows in flight stay with their version."""

PAUSED_SECONDS = 5.0
"""How long a process may pause inside a transaction of DBOS's: others wait for its rows."""

_QUEUE = "copies"
_POLL_SECONDS = 0.1
_LIVE = ["PENDING", "ENQUEUED", "DELAYED"]
_ENDED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")


class RunningWorkflow(NamedTuple):
    """A workflow that a worker has taken, and its argument."""

    id: str
    worker: str
    argument: str


class WorkflowQueue:
    """Enqueues workflows, and looks after them. Open it before its first use. Thread-safe."""

    def __init__(self, *, database_url: str) -> None:
        """Use DBOS's tables in the database at `database_url`, beside the catalogue's."""
        self.database_url = database_url
        self._client: DBOSClient | None = None

    def open(self) -> None:
        """Connect; DBOS's tables are there."""
        self._client = DBOSClient(
            system_database_url=self.database_url,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
            sys_db_idle_transaction_timeout_sec=PAUSED_SECONDS,
            retry_connection_errors=False,  # who asks for something can be told that it is away
        )

    def set_bounds(self, *, per_worker: int, per_folder: int | None) -> None:
        """Set how many workflows run at a time, for all workers: the last call counts.

        Call it before the engine is launched: a queue that appears later is noticed up to a second
        later.
        """
        self._opened.register_queue(
            _QUEUE,
            worker_concurrency=per_worker,
            partition_worker_concurrency=per_worker,  # a bound of some kind makes it partitioned
            partition_concurrency=per_folder,
            polling_interval_sec=_POLL_SECONDS,
            on_conflict="always_update",
        )

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
        options: EnqueueOptions = {
            "workflow_name": name,
            "queue_name": _QUEUE,
            "workflow_id": workflow_id,
            "workflow_id_reuse_policy": "reject",
            "queue_partition_key": partition,
            "app_version": APPLICATION_VERSION,
            "serialization_type": WorkflowSerializationFormat.PORTABLE,
        }
        self._opened.enqueue_in_transaction(connection, options, argument)

    def is_live(self, workflow_id: str) -> bool:
        """Tell whether a workflow is waiting or running, or will be recovered."""
        return bool(self.find_live([workflow_id]))

    def find_live(self, workflow_ids: Sequence[str]) -> set[str]:
        """Name those of some workflows, a few hundred, that are waiting or running."""
        found = self._opened.list_workflows(
            workflow_ids=list(workflow_ids), status=_LIVE, load_input=False, load_output=False
        )
        return {each.workflow_id for each in found}

    def list_running(self) -> list[RunningWorkflow]:
        """List the workflows that workers have taken, whether or not those still live."""
        found = self._opened.list_workflows(status="PENDING", load_output=False, queue_name=_QUEUE)
        return [
            RunningWorkflow(each.workflow_id, each.executor_id or "", each.input["args"][0])
            for each in found
            if each.input is not None
        ]

    def resume(self, workflow_id: str) -> None:
        """Have a worker go on with a workflow, which is taken from the one that has it."""
        self._opened.resume_workflow(workflow_id, queue_name=_QUEUE)

    def prune(self, ended_before: datetime, *, at_once: int) -> int:
        """Remove some workflows that ended before an instant, and say how many; cheap when none."""
        ended = self._opened.list_workflows(
            status=list(_ENDED),
            completed_before=ended_before.isoformat(),
            load_input=False,
            load_output=False,
            limit=at_once,
        )
        if ended:
            self._opened.delete_workflows([each.workflow_id for each in ended])
        return len(ended)

    def close(self) -> None:
        """Let go of the connections; may be called twice."""
        if self._client is not None:
            self._client.destroy()
            self._client = None

    @property
    def _opened(self) -> DBOSClient:
        if self._client is None:
            raise RuntimeError("Open the queue before its first use.")
        return self._client
