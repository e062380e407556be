"""What a caller may do: by roles on the resource, its folder and its cloud."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from clouddesktop.catalog.bindings import add_binding, remove_binding
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import add_cloud, add_folder
from clouddesktop.errors import NotFoundError, PermissionDeniedError
from clouddesktop.iam.access import GRANTS_SECONDS, Access
from clouddesktop.model.access import AccessBinding, Resource, Subject
from clouddesktop.model.folder import Cloud, Folder
from clouddesktop.model.roles import Permission
from parts.postgres import Postgres

NOW = datetime(2026, 11, 26, tzinfo=UTC)
SUBJECT = Subject(id="ajesubject")
IMAGE = Resource.of_image("e3vimage", "b1gone")
OTHER_IMAGE = Resource.of_image("e3vother", "b1gtwo")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Two folders in one cloud, and nobody with any role."""
    database = Database(f"sqlite:///{tmp_path / 'catalogue.db'}")
    database.migrate()
    database.write(add_cloud, Cloud(id="b1c", name="cloud", created_at=NOW))
    for folder_id in ("b1gone", "b1gtwo"):
        folder = Folder(id=folder_id, cloud_id="b1c", name=folder_id, created_at=NOW)
        database.write(add_folder, folder)
    return database


@pytest.fixture
def now() -> list[float]:
    """The clock: what is in it is the time."""
    return [1000.0]


@pytest.fixture
def access(database: Database, now: list[float]) -> Access:
    return Access(database=database, clock=lambda: now[0])


def bind(database: Database, resource: Resource, role_id: str, subject_id: str = "") -> None:
    binding = AccessBinding(
        role_id=role_id,
        subject_id=subject_id or SUBJECT.id,
        subject_type="system" if subject_id else "serviceAccount",
    )
    assert database.write(add_binding, resource, binding)


async def test_a_stranger_finds_nothing(access: Access) -> None:
    """In the words of what does not exist."""
    caller = await access.find_caller(SUBJECT)
    with pytest.raises(NotFoundError) as caught:
        caller.require(Permission.IMAGES_GET, IMAGE)
    missing = NotFoundError.of_resource("Image", "e3vimage")
    assert caught.value.failure == missing.failure


async def test_a_role_reaches_down_and_no_further(access: Access, database: Database) -> None:
    """From a folder to its images, and not to the next folder."""
    bind(database, Resource.of_folder("b1gone"), "vdi.viewer")
    caller = await access.find_caller(SUBJECT)
    caller.require(Permission.IMAGES_EXPORT, IMAGE)
    assert not caller.may(Permission.IMAGES_GET, OTHER_IMAGE)
    assert not caller.may(Permission.CLOUDS_GET, Resource.of_cloud("b1c"))


async def test_a_role_on_the_cloud_reaches_every_folder(access: Access, database: Database) -> None:
    """Those that do not exist apart."""
    bind(database, Resource.of_cloud("b1c"), "vdi.editor")
    caller = await access.find_caller(SUBJECT)
    for resource in (IMAGE, OTHER_IMAGE):
        caller.require(Permission.IMAGES_DELETE, resource)
    with pytest.raises(NotFoundError, match="Folder b1gnone not found"):
        caller.require(Permission.IMAGES_CREATE, Resource.of_folder("b1gnone"))


async def test_what_may_be_seen_and_not_done_is_denied(access: Access, database: Database) -> None:
    """The error names what is missing, and a role that has it."""
    bind(database, Resource.of_folder("b1gone"), "vdi.viewer")
    caller = await access.find_caller(SUBJECT)
    with pytest.raises(PermissionDeniedError) as caught:
        caller.require(Permission.IMAGES_DELETE, IMAGE)
    assert caught.value.facts["permission"] == "vdi.images.delete"
    assert "vdi.editor" in caught.value.remedy


async def test_a_role_on_one_compute_image_is_for_it_alone(
    access: Access, database: Database
) -> None:
    """And gives nothing in its folder."""
    bind(database, Resource.of_compute_image("golden", "b1gone"), "compute.images.user")
    caller = await access.find_caller(SUBJECT)
    caller.require(Permission.COMPUTE_IMAGES_USE, Resource.of_compute_image("golden", "b1gone"))
    assert not caller.may(
        Permission.COMPUTE_IMAGES_USE, Resource.of_compute_image("silver", "b1gone")
    )
    assert not caller.may(Permission.FOLDERS_GET, Resource.of_folder("b1gone"))


