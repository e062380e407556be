"""What every process of an installation stands on: its database, its store, its sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from clouddesktop.app.aws import find_s3_authorities, load_s3_access
from clouddesktop.app.bootstrap import DataFolder, prepare_catalogue
from clouddesktop.app.encryption import open_keys
from clouddesktop.app.sources import make_sources
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.installation import STORE_ID, settle_fact
from clouddesktop.config import Settings
from clouddesktop.errors import FailedPreconditionError
from clouddesktop.model.folder import Folder
from clouddesktop.source.catalogue import SourceCatalogue
from clouddesktop.store.blobs import BlobStore, open_store
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.encryption import KeyRing
from clouddesktop.store.faults import BlobNotFoundError, StoreUnavailableError
from clouddesktop.store.manifests import ManifestStore
from clouddesktop.workflow.engine import migrate_workflows
from clouddesktop.workflow.queue import WorkflowQueue

Failpoint = Callable[[str], None]
"""Called at named places; a function of a module, since workers are given it across processes."""


def no_failpoint(_name: str) -> None:
    """Go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """The parts that servers and workers share; valid inside `founded`."""

    settings: Settings
    folder: DataFolder
    database: Database
    default_folder: Folder
    sources: SourceCatalogue
    blobs: BlobStore
    keys: KeyRing
    chunks: ChunkStore
    manifests: ManifestStore
    queue: WorkflowQueue
    failpoint: Failpoint


class AnotherStoreError(FailedPreconditionError):
    """The database belongs to another store than the one that was named."""

    reason = "ANOTHER_STORE"


@contextmanager
def founded(
    settings: Settings, folder: DataFolder, *, failpoint: Failpoint, has_admin: bool = True
) -> Iterator[Foundation]:
    """Open the database and the store on a data folder that is held; the first process makes them.

    With `has_admin` false, no key of the admin is made in that folder.

    Raises:
        CloudDesktopError: a part cannot be used; names the setting or the file.
    """
    with ExitStack() as stack:
        database = open_database(settings, folder)
        stack.callback(database.close)
        migrate(database)
        default = prepare_catalogue(database, folder, has_admin=has_admin)
        blobs = open_own_store(settings.store or folder.store.resolve().as_uri(), database)
        keys = open_keys(settings.encryption_keys, database)
        queue = WorkflowQueue(database_url=database.url)
        stack.callback(queue.close)
        queue.open()
        yield Foundation(
            settings=settings,
            folder=folder,
            database=database,
            default_folder=default,
            sources=make_sources(settings, default, uploads=folder.uploads),
            blobs=blobs,
            keys=keys,
            chunks=ChunkStore(blobs, keys=keys, failpoint=failpoint),
            manifests=ManifestStore(blobs, keys=keys),
            queue=queue,
            failpoint=failpoint,
        )


def open_database(settings: Settings, folder: DataFolder) -> Database:
    """Open the database that the settings name, or the data folder's own."""
    return Database(settings.database or f"sqlite:///{folder.database.resolve()}")


def migrate(database: Database) -> bool:
    """Bring the catalogue's and the workflows' tables to this version's form, once for all.

    Returns:
        False if they are of a later version, which lets this one go on.

    Raises:
        DatabaseTooNewError: they are of a later version; nothing was changed.
    """
    return database.migrate(further=partial(migrate_workflows, database.url))


def open_own_store(url: str, database: Database) -> BlobStore:
    """Open the store whose chunks the database knows, and no other.

    A folder whose file system is not mounted looks like a new store, and lacks what is "known".
    """
    if url.startswith("s3://"):
        blobs = open_store(url, access=load_s3_access(), ca_file=find_s3_authorities())
    else:
        blobs = open_store(url)
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
            remedy="Mount its file system, or put its bucket back, then try again.",
        ) from error
    known = database.write(settle_fact, STORE_ID, store_id)
    if known != store_id:
        raise AnotherStoreError(
            f"The store {blobs.name} is not the one that the database {database.shown_url}"
            " belongs to.",
            remedy="Mount or name the right store; or start with an empty data folder.",
            facts={"store_id": store_id, "expected_store_id": known},
        )
