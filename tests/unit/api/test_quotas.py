"""Quotas of a cloud: kept under any number of calls, told with figures, counted from the images."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import CopyDesktopImageRequest
from yandex.cloud.quota.quota_pb2 import QuotaFailure
from yandex.cloud.quotamanager.v1 import quota_limit_service_pb2 as messages
from yandex.cloud.quotamanager.v1.resource_pb2 import Resource as ResourceMessage

from clouddesktop.api.status import to_status
from clouddesktop.catalog import copies, rolling_back
from clouddesktop.catalog.images import add_image, delete_image
from clouddesktop.catalog.operations import add_operation
from clouddesktop.catalog.quotas import QuotaExceededError, check_quotas, get_quota, set_limit
from clouddesktop.errors import Code, InvalidArgumentError, NotFoundError
from clouddesktop.model.access import Resource
from clouddesktop.model.image import ImageStatus
from clouddesktop.model.quota import QuotaId
from unit.api.access_world import OWN_FOLDER, World
from unit.api.serving import AN_OPERATION, an_image

CLOUD_ID = "b1ccloud"
COPY = "/yandex.cloud.clouddesktop.v1.api.DesktopImageService/Copy"
QUOTAS = "/yandex.cloud.quotamanager.v1.QuotaLimitService"
CALLS = 1000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.bind("ajeadmin", "admin", Resource.of_cloud(CLOUD_ID))
    yield world
    world.database.close()


async def read(world: World, method: str, request: Any) -> Any:
    return await world.answer(f"{QUOTAS}/{method}", request, world.token_of("ajeadmin"))


def the_cloud() -> ResourceMessage:
    return ResourceMessage(id=CLOUD_ID, type="resource-manager.cloud")


def usage(world: World, quota_id: QuotaId) -> int:
    return world.database.read(get_quota, CLOUD_ID, quota_id).usage


@pytest.mark.proves("quota.bound")
async def test_of_a_thousand_copies_at_once_as_many_succeed_as_the_quota_allows(
    world: World,
) -> None:
    """The others are RESOURCE_EXHAUSTED, each with the figures, and leave nothing."""
    world.database.write(set_limit, CLOUD_ID, QuotaId.IMAGES_COUNT, 10)
    token = world.token_of("ajeadmin")

    async def copy(number: int) -> QuotaExceededError | None:
        request = CopyDesktopImageRequest(
            folder_id=OWN_FOLDER, image_id=f"golden-{OWN_FOLDER}", name=str(number)
        )
        try:
            await world.answer(COPY, request, token)
        except QuotaExceededError as error:
            return error
        return None

    outcomes = await asyncio.gather(*map(copy, range(CALLS)))
    refusals = [each for each in outcomes if each is not None]
    assert len(refusals) == CALLS - 10
    assert usage(world, QuotaId.IMAGES_COUNT) == 10
    for each in refusals:
        assert each.code is Code.RESOURCE_EXHAUSTED
        assert each.message == "Quota limit vdi.desktopImages.count exceeded"
        (violation,) = quota_failure_of(each).violations
        assert (violation.metric.name, violation.metric.limit) == ("vdi.desktopImages.count", 10)
        assert (violation.metric.usage, violation.required) == (10, 11)


def quota_failure_of(error: QuotaExceededError) -> QuotaFailure:
    detail = QuotaFailure()
    (found,) = [
        each for each in to_status(error.failure, "r1").details if each.Is(QuotaFailure.DESCRIPTOR)
    ]
    found.Unpack(detail)
    return detail


def test_a_running_copy_reserves_what_it_is_going_to_read(world: World) -> None:
    """From its plan on; the stored size counts once it is done, and nothing once it is undone."""
    database = world.database
    stored = an_image(1, folder_id=OWN_FOLDER, storage_size=600)
    made = an_image(2, folder_id=OWN_FOLDER, storage_size=0, status=ImageStatus.CREATING)
    database.write(add_image, stored)
    database.write(add_image, made)
    operation = replace(AN_OPERATION, resource_id=made.id, folder_id=OWN_FOLDER)
    database.write(add_operation, operation)
    run = database.write(copies.begin_run, operation.id)
    assert run is not None
    database.write(set_limit, CLOUD_ID, QuotaId.IMAGES_SIZE, 1000)

    def plan(size: int) -> None:
        database.write(
            copies.record_plan,
            run,
            fingerprint="f",
            settled=True,
            disk_size=size,
            bytes_total=size,
        )

    with pytest.raises(QuotaExceededError) as caught:
        plan(401)
    assert caught.value.facts["usage"] == "600"
    assert caught.value.facts["required"] == "1001"
    assert usage(world, QuotaId.IMAGES_SIZE) == 600  # nothing of the refused plan is kept
    plan(400)
    assert usage(world, QuotaId.IMAGES_SIZE) == 1000
    with pytest.raises(QuotaExceededError):
        database.write(add_checked, an_image(3, folder_id=OWN_FOLDER, storage_size=1))
    database.write(rolling_back.roll_back, run)
    assert usage(world, QuotaId.IMAGES_SIZE) == 600
    database.write(add_checked, an_image(3, folder_id=OWN_FOLDER, storage_size=400))
    database.write(delete_image, stored.id)
    assert usage(world, QuotaId.IMAGES_SIZE) == 400


def add_checked(connection: Any, image: Any) -> None:
    """Do as a copy of known content does."""
    add_image(connection, image)
    check_quotas(connection, image.folder_id, {QuotaId.IMAGES_SIZE: image.storage_size})


def test_a_limit_below_what_is_there_keeps_others_out_only(world: World) -> None:
    """And goes away again; without one nothing is refused."""
    for number in range(3):
        world.database.write(add_image, an_image(number, folder_id=OWN_FOLDER))
    quota = world.database.write(set_limit, CLOUD_ID, QuotaId.IMAGES_COUNT, 1)
    assert (quota.limit, quota.usage) == (1, 3)
    with pytest.raises(QuotaExceededError) as caught:
        world.database.read(check_quotas, OWN_FOLDER, {QuotaId.IMAGES_COUNT: 1})
    assert caught.value.facts["required"] == "3"
    world.database.write(set_limit, CLOUD_ID, QuotaId.IMAGES_COUNT, None)
    world.database.read(check_quotas, OWN_FOLDER, {QuotaId.IMAGES_COUNT: 1})


async def test_the_service_tells_limits_and_usage(world: World) -> None:
    """A quota without a limit has none in its message."""
    world.database.write(add_image, an_image(1, folder_id=OWN_FOLDER, storage_size=7))
    world.database.write(set_limit, CLOUD_ID, QuotaId.IMAGES_SIZE, 1 << 40)
    services = await read(
        world, "ListServices", messages.ListServicesRequest(resource_type="resource-manager.cloud")
    )
    (service,) = services.services
    listed = await read(
        world, "List", messages.ListQuotaLimitsRequest(resource=the_cloud(), service=service.id)
    )
    count, size = listed.quota_limits
    assert (count.quota_id, size.quota_id) == ("vdi.desktopImages.count", "vdi.desktopImages.size")
    assert not count.HasField("limit")
    assert (count.usage.value, size.limit.value, size.usage.value) == (1, 1 << 40, 7)
    request = messages.GetQuotaLimitRequest(resource=the_cloud(), quota_id=size.quota_id)
    assert await read(world, "Get", request) == size


async def test_what_has_no_quota_is_told(world: World) -> None:
    """Another kind of resource, another quota, another service."""
    folder = ResourceMessage(id=OWN_FOLDER, type="resource-manager.folder")
    request = messages.GetQuotaLimitRequest(resource=folder, quota_id="vdi.desktopImages.count")
    with pytest.raises(InvalidArgumentError, match=r"resource\.type: Value must be"):
        await read(world, "Get", request)
    request = messages.GetQuotaLimitRequest(resource=the_cloud(), quota_id="vdi.desktops.count")
    with pytest.raises(NotFoundError, match=r"Quota vdi\.desktops\.count not found"):
        await read(world, "Get", request)
    other = messages.ListQuotaLimitsRequest(resource=the_cloud(), service="compute")
    with pytest.raises(NotFoundError, match="Service compute not found"):
        await read(world, "List", other)
