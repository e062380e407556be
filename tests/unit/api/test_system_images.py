"""System images: what everybody may do with them, what nobody may, and who makes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from yandex.cloud.clouddesktop.v1 import desktop_image_service_pb2 as images
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage

from clouddesktop.catalog.images import get_image
from clouddesktop.errors import (
    AlreadyExistsError,
    CloudDesktopError,
    NotFoundError,
    PermissionDeniedError,
)
from clouddesktop.iam.access import Access, Caller
from clouddesktop.keeping.system_images import (
    ImageNotReadyToPublishError,
    NotASystemImageError,
    SystemImageError,
    SystemImages,
)
from clouddesktop.model.access import Resource, Subject
from clouddesktop.model.image import ImageStatus
from clouddesktop.model.roles import ROLES
from unit.api.access_world import OTHER_FOLDER, OWN_FOLDER, World
from unit.api.serving import AN_IMAGE

SERVICE = "/yandex.cloud.clouddesktop.v1.api.DesktopImageService"
CLOUD = Resource.of_cloud("b1ccloud")
FOLDER = Resource.of_folder(OWN_FOLDER)
NOBODY = "ajenobody"


@dataclass(kw_only=True)
class Publishing:
    """A world, and system images in it."""

    world: World
    images: SystemImages

    async def caller_of(self, subject_id: str) -> Caller:
        return await Access(database=self.world.database).find_caller(Subject(id=subject_id))

    async def publish(self, image_id: str = AN_IMAGE.id, **options: str) -> str:
        """Publish as an administrator, and give the new image's id."""
        caller = await self.caller_of("ajeadmin")
        return (await self.images.publish(image_id, caller=caller, **options)).id

    async def list_names(self, subject_id: str, folder_id: str, **options: str) -> list[str]:
        """List a folder, an image to a page."""
        request = images.ListDesktopImagesRequest(folder_id=folder_id, page_size=1, **options)
        names: list[str] = []
        token = self.world.token_of(subject_id)
        while True:
            page = await self.world.answer(f"{SERVICE}/List", request, token)
            assert isinstance(page, images.ListDesktopImagesResponse)
            names += [each.name for each in page.desktop_images]
            request.page_token = page.next_page_token
            if not request.page_token:
                return names


@pytest.fixture
def publishing(tmp_path: Path) -> Iterator[Publishing]:
    """One folder has the usual image."""
    world = World(tmp_path)
    world.add_images(AN_IMAGE)
    yield Publishing(world=world, images=SystemImages(database=world.database, cloud=CLOUD))
    world.database.close()


@pytest.mark.proves("system.listed", of=["DesktopImageService/Get"])
async def test_everybody_sees_a_system_image(publishing: Publishing) -> None:
    """Whoever has a token, in an answer without a folder; nobody sees the image it was made of."""
    image_id = await publishing.publish()
    token = publishing.world.token_of(NOBODY)
    request = images.GetDesktopImageRequest(image_id=image_id)
    found = await publishing.world.answer(f"{SERVICE}/Get", request, token)
    image = publishing.world.database.read(get_image, AN_IMAGE.id)
    of_system = publishing.world.database.read(get_image, image_id)
    assert isinstance(found, DesktopImage)
    assert (found.id, found.folder_id, found.name) == (image_id, "", AN_IMAGE.name)
    assert of_system == replace(image, id=image_id, folder_id="", created_at=of_system.created_at)
    request.image_id = AN_IMAGE.id
    with pytest.raises(NotFoundError):
        await publishing.world.answer(f"{SERVICE}/Get", request, token)


