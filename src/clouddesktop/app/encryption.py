"""The keys of a server's store: from the file that the settings name, against what was used."""

from __future__ import annotations

from pathlib import Path

from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.store_keys import list_keys, remember_key
from clouddesktop.store.encryption import KeyRing, read_key_file


def open_keys(path: Path | None, database: Database) -> KeyRing:
    """Read the keys, see that none is missing, and note the one that will be used.

    Raises:
        EncryptionKeysInvalidError: the file cannot be used.
        EncryptionKeyMissingError, EncryptionKeyWrongError: the store needs a key that is not there.
    """
    ring = read_keys(path, database)
    if ring.active is not None:
        database.write(remember_key, ring.active.id, ring.active.check)
    return ring


def read_keys(path: Path | None, database: Database) -> KeyRing:
    """Read the keys, and see that none is missing.

    Raises:
        CloudDesktopError: as `open_keys` says.
    """
    ring = KeyRing() if path is None else read_key_file(path)
    return ring.completed(database.read(list_keys))
