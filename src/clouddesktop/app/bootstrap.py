"""The first start: everything a server needs, made in its data folder; later starts keep it all."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import sqlalchemy as sa
import yaml

from clouddesktop.app.files import write_file
from clouddesktop.catalog.bindings import add_binding
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import (
    add_cloud,
    add_folder,
    find_folder_named,
    get_folder,
    list_clouds,
)
from clouddesktop.catalog.installation import DEFAULT_FOLDER, TOKEN_SEED, set_fact, settle_fact
from clouddesktop.catalog.keys import add_key, find_key
from clouddesktop.catalog.service_accounts import (
    add_service_account,
    find_service_account_named,
)
from clouddesktop.errors import FailedPreconditionError, NotFoundError
from clouddesktop.iam.keys import make_authorized_key
from clouddesktop.ids import Prefix, new_id
from clouddesktop.model.access import AccessBinding, Resource
from clouddesktop.model.folder import Cloud, Folder
from clouddesktop.model.service_account import ServiceAccount

_SEED_SIZE = 32
_DEFAULT = "default"
_ADMIN = "admin"


class DataFolderInUseError(FailedPreconditionError):
    """Another server works in the data folder."""

    reason = "DATA_FOLDER_IN_USE"


class DataFolderDamagedError(FailedPreconditionError):
    """A file that the server keeps for itself is not what it wrote."""

    reason = "DATA_FOLDER_DAMAGED"

    @classmethod
    def of_file(cls, path: Path) -> Self:
        return cls(
            f"The file {path} is damaged.",
            remedy="Restore it from a backup; or remove it, and the next start makes a new one.",
            facts={"file": str(path)},
        )


class DataFolderUnusableError(FailedPreconditionError):
    """The data folder cannot be made or written."""

    reason = "DATA_FOLDER_UNUSABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFolder:
    """The layout of a data folder; what is secret in it is readable by its owner alone."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "clouddesktop.db"

    @property
    def audit(self) -> Path:
        return self.root / "audit"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def tls(self) -> Path:
        return self.root / "tls"

    @property
    def admin_key(self) -> Path:
        return self.root / "keys" / "admin.json"

    @property
    def token_seed(self) -> Path:
        return self.root / "keys" / "tokens.key"

    @property
    def profile(self) -> Path:
        return self.root / "profile.yaml"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and keep other servers out of it; the kernel lets go when we end.

        Raises:
            DataFolderInUseError: another server works in it.
            DataFolderUnusableError: it cannot be made or written.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DataFolderUnusableError(
                f"The data folder {self.root} cannot be used: {error.strerror}.",
                remedy="Name a folder that you may write, with --data-dir.",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise DataFolderInUseError(
                f"Another clouddesktop server works in {self.root}.",
                remedy="Stop that one, or name another folder with --data-dir.",
            ) from error
        try:
            yield
        finally:
            os.close(lock)


def prepare_token_seed(folder: DataFolder, database: Database) -> bytes:
    """Give the secret that signs IAM tokens; one is drawn when there is none.

    It lies in the data folder, but for servers that share a database: there it is what they share.
    """
    if database.is_shared:
        drawn = secrets.token_hex(_SEED_SIZE)
        return bytes.fromhex(database.write(settle_fact, TOKEN_SEED, drawn))
    if not folder.token_seed.exists():
        write_file(folder.token_seed, secrets.token_bytes(_SEED_SIZE), mode=0o600)
    seed = folder.token_seed.read_bytes()
    if len(seed) != _SEED_SIZE:
        raise DataFolderDamagedError.of_file(folder.token_seed)
    return seed


def prepare_catalogue(database: Database, folder: DataFolder, *, has_admin: bool = True) -> Folder:
    """Make the cloud, the default folder and the admin with its key, those that are missing.

    A worker has no use for the admin: with `has_admin` false, there is none in its data folder.

    Returns:
        The folder named `default`.
    """
    return database.write(_prepare_rows, folder if has_admin else None)


def write_profile(
    folder: DataFolder, *, grpc: str, http: str, ca: Path | None, default: Folder
) -> None:
    """Write what the command line needs to reach the server that listens now."""
    profile = {
        "endpoint": grpc,
        "rest": http,
        "ca": None if ca is None else str(ca),
        "key": str(folder.admin_key),
        "cloud_id": default.cloud_id,
        "folder_id": default.id,
    }
    write_file(folder.profile, yaml.safe_dump(profile, sort_keys=False).encode())


def _prepare_rows(connection: sa.Connection, folder: DataFolder | None) -> Folder:
    now = datetime.now(tz=UTC)
    default = _find_default(connection)
    if default is None:
        # That of the system images, whose id is empty, is nobody's.
        clouds = [each for each in list_clouds(connection) if each.id]
        cloud = (
            clouds[0] if clouds else Cloud(id=new_id(Prefix.CLOUD), name=_DEFAULT, created_at=now)
        )
        if not clouds:
            add_cloud(connection, cloud)
        default = Folder(id=new_id(Prefix.FOLDER), cloud_id=cloud.id, name=_DEFAULT, created_at=now)
        add_folder(connection, default)
    set_fact(connection, DEFAULT_FOLDER, default.id)
    if folder is None:
        return default
    if not folder.admin_key.exists() or not _is_registered(connection, folder.admin_key):
        admin = _prepare_admin(connection, default, now)
        key, document = make_authorized_key(admin, now=now)
        add_key(connection, key)
        # Before the commit: a crash in between leaves a key that the next start replaces.
        write_file(folder.admin_key, json.dumps(document, indent=2).encode(), mode=0o600)
    return default


def _find_default(connection: sa.Connection) -> Folder | None:
    """Find the folder that the first start has made; it may have been renamed, or deleted."""
    named = find_folder_named(connection, _DEFAULT)
    known = settle_fact(connection, DEFAULT_FOLDER, "" if named is None else named.id)
    try:
        return get_folder(connection, known) if known else named
    except NotFoundError:
        return named


def _prepare_admin(connection: sa.Connection, default: Folder, now: datetime) -> str:
    # In its own folder alone: elsewhere, others may make accounts of this name.
    admin = find_service_account_named(connection, _ADMIN, folder_id=default.id)
    if admin is None:
        admin = new_id(Prefix.SERVICE_ACCOUNT)
        account = ServiceAccount(id=admin, folder_id=default.id, name=_ADMIN, created_at=now)
        add_service_account(connection, account)
    binding = AccessBinding(role_id="admin", subject_id=admin, subject_type="serviceAccount")
    add_binding(connection, Resource.of_cloud(default.cloud_id), binding)
    return admin


def _is_registered(connection: sa.Connection, path: Path) -> bool:
    try:
        key_id = str(json.loads(path.read_bytes())["id"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataFolderDamagedError.of_file(path) from error
    return find_key(connection, key_id) is not None