async def test_everybody_sees_system_images_and_nobody_changes_them(access: Access) -> None:
    """They lie in no folder."""
    caller = await access.find_caller(SUBJECT)
    image = Resource.of_image("e3vsystem", "")
    caller.require(Permission.IMAGES_EXPORT, image)
    with pytest.raises(PermissionDeniedError):
        caller.require(Permission.IMAGES_DELETE, image)


async def test_all_authenticated_users_is_everybody(access: Access, database: Database) -> None:
    """A role that is bound to the system's subject is everybody's."""
    bind(database, Resource.of_folder("b1gone"), "vdi.auditor", "allAuthenticatedUsers")
    caller = await access.find_caller(Subject(id="ajeanybody"))
    caller.require(Permission.IMAGES_GET, IMAGE)


async def test_changes_count_at_once_here_and_soon_elsewhere(
    access: Access, database: Database, now: list[float]
) -> None:
    """This process forgets what it knew; another one's change is found when that is stale."""
    resource = Resource.of_folder("b1gone")
    assert not (await access.find_caller(SUBJECT)).may(Permission.IMAGES_GET, IMAGE)
    bind(database, resource, "vdi.viewer")
    assert not (await access.find_caller(SUBJECT)).may(Permission.IMAGES_GET, IMAGE)
    access.forget()
    assert (await access.find_caller(SUBJECT)).may(Permission.IMAGES_GET, IMAGE)
    binding = AccessBinding(
        role_id="vdi.viewer", subject_id=SUBJECT.id, subject_type="serviceAccount"
    )
    assert database.write(remove_binding, resource, binding)
    now[0] += GRANTS_SECONDS
    assert not (await access.find_caller(SUBJECT)).may(Permission.IMAGES_GET, IMAGE)


async def test_a_role_of_a_later_version_gives_nothing(access: Access, database: Database) -> None:
    """And takes nothing away."""
    bind(database, Resource.of_folder("b1gone"), "vdi.magician")
    bind(database, Resource.of_folder("b1gone"), "vdi.viewer")
    assert (await access.find_caller(SUBJECT)).may(Permission.IMAGES_GET, IMAGE)


async def test_the_event_loop_waits_for_no_database(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for one that others share, which may hang: what roles need to know is read in threads."""
    shared = Database(postgres.make_database())
    shared.migrate()
    shared.write(add_cloud, Cloud(id="b1c", name="cloud", created_at=NOW))
    shared.write(add_folder, Folder(id="b1gone", cloud_id="b1c", name="one", created_at=NOW))
    bind(shared, Resource.of_cloud("b1c"), "vdi.editor")
    access = Access(database=shared)
    readers: list[threading.Thread] = []
    read = shared.read

    def note(*args: Any, **kwargs: Any) -> Any:
        readers.append(threading.current_thread())
        return read(*args, **kwargs)

    monkeypatch.setattr(shared, "read", note)
    caller = await access.find_caller(SUBJECT)
    caller.require(Permission.IMAGES_GET, IMAGE)
    caller = await access.find_caller(SUBJECT, folder_id="b1gnone")
    assert not caller.may(Permission.IMAGES_CREATE, Resource.of_folder("b1gnone"))
    shared.write(add_folder, Folder(id="b1gnew", cloud_id="b1c", name="new", created_at=NOW))
    caller = await access.find_caller(SUBJECT, folder_id="b1gnew")
    caller.require(Permission.IMAGES_CREATE, Resource.of_folder("b1gnew"))
    assert readers
    assert threading.current_thread() not in readers
    shared.close()


async def test_a_folder_that_another_process_makes_is_found(
    access: Access, database: Database, now: list[float]
) -> None:
    """Also by who asked for it a moment too early."""
    bind(database, Resource.of_cloud("b1c"), "vdi.editor")
    folder = Resource.of_folder("b1gnew")
    caller = await access.find_caller(SUBJECT, folder_id=folder.id)
    assert not caller.may(Permission.IMAGES_CREATE, folder)
    database.write(add_folder, Folder(id=folder.id, cloud_id="b1c", name="new", created_at=NOW))
    now[0] += 1.1
    caller.require(Permission.IMAGES_CREATE, folder)
