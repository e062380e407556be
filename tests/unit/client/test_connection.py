"""Connections: what every call takes along, and what the convenient calls do."""

from __future__ import annotations

import uuid
from dataclasses import replace

import grpc
import pytest
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageRequest,
    GetDesktopImageRequest,
)

import clouddesktop.client
from clouddesktop.client import CallError, CloudDesktopError, Code, connect, open_sdk
from unit.client.scripted_api import FOLDER_ID, IMAGE_ID, ScriptedApi, an_image


async def test_a_refused_token_is_renewed_once(api: ScriptedApi) -> None:
    """A server that lost its tokens, in a restart say, does not end the call."""
    async with connect(api.profile) as connection:
        await connection.get_image(IMAGE_ID)
        api.refused_tokens.add("t1.1")
        assert (await connection.get_image(IMAGE_ID)).id == IMAGE_ID
    assert api.metadata[-1]["authorization"] == "Bearer t1.2"


async def test_a_second_refusal_is_an_error(api: ScriptedApi) -> None:
    """A key that gives no valid tokens does not loop."""
    api.refused_tokens.update({"t1.1", "t1.2", "t1.3"})
    async with connect(api.profile) as connection:
        with pytest.raises(CallError) as caught:
            await connection.get_image(IMAGE_ID)
    assert caught.value.code is Code.UNAUTHENTICATED
    assert len(api.jwts) == 2


async def test_calls_without_a_key_send_no_token(api: ScriptedApi) -> None:
    """The server decides what an anonymous caller may do."""
    async with connect(replace(api.profile, key=None)) as connection:
        with pytest.raises(CallError) as caught:
            await connection.get_image(IMAGE_ID)
    assert caught.value.code is Code.UNAUTHENTICATED
    assert "authorization" not in api.metadata[-1]


async def test_only_changing_calls_carry_an_idempotency_key(api: ScriptedApi) -> None:
    """The raw stubs send one by themselves, so that a repeated call is safe."""
    async with connect(api.profile) as connection:
        await connection.images.Get(GetDesktopImageRequest(image_id=IMAGE_ID))
        await connection.images.Copy(CopyDesktopImageRequest(name="a"))
    get, copy = api.metadata
    assert "idempotency-key" not in get
    assert str(uuid.UUID(copy["idempotency-key"])) == copy["idempotency-key"]


async def test_a_given_idempotency_key_is_kept(api: ScriptedApi) -> None:
    """A caller that repeats a copy on purpose uses its own."""
    key = str(uuid.uuid4())
    async with connect(api.profile) as connection:
        await connection.copy_image(compute_image_id="a", name="b", idempotency_key=key)
    assert api.metadata[-1]["idempotency-key"] == key


async def test_copy_sends_what_was_said(api: ScriptedApi) -> None:
    """The profile's folder is the default."""
    async with connect(api.profile) as connection:
        await connection.copy_image(
            compute_image_id="debian12", name="D", labels={"a": "b"}, description="c"
        )
    assert api.copies == [
        CopyDesktopImageRequest(
            folder_id=FOLDER_ID, name="D", image_id="debian12", labels={"a": "b"}, description="c"
        )
    ]


async def test_a_passing_fault_of_a_call_is_repeated(api: ScriptedApi) -> None:
    """UNAVAILABLE is tried again with the same key before the caller hears of it."""
    api.copied = grpc.StatusCode.UNAVAILABLE
    async with connect(api.profile) as connection:
        with pytest.raises(CallError):
            await connection.copy_image(compute_image_id="a", name="b")
    assert len(api.copies) > 1
    assert len({each["idempotency-key"] for each in api.metadata}) == 1


async def test_images_are_listed_over_all_pages(api: ScriptedApi) -> None:
    """The server gives two a page; images of other folders stay out."""
    api.images = [an_image(id=f"e3v{number}") for number in range(5)]
    api.images.append(an_image(id="other", folder_id="b1gother"))
    async with connect(api.profile) as connection:
        found = [each.id async for each in connection.iter_images()]
        other = [each.id async for each in connection.iter_images(folder_id="b1gother")]
    assert found == [f"e3v{number}" for number in range(5)]
    assert other == ["other"]


async def test_an_image_is_found_by_id_or_name(api: ScriptedApi) -> None:
    """A name counts in the folder only, and an id first."""
    api.images = [
        an_image(id="e3v1", name="first"),
        an_image(id="e3v2", name="second"),
        an_image(id="e3v3", name="e3v1"),
    ]
    async with connect(api.profile) as connection:
        assert (await connection.find_image("e3v1")).name == "first"
        assert (await connection.find_image("second")).id == "e3v2"
        with pytest.raises(CloudDesktopError, match="third") as caught:
            await connection.find_image("third")
    assert caught.value.code is Code.NOT_FOUND


def test_the_official_sdk_finds_cloud_desktop(api: ScriptedApi) -> None:
    """Scripts that use the official SDK need no channel of their own."""
    from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2_grpc import (  # noqa: PLC0415
        DesktopImageServiceStub,
    )
    from yandex.cloud.operation.operation_service_pb2_grpc import (  # noqa: PLC0415
        OperationServiceStub,
    )

    sdk = open_sdk(api.profile)
    image = sdk.client(DesktopImageServiceStub).Get(GetDesktopImageRequest(image_id=IMAGE_ID))
    assert image.id == IMAGE_ID
    assert sdk.client(OperationServiceStub) is not None


def test_the_sdk_needs_a_key(api: ScriptedApi) -> None:
    """Without one it would look for a cloud machine's metadata service."""
    with pytest.raises(CloudDesktopError, match="key"):
        open_sdk(replace(api.profile, key=None))


def test_public_names_are_there() -> None:
    """`clouddesktop.client` is the public API: its names exist, and in order."""
    names = clouddesktop.client.__all__
    assert names == sorted(names, key=lambda name: (name[0].islower(), name))
    assert all(hasattr(clouddesktop.client, name) for name in names)