@pytest.mark.proves("system.listed", of=["DesktopImageService/List"])
async def test_every_folder_lists_system_images(publishing: Publishing) -> None:
    """In one order with its own, and chosen by the same filter."""
    world = publishing.world
    for name in ("b", "d"):
        world.add_images(replace(AN_IMAGE, id=f"e3v{name}", name=name))
    for name in ("a", "c", "b"):
        await publishing.publish(name=name)
    world.bind(NOBODY, "vdi.auditor", Resource.of_folder(OTHER_FOLDER))
    assert await publishing.list_names(NOBODY, OTHER_FOLDER, order_by="name") == ["a", "b", "c"]
    with pytest.raises(NotFoundError):
        await publishing.list_names(NOBODY, OWN_FOLDER)
    own = [AN_IMAGE.name, "a", "b", "b", "c", "d"]
    for direction, names in (("asc", own), ("desc", own[::-1])):
        order_by = f"status desc, name {direction}"
        assert await publishing.list_names("ajeadmin", OWN_FOLDER, order_by=order_by) == names
    by_age = await publishing.list_names("ajeadmin", OWN_FOLDER, order_by="created_at desc")
    assert by_age[:3] == ["b", "c", "a"]
    assert sorted(await publishing.list_names("ajeadmin", OWN_FOLDER)) == sorted(own)
    chosen = 'name IN ("b", "c", "x")'
    found = await publishing.list_names("ajeadmin", OWN_FOLDER, order_by="name", filter=chosen)
    assert found == ["b", "b", "c"]


@pytest.mark.proves(
    "system.listed", of=["DesktopImageService/Update", "DesktopImageService/Delete"]
)
async def test_nobody_changes_a_system_image(publishing: Publishing) -> None:
    """Whatever the role, the error says what an administrator can do."""
    image_id = await publishing.publish()
    update = images.UpdateDesktopImageRequest(
        image_id=image_id, name="new", update_mask=FieldMask(paths=["name"])
    )
    delete = images.DeleteDesktopImageRequest(image_id=image_id)
    for subject_id in ("ajeadmin", NOBODY):
        for method, request in (("Update", update), ("Delete", delete)):
            token = publishing.world.token_of(subject_id)
            with pytest.raises(SystemImageError, match="is a system image") as caught:
                await publishing.world.answer(f"{SERVICE}/{method}", request, token)
            assert "clouddesktop image withdraw" in caught.value.remedy
    assert publishing.world.database.read(get_image, image_id).name == AN_IMAGE.name


@pytest.mark.parametrize("role_id", ROLES)
async def test_who_publishes_and_withdraws(publishing: Publishing, role_id: str) -> None:
    """Those with the role on the cloud; on a folder it is not enough."""
    image_id = await publishing.publish()

    async def outcomes() -> list[type[CloudDesktopError] | None]:
        caller = await publishing.caller_of(NOBODY)
        found: list[type[CloudDesktopError] | None] = []
        for attempt in (
            publishing.images.publish(AN_IMAGE.id, name="new", caller=caller),
            publishing.images.withdraw(image_id, caller=caller),
        ):
            try:
                await attempt
            except CloudDesktopError as error:
                found.append(type(error))
            else:
                found.append(None)
        return found

    publishing.world.bind(NOBODY, role_id, FOLDER)
    assert await outcomes() == [NotFoundError] * 2  # of the cloud
    publishing.world.bind(NOBODY, role_id, CLOUD)
    may = role_id in {"vdi.admin", "admin"}
    assert await outcomes() == ([None] * 2 if may else [PermissionDeniedError] * 2)


async def test_names_of_system_images_are_unique(publishing: Publishing) -> None:
    """Among themselves; folders have names of their own."""
    image_id = await publishing.publish()
    with pytest.raises(AlreadyExistsError, match="with name"):
        await publishing.publish()
    with pytest.raises(AlreadyExistsError, match="system image already"):
        await publishing.publish(image_id)
    admin = await publishing.caller_of("ajeadmin")
    await publishing.images.withdraw(image_id, caller=admin)
    assert await publishing.publish() != image_id


async def test_only_what_is_there_is_published_and_withdrawn(publishing: Publishing) -> None:
    """An image that is being made is not yet; one of a folder is no system image."""
    admin = await publishing.caller_of("ajeadmin")
    new = replace(AN_IMAGE, id="e3vnew", name="new", status=ImageStatus.CREATING)
    publishing.world.add_images(new)
    with pytest.raises(ImageNotReadyToPublishError, match="CREATING"):
        await publishing.publish(new.id)
    with pytest.raises(NotASystemImageError, match=OWN_FOLDER):
        await publishing.images.withdraw(new.id, caller=admin)
    for missing in (publishing.publish("x"), publishing.images.withdraw("x", caller=admin)):
        with pytest.raises(NotFoundError):
            await missing
