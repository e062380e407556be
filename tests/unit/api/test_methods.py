"""The methods: what they ask of the layers below, and what clients get."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped, unused-ignore]  # ships no types
    ErrorInfo,
    ResourceInfo,
)
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageMetadata,
    CopyDesktopImageRequest,
    GetDesktopImageRequest,
    ListDesktopImagesRequest,
)
from yandex.cloud.endpoint.api_endpoint_service_pb2 import (
    GetApiEndpointRequest,
    ListApiEndpointsRequest,
)
from yandex.cloud.endpoint.api_endpoint_service_pb2_grpc import ApiEndpointServiceStub
from yandex.cloud.iam.v1.iam_token_service_pb2 import CreateIamTokenRequest
from yandex.cloud.iam.v1.iam_token_service_pb2_grpc import IamTokenServiceStub
from yandex.cloud.operation.operation_service_pb2 import GetOperationRequest
from yandex.cloud.operation.operation_service_pb2_grpc import OperationServiceStub

from clouddesktop.api import desktop_images
from clouddesktop.catalog.operations import add_operation
from clouddesktop.copying.start import CopyRequest
from clouddesktop.iam.tokens import LIFETIME_SECONDS
from clouddesktop.model.access import Subject
from clouddesktop.model.image import ComputeImage
from clouddesktop.model.operation import Phase, Progress
from unit.api.serving import (
    ADVERTISED,
    AN_IMAGE,
    AN_OPERATION,
    FOLDER_ID,
    Served,
    an_image,
    details_of,
)
from unit.iam.signing import NOW, sign


async def failing(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_copy_hands_everything_on(served: Served) -> None:
    """The request, the caller; the operation comes back with its metadata."""
    request = CopyDesktopImageRequest(
        folder_id=FOLDER_ID,
        name="Ubuntu (ü)",
        image_id="debian12",
        labels={"a": "b"},
        description="d",
    )
    operation = await served.call(served.images.Copy, request)
    assert served.copies.started == [
        (
            CopyRequest(
                folder_id=FOLDER_ID,
                name="Ubuntu (ü)",
                compute_image_id="debian12",
                labels={"a": "b"},
                description="d",
            ),
            Subject(id="ajeadmin"),
            None,
        )
    ]
    assert operation.id == AN_OPERATION.id
    assert not operation.done
    metadata = CopyDesktopImageMetadata()
    assert operation.metadata.Unpack(metadata)
    assert metadata.image_id == AN_OPERATION.resource_id


async def test_get_gives_every_field(served: Served) -> None:
    """As the catalogue has it."""
    served.add_images(AN_IMAGE)
    image = await served.call(served.images.Get, GetDesktopImageRequest(image_id=AN_IMAGE.id))
    assert image.id == AN_IMAGE.id
    assert image.folder_id == FOLDER_ID
    assert image.name == AN_IMAGE.name
    assert image.description == "ü"
    assert dict(image.labels) == {"team": "vdi"}
    assert image.status == DesktopImage.ACTIVE
    assert image.created_at.ToJsonString() == "2026-11-24T12:30:00.123Z"
    assert image.storage_size == 1234
    assert image.min_disk_size == 4 << 20


async def test_what_is_missing_is_named_in_the_api_s_words(served: Served) -> None:
    """`<Resource> <id> not found`, with ResourceInfo."""
    operations: Any = OperationServiceStub(served.channel)
    endpoints: Any = ApiEndpointServiceStub(served.channel)
    for resource, call in {
        "Image": served.call(served.images.Get, GetDesktopImageRequest(image_id="none")),
        "Folder": served.call(served.images.List, ListDesktopImagesRequest(folder_id="none")),
        "Operation": served.call(operations.Get, GetOperationRequest(operation_id="none")),
        "Endpoint": served.call(endpoints.Get, GetApiEndpointRequest(api_endpoint_id="none")),
    }.items():
        error = await failing(call)
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert error.details() == f"{resource} none not found"
        info, missing = details_of(error, ErrorInfo, ResourceInfo)
        assert info.reason == "NOT_FOUND"
        assert (missing.resource_type, missing.resource_name) == (resource, "none")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 6, 7])
async def test_pages_hold_each_image_once(served: Served, count: int) -> None:
    """A token comes only when there is more, and the page size may change on the way."""
    served.add_images(*(an_image(number) for number in range(count)))
    ids: list[str] = []
    token, page_size = "", 1
    while True:
        request = ListDesktopImagesRequest(
            folder_id=FOLDER_ID, page_size=page_size, page_token=token
        )
        page = await served.call(served.images.List, request)
        assert len(page.desktop_images) == min(page_size, count - len(ids))
        ids += [each.id for each in page.desktop_images]
        token = page.next_page_token
        assert len(token) <= 100
        assert bool(token) == (len(ids) < count)
        if not token:
            break
        page_size += 1
    assert ids == [an_image(number).id for number in range(count)]


@pytest.mark.proves("list.whole", of=["DesktopImageService/List"])
async def test_images_that_come_and_go_disturb_no_page(served: Served) -> None:
    """Neither twice nor skipped: a page goes on after the last id, there or not."""
    served.add_images(*(an_image(number) for number in (1, 3, 5)))
    first = await served.call(
        served.images.List, ListDesktopImagesRequest(folder_id=FOLDER_ID, page_size=2)
    )
    served.add_images(*(an_image(number) for number in (2, 4, 6)))
    second = await served.call(
        served.images.List,
        ListDesktopImagesRequest(folder_id=FOLDER_ID, page_token=first.next_page_token),
    )
    assert [each.name for each in first.desktop_images] == ["1", "3"]
    assert [each.name for each in second.desktop_images] == ["4", "5", "6"]


@pytest.mark.proves("list.default", of=["DesktopImageService/List"])
async def test_a_page_has_100_images_by_default(served: Served) -> None:
    """As the public API does when page_size is 0."""
    served.add_images(*(an_image(number) for number in range(101)))
    page = await served.call(served.images.List, ListDesktopImagesRequest(folder_id=FOLDER_ID))
    assert len(page.desktop_images) == 100
    assert page.next_page_token


async def test_a_page_never_outgrows_a_message(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of large images ends early, with at least one image, and goes on with a token."""
    monkeypatch.setattr(desktop_images, "_MOST_PAGE_BYTES", 3000)
    served.add_images(*(an_image(number, description="d" * 1024) for number in range(5)))
    sizes: list[int] = []
    token = ""
    while not sizes or token:
        page = await served.call(
            served.images.List, ListDesktopImagesRequest(folder_id=FOLDER_ID, page_token=token)
        )
        sizes.append(len(page.desktop_images))
        token = page.next_page_token
    assert sizes == [2, 2, 1]
    monkeypatch.setattr(desktop_images, "_MOST_PAGE_BYTES", 1)
    page = await served.call(served.images.List, ListDesktopImagesRequest(folder_id=FOLDER_ID))
    assert len(page.desktop_images) == 1


