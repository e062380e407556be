"""Operations against workflows, images against operations, and where running copies read from."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import sqlalchemy as sa

from clouddesktop.catalog import reconciling
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.reconciling import Unfinished
from clouddesktop.copying.orphans import CopyOrphans
from clouddesktop.copying.workflow import COPY_IMAGE
from clouddesktop.errors import AbortedError
from clouddesktop.keeping.findings import Findings, FindingState
from clouddesktop.model.image import ComputeImage
from clouddesktop.source.catalogue import SourceCatalogue
from clouddesktop.workflow.queue import WorkflowQueue

_AT_ONCE = 500


class OperationLostError(AbortedError):
    """Nothing was ever going to run the operation."""

    reason = "OPERATION_LOST"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkExamination:
    """Looks, and mends if `is_mending`. `sources` are none if they cannot be made."""

    database: Database
    queue: WorkflowQueue
    sources: SourceCatalogue | None
    findings: Findings
    is_mending: bool

    def run(self) -> None:
        """Look at everything, a page at a time."""
        after = ""
        while page := self.database.read(reconciling.list_unfinished, after=after, limit=_AT_ONCE):
            self._look_at_operations(page)
            after = page[-1].id
        if self.is_mending:
            CopyOrphans(database=self.database, queue=self.queue).look()
        self._look_at_workflows()
        self._look_at_strays()
        self._look_at_known_sources()

    @property
    def _mended(self) -> FindingState:
        return FindingState.MENDED if self.is_mending else FindingState.WRONG

    def _look_at_operations(self, page: list[Unfinished]) -> None:
        live = self.queue.find_live([each.workflow_id for each in page if each.workflow_id])
        # Once more: a workflow that has ended since has ended its operation before.
        still = self.database.read(reconciling.find_unfinished, [each.id for each in page])
        for operation in page:
            if operation.id not in still:
                continue
            if not operation.workflow_id:
                self._note_lost(operation)
            elif operation.workflow_id not in live:
                self.findings.note(
                    "operation_without_workflow",
                    operation.id,
                    f"The operation {operation.id} is not done, and no workflow runs it.",
                    why="It would never end.",
                    remedy="Workers give it a new workflow within seconds, and so does --mend.",
                    state=self._mended,
                )
            self._look_for_source(operation)

    def _note_lost(self, operation: Unfinished) -> None:
        if self.is_mending:
            self.database.write(self._end_lost, operation.id)
        self.findings.note(
            "lost_operation",
            operation.id,
            f"The operation {operation.id} is not done, and never had a workflow.",
            why="It would never end.",
            remedy="--mend ends it with an error, and has what it made rolled back.",
            state=self._mended,
        )

    def _end_lost(self, connection: sa.Connection, operation_id: str) -> None:
        workflow_id = f"{operation_id}-1"
        error = OperationLostError(
            f"The operation {operation_id} was lost: nothing was going to run it.",
            remedy="Ask for it again.",
        )
        if reconciling.fail_lost(
            connection, operation_id, workflow_id=workflow_id, failure=error.failure
        ):
            self.queue.enqueue(
                connection,
                COPY_IMAGE,
                operation_id,
                workflow_id=workflow_id,
                partition=operation_id,
            )

    def _look_for_source(self, operation: Unfinished) -> None:
        image = ComputeImage(
            id=operation.compute_image_id,
            folder_id=operation.folder_id,
            source=operation.source,
            location=operation.location,
        )
        if self.sources is not None and self.sources.is_gone(image):
            self.findings.note(
                "source_gone",
                operation.id,
                f"The operation {operation.id} reads {operation.location} in the source"
                f" {operation.source}, which is not there.",
                why="It will fail.",
                remedy="Put the source or its file back, or cancel the operation"
                f" (`clouddesktop operation cancel {operation.id}`).",
            )

    def _look_at_workflows(self) -> None:
        workflows = self.queue.iter_live()
        while page := list(islice(workflows, _AT_ONCE)):
            known = self.database.read(
                reconciling.find_operations, {each.argument for each in page}
            )
            for each in page:
                if each.argument not in known:
                    if self.is_mending:
                        self.queue.cancel(each.id)
                    self.findings.note(
                        "workflow_without_operation",
                        each.id,
                        f"The workflow {each.id} runs the operation {each.argument}, which the"
                        " database does not know.",
                        why="It does nothing, and takes a place in the queue.",
                        remedy="--mend cancels it.",
                        state=self._mended,
                    )

    def _look_at_strays(self) -> None:
        after = ""
        while page := self.database.read(reconciling.list_strays, after=after, limit=_AT_ONCE):
            for stray in page:
                is_gone = self.is_mending and self.database.write(reconciling.remove_stray, stray)
                self.findings.note(
                    "image_without_operation",
                    stray.id,
                    f"The image {stray.name} ({stray.id}) is being made, and by no operation.",
                    why="It will never be there, and holds its name.",
                    remedy="--mend removes it, as a rollback would have.",
                    state=FindingState.MENDED if is_gone else FindingState.WRONG,
                )
            after = page[-1].id

    def _look_at_known_sources(self) -> None:
        if self.sources is None:
            return
        for source, count in self.database.read(reconciling.list_known_sources):
            if source not in self.sources.names:
                self.findings.note(
                    "source_not_configured",
                    source,
                    f"{count} files were copied from the source {source}, which is not configured.",
                    why="A scrub cannot repair from it what is damaged.",
                    remedy="Name it by --source again, if it is still there.",
                    state=FindingState.NOTE,
                )
