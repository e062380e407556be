"""REST and gRPC are one API: the same scenario by both, with equal answers; and REST's own ways."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.rpc import error_details_pb2  # noqa: F401  (details name its types)
from yandex.cloud.clouddesktop.v1 import desktop_image_service_pb2 as images
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.operation.operation_pb2 import Operation

from parts.disks import MIB, random_bytes, write_raw
from parts.official import OfficialClient, refused
from parts.rest import RestClient
from parts.server import ServerProcess

IMAGES = "/cloud-desktop/v1/images"


@pytest.fixture
def rest(server: ServerProcess) -> Iterator[RestClient]:
    with RestClient(server.profile) as client:
        yield client


@pytest.fixture
def client(server: ServerProcess) -> OfficialClient:
    return OfficialClient(server.profile)


@pytest.fixture
def compute_image(sources_dir: Path) -> str:
    write_raw(sources_dir / "golden.raw", size=4 * MIB, data={0: random_bytes(2 * MIB, seed=1)})
    return "golden"


def parsed(answer: Any, kind: type[Message]) -> Message:
    """Read JSON as strictly as the library does: a field that does not exist is an error."""
    return json_format.ParseDict(answer, kind())


@pytest.mark.proves("client.wires", of=["DesktopImageService/*", "OperationService/Get"])
def test_both_wires_tell_the_same(
    rest: RestClient, client: OfficialClient, compute_image: str
) -> None:
    """Copy, wait, Get, List with a filter, Update with a mask, Delete; compared as messages."""
    started = rest.call(
        "POST",
        f"{IMAGES}:copy",
        json={
            "folderId": rest.folder_id,
            "imageId": compute_image,
            "name": "by REST",
            "labels": {"wire": "rest"},
        },
    )
    assert started["metadata"]["@type"] == (
        "type.googleapis.com/yandex.cloud.clouddesktop.v1.api.CopyDesktopImageMetadata"
    )
    done = rest.wait(started["id"])
    operation = client.get_operation(started["id"])
    assert parsed(done, Operation) == operation
    image = DesktopImage()
    assert operation.response.Unpack(image)

    got = rest.call("GET", f"{IMAGES}/{image.id}")
    assert parsed(got, DesktopImage) == image
    assert got["storageSize"] == str(image.storage_size)
    assert got["status"] == "ACTIVE"
    assert "description" not in got

    by_name = {"folderId": rest.folder_id, "filter": 'name="by REST"', "pageSize": "1"}
    listed = rest.call("GET", IMAGES, params=by_name)
    assert listed == {"desktopImages": [got]}
    request = images.ListDesktopImagesRequest(
        folder_id=rest.folder_id, filter='name="by REST"', page_size=1
    )
    assert parsed(listed, images.ListDesktopImagesResponse) == client.images.List(request)
    nothing = {"folderId": rest.folder_id, "filter": 'name="none"'}
    assert rest.call("GET", IMAGES, params=nothing) == {}

    patch = {"description": "seen", "labels": {}, "updateMask": "description,labels"}
    changed = rest.call("PATCH", f"{IMAGES}/{image.id}", json=patch)
    assert changed["response"]["description"] == "seen"
    assert "labels" not in changed["response"]
    mask = FieldMask(paths=["description"])
    by_grpc = client.images.Update(
        images.UpdateDesktopImageRequest(image_id=image.id, description="again", update_mask=mask)
    )
    assert rest.call("GET", f"/operations/{by_grpc.id}")["response"]["description"] == "again"

    gone = rest.call("DELETE", f"{IMAGES}/{image.id}")
    assert gone["response"] == {"@type": "type.googleapis.com/google.protobuf.Empty"}
    assert parsed(gone, Operation) == client.get_operation(gone["id"])


@pytest.mark.parametrize(
    ("path", "status"), [(f"{IMAGES}/e3vnone", 404), (IMAGES, 400), (f"{IMAGES}:copy", 400)]
)
@pytest.mark.proves(
    "errors.rest",
    of=["DesktopImageService/Copy", "DesktopImageService/Get", "DesktopImageService/List"],
)
def test_errors_are_the_same_status(
    rest: RestClient, client: OfficialClient, path: str, status: int
) -> None:
    """The Status with its details in JSON, but for the request's id, which is the header's."""
    body = {"name": "x" * 51} if path.endswith("copy") else None
    answer = rest.http.request("POST" if body else "GET", path, json=body)
    assert answer.status_code == status
    told = answer.json()
    calls = {
        404: lambda: client.images.Get(images.GetDesktopImageRequest(image_id="e3vnone")),
        400: lambda: (
            client.images.Copy(images.CopyDesktopImageRequest(name="x" * 51))
            if body
            else client.images.List(images.ListDesktopImagesRequest())
        ),
    }
    by_grpc = json_format.MessageToDict(refused(calls[status]).status)
    for each in (told, by_grpc):
        for detail in each["details"]:
            if detail["@type"].endswith("RequestInfo"):
                if each is told:
                    assert detail["requestId"] == answer.headers["x-request-id"]
                detail["requestId"] = "-"
    assert told == by_grpc


def test_headers_are_those_of_grpc(rest: RestClient, compute_image: str) -> None:
    """Idempotency-Key, ids, progress; WWW-Authenticate without a token."""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"folderId": rest.folder_id, "imageId": compute_image, "name": "once"}
    first, second = (rest.call("POST", f"{IMAGES}:copy", json=body, headers=key) for _ in range(2))
    assert first["id"] == second["id"]
    told = rest.call("POST", f"{IMAGES}:copy", json={**body, "name": "x"}, headers=key, status=400)
    assert told["details"][0]["reason"] == "IDEMPOTENCY_KEY_REUSED"
    rest.wait(first["id"])
    answer = rest.http.get(f"/operations/{first['id']}")
    assert json.loads(answer.headers["x-operation-progress"])["phase"] == "done"
    assert len(answer.headers.get_list("x-request-id")) == 1
    anonymous = rest.http.get(IMAGES + "/e3v", headers={"authorization": ""})
    assert anonymous.status_code == 401
    assert anonymous.headers["www-authenticate"] == "Bearer"
    late = rest.http.get(f"/operations/{first['id']}", headers={"X-Server-Timeout": "soon"})
    assert late.status_code == 400


def test_bodies_may_be_packed(rest: RestClient, compute_image: str) -> None:
    """Both ways, and never beyond the bound."""
    body = {"folderId": rest.folder_id, "imageId": compute_image, "name": "packed"}
    packed = {"content-encoding": "gzip"}
    started = rest.call(
        "POST", f"{IMAGES}:copy", content=gzip.compress(json.dumps(body).encode()), headers=packed
    )
    rest.wait(started["id"])
    for content, status in (
        (gzip.compress(bytes(50 << 20)), 413),
        (b"no gzip", 400),
        (gzip.compress(b"{}")[:-4], 400),
    ):
        answer = rest.http.post(f"{IMAGES}:copy", content=content, headers=packed)
        assert answer.status_code == status, answer.text
    roles = rest.http.get("/iam/v1/roles")
    assert roles.headers["content-encoding"] == "gzip"
    assert len(roles.json()["roles"]) > 20


@pytest.mark.proves("operation.cancel-verbs")
def test_cancel_takes_get_and_post(rest: RestClient, compute_image: str) -> None:
    """What has ended comes back as it is, by either."""
    body = {"folderId": rest.folder_id, "imageId": compute_image, "name": "done"}
    started = rest.call("POST", f"{IMAGES}:copy", json=body)
    done = rest.wait(started["id"])
    for verb in ("GET", "POST"):
        assert rest.call(verb, f"/operations/{done['id']}:cancel") == done


@pytest.mark.proves("wire.not-served")
def test_what_is_known_and_not_served_says_so(rest: RestClient) -> None:
    """501 for methods of the API, 405 with Allow for other verbs, 404 for other paths."""
    assert rest.call("POST", f"{IMAGES}:copyFromDesktop", json={}, status=501)["code"] == 12
    assert rest.call("GET", "/cloud-desktop/v1/desktops/x", status=501)["code"] == 12
    answer = rest.http.put(f"{IMAGES}/e3v")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "PATCH", "DELETE"}
    assert rest.call("GET", "/cloud-desktop/v9", status=404)["code"] == 5
    head: httpx.Response = rest.http.head("/endpoints")
    assert (head.status_code, head.content) == (200, b"")
