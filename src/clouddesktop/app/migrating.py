"""Changing the form of a database's tables apart from any start."""

from __future__ import annotations

from clouddesktop.app.bootstrap import DataFolder
from clouddesktop.app.foundation import migrate, open_database
from clouddesktop.config import Settings


def run_migration(settings: Settings) -> str:
    """Bring the tables to this version's form; gives a sentence that says so.

    Raises:
        DatabaseTooNewError: they are of a later version; nothing was changed.
        DataFolderInUseError: a server works in the data folder, where the database lies.
    """
    folder = DataFolder(root=settings.data_dir.absolute())
    database = open_database(settings, folder)
    try:
        if database.is_shared:
            is_ours = migrate(database)
        else:
            with folder.held():
                is_ours = migrate(database)
    finally:
        database.close()
    if not is_ours:
        return (
            f"The tables of {database.shown_url} have a later version's form, on which this one"
            " may work, too."
        )
    return f"The tables of {database.shown_url} have this version's form."