@pytest.mark.parametrize("token", ["garbage", "AAAA", "ü", "a" * 100, "!"])
async def test_a_token_that_is_not_ours_is_an_invalid_argument(served: Served, token: str) -> None:
    """Named as the violation of its field."""
    request = ListDesktopImagesRequest(folder_id=FOLDER_ID, page_token=token)
    error = await failing(served.call(served.images.List, request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.details() or "").startswith("Validation error:\npage_token: ")


async def test_an_order_that_is_not_understood_is_an_invalid_argument(served: Served) -> None:
    """Named as the violation of its field."""
    request = ListDesktopImagesRequest(folder_id=FOLDER_ID, order_by="size")
    error = await failing(served.call(served.images.List, request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.details() or "").startswith("Validation error:\norder_by: images cannot be")


async def test_a_filter_that_is_not_understood_is_an_invalid_argument(served: Served) -> None:
    """Named as the violation of its field."""
    request = ListDesktopImagesRequest(folder_id=FOLDER_ID, filter="status = 1")
    error = await failing(served.call(served.images.List, request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.details() or "").startswith("Validation error:\nfilter: images are filtered by")


async def test_an_operation_comes_with_its_progress(served: Served) -> None:
    """In the trailing metadata, as JSON; the answer itself is the public API's."""
    progress = Progress(
        phase=Phase.COPYING,
        bytes_total=10,
        bytes_done=6,
        bytes_new=3,
        bytes_stored=1,
        bytes_deduplicated=2,
        bytes_zero=1,
    )
    operation = replace(
        AN_OPERATION,
        modified_at=AN_OPERATION.created_at + timedelta(seconds=1),
        progress=progress,
    )
    served.add_images(AN_IMAGE)
    served.database.write(
        add_operation,
        operation,
        compute_image=ComputeImage(id="debian12", folder_id=FOLDER_ID, source="s", location="l"),
        workflow_id=None,
    )
    operations: Any = OperationServiceStub(served.channel)
    call = operations.Get(
        GetOperationRequest(operation_id=operation.id), metadata=(served.authorization,)
    )
    answer = await call
    assert answer.id == operation.id
    assert answer.created_by == "ajeadmin"
    assert answer.modified_at.seconds == answer.created_at.seconds + 1
    assert answer.WhichOneof("result") is None
    trailers = dict(await call.trailing_metadata())
    assert json.loads(trailers["x-operation-progress"]) == progress.to_record()
    assert trailers["x-request-id"]


@pytest.mark.proves("endpoint.list")
async def test_every_endpoint_is_this_server(served: Served) -> None:
    """Without a token: this is how clients find where to get one."""
    endpoints: Any = ApiEndpointServiceStub(served.channel)
    listed = await served.call(endpoints.List, ListApiEndpointsRequest(), authorized=False)
    ids = [each.id for each in listed.endpoints]
    assert {
        "iam",
        "operation",
        "compute",
        "resource-manager",
        "endpoint",
        "clouddesktops",
    } <= set(ids)
    assert {each.address for each in listed.endpoints} == {ADVERTISED}
    for each in ids:
        request = GetApiEndpointRequest(api_endpoint_id=each)
        one = await served.call(endpoints.Get, request, authorized=False)
        assert (one.id, one.address) == (each, ADVERTISED)


@pytest.mark.proves("iam.jwt")
@pytest.mark.proves("auth.open", of=["IamTokenService/*"])
async def test_a_jwt_becomes_a_token_that_works(served: Served) -> None:
    """Without a token to begin with."""
    iam: Any = IamTokenServiceStub(served.channel)
    issued = await served.call(iam.Create, CreateIamTokenRequest(jwt=sign()), authorized=False)
    assert issued.expires_at.seconds == NOW + LIFETIME_SECONDS
    header = ("authorization", f"Bearer {issued.iam_token}")
    request = ListDesktopImagesRequest(folder_id=FOLDER_ID)
    await served.call(served.images.List, request, header, authorized=False)


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"jwt": "nonsense"}, grpc.StatusCode.UNAUTHENTICATED, "JWT_REFUSED"),
        ({"jwt": ""}, grpc.StatusCode.UNAUTHENTICATED, "JWT_REFUSED"),
        ({"jwt": "a" * 8001}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        ({}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        ({"yandex_passport_oauth_token": "x"}, grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED"),
    ],
)
@pytest.mark.proves("iam.jwt")
async def test_what_is_no_good_jwt_gets_no_token(
    served: Served, fields: dict[str, str], code: grpc.StatusCode, reason: str
) -> None:
    """Each with its reason."""
    iam: Any = IamTokenServiceStub(served.channel)
    error = await failing(
        served.call(iam.Create, CreateIamTokenRequest(**fields), authorized=False)
    )
    assert error.code() is code
    assert details_of(error, ErrorInfo)[0].reason == reason
