"""Rebuilding the chunk index of a data folder whose server does not run."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack

from clouddesktop.app.bootstrap import DataFolder
from clouddesktop.app.encryption import open_keys
from clouddesktop.app.foundation import open_database, open_own_store
from clouddesktop.config import Settings
from clouddesktop.keeping.rebuilding import Rebuild, Rebuilder
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.manifests import ManifestStore


def rebuild_index(settings: Settings, *, report: Callable[[int], None]) -> Rebuild:
    """Rebuild the index, as Rebuilder.run does, while no server can start.

    Raises:
        DataFolderInUseError: the server runs.
        AnotherStoreError: the database belongs to another store.
        DataLossError: as Rebuilder.run says.
    """
    os.umask(0o077)
    folder = DataFolder(root=settings.data_dir.absolute())
    with ExitStack() as stack:
        stack.enter_context(folder.held())
        database = open_database(settings, folder)
        stack.callback(database.close)
        database.migrate()
        blobs = open_own_store(settings.store or folder.store.resolve().as_uri(), database)
        keys = open_keys(settings.encryption_keys, database)
        return Rebuilder(
            database=database,
            chunks=ChunkStore(blobs, keys=keys),
            manifests=ManifestStore(blobs, keys=keys),
            report=report,
        ).run()
