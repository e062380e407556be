"""What a start finds and makes: the default folder, and the administrator with a key."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clouddesktop.app.bootstrap import DataFolder, prepare_catalogue
from clouddesktop.catalog.bindings import list_bindings
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import (
    add_folder,
    delete_folder,
    list_clouds,
    list_folders,
    update_folder,
)
from clouddesktop.catalog.keys import delete_key
from clouddesktop.catalog.service_accounts import (
    add_service_account,
    delete_service_account,
    list_service_accounts,
)
from clouddesktop.model.access import Resource
from clouddesktop.model.folder import Folder, FolderChanges
from clouddesktop.model.service_account import ServiceAccount

NOW = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(root=tmp_path)


@pytest.fixture
def database(folder: DataFolder) -> Database:
    opened = Database(f"sqlite:///{folder.database}")
    opened.migrate()
    return opened


def admin_of(folder: DataFolder) -> str:
    """Tell whose key the file has."""
    return str(json.loads(folder.admin_key.read_text())["service_account_id"])


def test_a_second_start_changes_nothing(database: Database, folder: DataFolder) -> None:
    """Neither rows nor the key."""
    default = prepare_catalogue(database, folder)
    key = folder.admin_key.read_bytes()
    assert prepare_catalogue(database, folder) == default
    assert folder.admin_key.read_bytes() == key
    assert len(database.read(list_service_accounts, default.id)) == 1
    bindings = database.read(list_bindings, Resource.of_cloud(default.cloud_id))
    assert [each.subject_id for each in bindings] == [admin_of(folder)]


def test_a_renamed_default_folder_is_the_default_folder(
    database: Database, folder: DataFolder
) -> None:
    """No second cloud is made for the name."""
    default = prepare_catalogue(database, folder)
    database.write(update_folder, default.id, FolderChanges(name="main"))
    assert prepare_catalogue(database, folder).id == default.id
    assert len([each for each in database.read(list_clouds) if each.id]) == 1
    assert len(database.read(list_folders, default.cloud_id)) == 1


def test_a_deleted_default_folder_is_made_anew_in_its_cloud(
    database: Database, folder: DataFolder
) -> None:
    """With an administrator, if that is gone too."""
    default = prepare_catalogue(database, folder)
    database.write(delete_service_account, admin_of(folder))
    database.write(delete_folder, default.id)
    made = prepare_catalogue(database, folder)
    assert (made.id != default.id, made.cloud_id) == (True, default.cloud_id)
    bindings = database.read(list_bindings, Resource.of_cloud(default.cloud_id))
    assert admin_of(folder) in {each.subject_id for each in bindings}


def test_an_account_of_the_administrators_name_elsewhere_is_not_the_administrator(
    database: Database, folder: DataFolder
) -> None:
    """Its maker would be handed the server; also when it is older."""
    default = prepare_catalogue(database, folder)
    other = Folder(id="b1gother", cloud_id=default.cloud_id, name="other", created_at=NOW)
    database.write(add_folder, other)
    account = ServiceAccount(id="ajefalse", folder_id="b1gother", name="admin", created_at=NOW)
    database.write(add_service_account, account)
    key_id = json.loads(folder.admin_key.read_text())["id"]
    database.write(delete_key, key_id)
    before = admin_of(folder)
    prepare_catalogue(database, folder)
    assert admin_of(folder) == before
    assert json.loads(folder.admin_key.read_text())["id"] != key_id
