"""The doctor: what is wrong with an installation, and mending what can be mended.

Without mending it writes nothing, and may run beside servers and workers. To mend, it keeps others
from collecting and scrubbing: it holds the data folder, or has the duty among the workers of a
shared database.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from clouddesktop.app.aws import find_s3_authorities, load_s3_access
from clouddesktop.app.bootstrap import DataFolder
from clouddesktop.app.diagnosing_work import WorkExamination
from clouddesktop.app.encryption import read_keys
from clouddesktop.app.foundation import open_database
from clouddesktop.app.sources import make_sources
from clouddesktop.catalog import reconciling
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import get_folder
from clouddesktop.catalog.installation import DEFAULT_FOLDER, STORE_ID
from clouddesktop.catalog.keeper_runs import list_active_runs
from clouddesktop.catalog.migrating import Form
from clouddesktop.config import Settings
from clouddesktop.errors import CloudDesktopError, FailedPreconditionError
from clouddesktop.ids import Prefix, new_id
from clouddesktop.keeping.examining import Examination
from clouddesktop.keeping.findings import Findings, FindingState
from clouddesktop.keeping.reconciling import Reconciliation
from clouddesktop.model.keeping import RunKind
from clouddesktop.source.catalogue import SourceCatalogue
from clouddesktop.store.blobs import BlobStore, open_existing_store
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.encryption import KeyRing
from clouddesktop.store.faults import BlobNotFoundError
from clouddesktop.store.manifests import ManifestStore
from clouddesktop.telemetry import configure_logging
from clouddesktop.workflow.membership import Membership
from clouddesktop.workflow.queue import WorkflowQueue

_MOST_CLOCK_SECONDS = 5.0
_LEASES = 3
"""How long, in leases, to wait for workers that may be dead before they count as alive."""

_PAUSE_SECONDS = 0.2


class WorkersAliveError(FailedPreconditionError):
    """Workers of the database are at work, one of which may collect."""

    reason = "WORKERS_ALIVE"


class DutyLostError(FailedPreconditionError):
    """The process was silent for too long, so that workers keep the store again."""

    reason = "DUTY_LOST"


def examine(settings: Settings, *, is_mending: bool) -> Findings:
    """Look at everything, and mend what can be mended if so asked.

    Raises:
        DataFolderInUseError, WorkersAliveError: servers or workers run, beside which nothing can
            be mended.
        CloudDesktopError: the database or the store went away meanwhile; what was mended stays so.
    """
    configure_logging("error")  # standard output is for what was found
    return _Doctor(settings, is_mending=is_mending).run()


class _Doctor:
    def __init__(self, settings: Settings, *, is_mending: bool) -> None:
        self._settings = settings
        self._is_mending = is_mending
        self._folder = DataFolder(root=settings.data_dir.absolute())
        self._findings = Findings()

    def run(self) -> Findings:
        self._look_at_folder()
        with ExitStack() as stack:
            database = self._open_database(stack)
            if database is None:
                return self._findings
            self._compare_clocks(database)
            queue = WorkflowQueue(database_url=database.url)
            stack.callback(queue.close)
            queue.open()
            check = stack.enter_context(self._alone(database, queue))
            sources = self._look_at_sources(database)
            self._look_at_work(database, queue, sources)
            self._look_for_hold(database)
            blobs, keys = self._look_at_store(database), self._look_at_keys(database)
            if blobs is not None and keys is not None:
                Reconciliation(
                    Examination(
                        database=database,
                        chunks=ChunkStore(blobs, keys=keys),
                        manifests=ManifestStore(blobs, keys=keys),
                        findings=self._findings,
                        is_mending=self._is_mending,
                        check=check,
                    )
                ).run()
        return self._findings

    def _look_at_folder(self) -> None:
        root = self._folder.root
        if not root.is_dir():
            self._findings.note(
                "data_folder",
                str(root),
                f"There is no data folder {root}.",
                why="Nothing was ever started with it, or it was lost.",
                remedy="Name the right one with --data-dir, or put it back from a backup.",
            )
        elif not os.access(root, os.R_OK | os.W_OK | os.X_OK):
            self._findings.note(
                "data_folder",
                str(root),
                f"The data folder {root} cannot be written by this user.",
                why="Servers and workers keep their files in it.",
                remedy="Give it to the user that they run as, and run the doctor as that user.",
            )

    def _open_database(self, stack: ExitStack) -> Database | None:
        """Open the database if its tables are fit to be looked at."""
        path = self._folder.database
        if self._settings.database is None and not path.is_file():
            self._findings.note(
                "database",
                str(path),
                f"There is no database {path}.",
                why="It knows which images there are.",
                remedy="Name the data folder or the database, or put it back from a backup.",
            )
            return None
        try:
            database = open_database(self._settings, self._folder)
            stack.callback(database.close)
            form = database.read_form()
        except CloudDesktopError as error:
            self._note_error("database", "", error, why="Nothing works without its database.")
            return None
        if form in {Form.ABSENT, Form.EARLIER}:
            self._findings.note(
                "database_form",
                database.shown_url,
                f"The database {database.shown_url} has the tables of an earlier version, or none.",
                why="This version cannot say more about it.",
                remedy="Run `clouddesktop migrate`, or start a server; then run the doctor again.",
            )
            return None
        if form is Form.LATER:
            self._findings.note(
                "database_form",
                database.shown_url,
                "A later version has changed the database's tables, and lets this one go on.",
                why="An upgrade is under way.",
                remedy="Finish it: docs/upgrading.md.",
                state=FindingState.NOTE,
            )
        return database

    def _compare_clocks(self, database: Database) -> None:
        if not database.is_shared:
            return
        began = datetime.now(tz=UTC)
        theirs = database.read(reconciling.read_clock)
        took = datetime.now(tz=UTC) - began
        apart = abs((theirs - (began + took / 2)).total_seconds())
        if apart > _MOST_CLOCK_SECONDS + took.total_seconds():
            self._findings.note(
                "clock",
                "",
                f"This machine's clock and the database's are {apart:.0f} seconds apart.",
                why="Tokens and signed requests to S3 are refused where clocks differ.",
                remedy="Keep the clocks of all machines right, such as by chrony.",
            )

    def _look_at_sources(self, database: Database) -> SourceCatalogue | None:
        folder_id = database.read(reconciling.find_fact, DEFAULT_FOLDER)
        try:
            folder = database.read(get_folder, folder_id or "")
            sources = make_sources(self._settings, folder, uploads=self._folder.uploads)
        except CloudDesktopError as error:
            self._note_error("sources", "", error, why="No image can be copied from them.")
            return None
        for name, failed in sources.find_unreachable().items():
            self._note_error("source", name, failed, why="No image can be copied from it now.")
        return sources

    def _look_for_hold(self, database: Database) -> None:
        for run in database.read(list_active_runs):
            if run.kind is RunKind.HOLD:
                self._findings.note(
                    "hold",
                    run.id,
                    f"Collections and scrubs are held off until {run.progress.get('until')}.",
                    why="A backup is made, or the database comes from one.",
                    remedy=f"Once nothing is wrong, `clouddesktop store stop {run.id}` ends that.",
                    state=FindingState.NOTE,
                )

    def _look_at_work(
        self, database: Database, queue: WorkflowQueue, sources: SourceCatalogue | None
    ) -> None:
        if not queue.has_tables():
            self._findings.note(
                "workflow_tables",
                database.shown_url,
                "The database lacks the tables of the workflows.",
                why="No copy runs without them. A backup may have left their schema, dbos, out.",
                remedy="Run `clouddesktop migrate`; running copies are begun anew then.",
            )
            return
        WorkExamination(
            database=database,
            queue=queue,
            sources=sources,
            findings=self._findings,
            is_mending=self._is_mending,
        ).run()

    def _look_at_store(self, database: Database) -> BlobStore | None:
        url = self._settings.store or self._folder.store.resolve().as_uri()
        why = "Every image's bytes are in it."
        try:
            if url.startswith("s3://"):
                access, authorities = load_s3_access(), find_s3_authorities()
                blobs = open_existing_store(url, access=access, ca_file=authorities)
            else:
                blobs = open_existing_store(url)
            store_id = blobs.read_id()
        except BlobNotFoundError:
            self._findings.note(
                "store",
                url,
                f"There is no store at {url}.",
                why=why,
                remedy="Name the right one, mount its file system, or put it back from a backup.",
            )
            return None
        except CloudDesktopError as error:
            self._note_error("store", url, error, why=why)
            return None
        known = database.read(reconciling.find_fact, STORE_ID)
        if known not in {None, store_id}:
            self._findings.note(
                "store",
                url,
                f"The store at {url} is not the one that the database belongs to.",
                why="What the database knows is not in it.",
                remedy="Name the store and the database that belong together.",
            )
            return None
        return blobs

    def _look_at_keys(self, database: Database) -> KeyRing | None:
        try:
            return read_keys(self._settings.encryption_keys, database)
        except CloudDesktopError as error:
            self._note_error(
                "encryption_keys", "", error, why="What they have encrypted cannot be read."
            )
            return None

    @contextmanager
    def _alone(self, database: Database, queue: WorkflowQueue) -> Iterator[Callable[[], None]]:
        """Keep others from collecting while something is mended; gives what tells if they may."""
        if not self._is_mending:
            yield lambda: None
        elif not database.is_shared:
            with self._folder.held():
                yield lambda: None
        else:
            with self._on_duty(database, queue) as check:
                yield check

    @contextmanager
    def _on_duty(self, database: Database, queue: WorkflowQueue) -> Iterator[Callable[[], None]]:
        is_lost = False

        def lose() -> None:
            nonlocal is_lost
            is_lost = True

        def check() -> None:
            if is_lost:
                raise DutyLostError(
                    "The doctor gave no sign of life for too long: workers keep the store again.",
                    remedy="Run it again.",
                )

        lease = self._settings.worker_lease
        membership = Membership(
            database=database,
            queue=queue,
            worker_id=new_id(Prefix.WORKER),
            host=socket.gethostname(),
            lease_seconds=lease,
            on_lost=lose,
        )
        membership.join()
        try:
            deadline = time.monotonic() + _LEASES * lease
            while not membership.look_after_others():
                if time.monotonic() > deadline:
                    raise WorkersAliveError(
                        "Workers of this database are at work, and one of them keeps the store.",
                        remedy="Stop all workers, and servers that have some; then try again. Or"
                        " leave out --mend: looking is safe beside them.",
                    )
                time.sleep(_PAUSE_SECONDS)
            yield check
        finally:
            membership.leave()

    def _note_error(self, kind: str, subject: str, error: CloudDesktopError, *, why: str) -> None:
        self._findings.note(kind, subject, error.message, why=why, remedy=error.remedy)
