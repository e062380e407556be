"""The composition root: puts the parts of a server together and takes them apart again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from clouddesktop.app.bootstrap import DataFolder, prepare_catalogue, prepare_token_seed
from clouddesktop.app.encryption import open_keys
from clouddesktop.app.keeping import KeepingParts, keeping
from clouddesktop.app.limits import LimitParts, limiting
from clouddesktop.app.sources import make_sources, make_uploads
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.installation import STORE_ID, settle_fact
from clouddesktop.catalog.keys import find_key
from clouddesktop.config import Settings
from clouddesktop.copying.start import CopyStarter
from clouddesktop.copying.workflow import COPY_IMAGE, CopyWorkflow
from clouddesktop.delivery.export import Exports
from clouddesktop.disk.errors import MissingProgramError
from clouddesktop.disk.sandbox import SandboxPolicy, explain_missing_sandbox
from clouddesktop.disk.spool import Spool
from clouddesktop.errors import FailedPreconditionError
from clouddesktop.iam.access import Access
from clouddesktop.iam.tokens import TokenService
from clouddesktop.keeping.originals import open_original
from clouddesktop.keeping.scrub import Scrubber
from clouddesktop.model.folder import Folder
from clouddesktop.source.catalogue import SourceCatalogue
from clouddesktop.source.uploads import Uploads
from clouddesktop.store.blobs import (
    BlobNotFoundError,
    BlobStore,
    StoreUnavailableError,
    open_store,
)
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.encryption import KeyRing
from clouddesktop.store.manifests import ManifestStore
from clouddesktop.workflow.engine import WorkflowEngine

_log = structlog.get_logger(__name__)

EXECUTOR_ID = "embedded"
"""Constant, so that a restart takes its workflows up again; the folder's lock keeps it unique."""

_MOST_RANGES = 4
"""Each takes some 50 MiB when nothing compresses: six made the process exceed 400 MiB."""

Failpoint = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the servers are built on; valid inside `built`."""

    database: Database
    default_folder: Folder
    starter: CopyStarter
    sources: SourceCatalogue
    uploads: Uploads
    tokens: TokenService
    access: Access
    exports: Exports
    workflows: WorkflowEngine
    keeping: KeepingParts
    spool: Spool
    limits: LimitParts


class AnotherStoreError(FailedPreconditionError):
    """The database belongs to another store than the one that was named."""

    reason = "ANOTHER_STORE"


@contextmanager
def built(
    settings: Settings, folder: DataFolder, *, names: set[str], failpoint: Failpoint
) -> Iterator[Parts]:
    """Build every part on a data folder that is held, and launch the workflows.

    `names` are the host names that a token's audience may have.
    """
    with ExitStack() as stack:
        database = Database(settings.database or f"sqlite:///{folder.database.resolve()}")
        stack.callback(database.close)
        default = prepare_catalogue(database, folder)
        sources = make_sources(settings, default, uploads=folder.uploads)
        blobs = open_own_store(settings.store or folder.store.resolve().as_uri(), database)
        keys = open_keys(settings.encryption_keys, database)
        chunks = ChunkStore(blobs, keys=keys, failpoint=failpoint)
        manifests = ManifestStore(blobs, keys=keys)
        ranges_at_once = min((os.cpu_count() or 1) + 1, _MOST_RANGES)
        threads = ThreadPoolExecutor(ranges_at_once, thread_name_prefix="range")
        stack.callback(threads.shutdown, cancel_futures=True)
        threads.submit(_report_sandbox)
        spool = Spool(folder.spool, most_bytes=settings.spool_size)
        stack.callback(spool.close)
        workflows = _make_engine(settings, database)
        stack.callback(workflows.stop)
        copy_workflow = CopyWorkflow(
            database=database,
            sources=sources,
            chunks=chunks,
            manifests=manifests,
            threads=threads,
            ranges_at_once=ranges_at_once,
            sandbox=SandboxPolicy(settings.sandbox),
            spool=spool,
            failpoint=failpoint,
        )
        workflows.register(COPY_IMAGE, copy_workflow.run)
        workflows.launch()
        starter = CopyStarter(database=database, sources=sources, workflows=workflows)
        starter.resume_orphans()
        keeping_parts = stack.enter_context(
            keeping(
                database=database,
                chunks=chunks,
                manifests=manifests,
                scrub=_scrubber(settings, database, blobs, sources, keys=keys, spool=spool).run,
                collect_after_seconds=settings.collect_after,
                failpoint=failpoint,
            )
        )
        yield Parts(
            database=database,
            default_folder=default,
            starter=starter,
            sources=sources,
            uploads=make_uploads(settings, folder.uploads),
            access=Access(database=database),
            tokens=_make_tokens(database, folder, names),
            exports=Exports(database=database, chunks=chunks, manifests=manifests),
            workflows=workflows,
            keeping=keeping_parts,
            spool=spool,
            limits=stack.enter_context(limiting(settings, folder, database, workflows)),
        )


def _make_engine(settings: Settings, database: Database) -> WorkflowEngine:
    return WorkflowEngine(
        database_url=database.url,
        executor_id=EXECUTOR_ID,
        workflows_at_once=settings.workers,
    )


def _report_sandbox() -> None:
    """Say once, at the start, whether QEMU can be locked in; that takes a moment to find out."""
    try:
        why = explain_missing_sandbox()
    except MissingProgramError as error:
        why = error.message
    if why:
        _log.warning("no sandbox for QEMU: see the setting sandbox", why=why)


def _make_tokens(database: Database, folder: DataFolder, names: set[str]) -> TokenService:
    return TokenService(
        signing_key=prepare_token_seed(folder),
        find_key=lambda key_id: database.read(find_key, key_id),
        audiences=names,
    )


def _scrubber(
    settings: Settings,
    database: Database,
    blobs: BlobStore,
    sources: SourceCatalogue,
    *,
    keys: KeyRing,
    spool: Spool,
) -> Scrubber:
    return Scrubber(
        database=database,
        chunks=ChunkStore(blobs, keys=keys),
        manifests=ManifestStore(blobs, keys=keys),
        key_id="" if keys.active is None else keys.active.id,
        open_original=partial(
            open_original, sources, sandbox=SandboxPolicy(settings.sandbox), spool=spool
        ),
        check_store=lambda: check_own_store(blobs, database),
        bytes_per_second=settings.scrub_rate,
    )


def open_own_store(url: str, database: Database) -> BlobStore:
    """Open the store whose chunks the database knows, and no other.

    A folder whose file system is not mounted looks like a new store, and lacks what is "known".
    """
    blobs = open_store(url)
    blobs.check_format()
    check_own_store(blobs, database)
    return blobs


def check_own_store(blobs: BlobStore, database: Database) -> None:
    """See that the database's store is there, and not only the place where it is mounted.

    Raises:
        AnotherStoreError: another one is there.
        StoreUnavailableError: none is.
    """
    try:
        store_id = blobs.read_id()
    except BlobNotFoundError as error:
        raise StoreUnavailableError(
            f"The store {blobs.name} is not there: it has no mark of a store.",
            remedy="Mount its file system, then try again.",
        ) from error
    known = database.write(settle_fact, STORE_ID, store_id)
    if known != store_id:
        raise AnotherStoreError(
            f"The store {blobs.name} is not the one that the database {database.url} belongs to.",
            remedy="Mount or name the right store; or start with an empty data folder.",
            facts={"store_id": store_id, "expected_store_id": known},
        )
