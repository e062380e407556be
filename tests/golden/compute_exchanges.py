"""What goes over the wire for the compute API's ImageService; exchanges.py says where from."""

from __future__ import annotations

from collections.abc import Iterator

from golden.exchange import COMPUTE, ID, OPERATION, PAGE_TOKEN, Exchange, begun, finished
from golden.prepared import (
    ANY,
    EMPTY,
    IMPORT_JSON,
    IMPORTED_JSON,
    IMPORTING_JSON,
)
from unit.api.serving import FOLDER_ID

_SERVICE, _PATH = f"{COMPUTE}.ImageService", "/compute/v1/images"
_ID = IMPORTED_JSON["id"]


def iter_compute_exchanges() -> Iterator[Exchange]:
    """Go through its methods, but for those on bindings."""
    yield from _reads()
    yield from _lists()
    yield from _changes()


def _reads() -> Iterator[Exchange]:
    for name, image in {"ready": IMPORTED_JSON, "coming": IMPORTING_JSON}.items():
        yield Exchange(
            name=f"get a compute image that is {name}",
            method=f"{_SERVICE}/Get",
            request=(f"{COMPUTE}.GetImageRequest", {"imageId": image["id"]}),
            answer=(f"{COMPUTE}.Image", image),
            rest=("GET", f"{_PATH}/{image['id']}", None),
        )
    yield Exchange(
        name="get the latest compute image of a family",
        method=f"{_SERVICE}/GetLatestByFamily",
        request=(
            f"{COMPUTE}.GetImageLatestByFamilyRequest",
            {"folderId": FOLDER_ID, "family": "ubuntu-2004"},
        ),
        answer=(f"{COMPUTE}.Image", IMPORTED_JSON),
        rest=("GET", f"{_PATH}:latestByFamily?folderId={FOLDER_ID}&family=ubuntu-2004", None),
    )


def _lists() -> Iterator[Exchange]:
    for name, words, query, answer in (
        ("", {}, "", {"images": [IMPORTED_JSON, IMPORTING_JSON]}),
        (
            " by name",
            {"filter": 'name="ubuntu-2004-lts"', "orderBy": "id asc"},
            "&filter=name%3D%22ubuntu-2004-lts%22&orderBy=id+asc",
            {"images": [IMPORTED_JSON]},
        ),
        (
            " page by page",
            {"pageSize": "1"},
            "&page_size=1",
            {"images": [IMPORTED_JSON], "nextPageToken": PAGE_TOKEN},
        ),
        (" of no name", {"filter": "name = none"}, "&filter=name+%3D+none", {}),
    ):
        yield Exchange(
            name=f"list compute images{name}",
            method=f"{_SERVICE}/List",
            request=(f"{COMPUTE}.ListImagesRequest", {"folderId": FOLDER_ID, **words}),
            answer=(f"{COMPUTE}.ListImagesResponse", answer),
            rest=("GET", f"{_PATH}?folderId={FOLDER_ID}{query}", None),
        )
    yield Exchange(
        name="list the operations on a compute image",
        method=f"{_SERVICE}/ListOperations",
        request=(f"{COMPUTE}.ListImageOperationsRequest", {"imageId": _ID, "pageSize": "5"}),
        answer=(f"{COMPUTE}.ListImageOperationsResponse", {"operations": [IMPORT_JSON]}),
        rest=("GET", f"{_PATH}/{_ID}/operations?pageSize=5", None),
    )


def _changes() -> Iterator[Exchange]:
    new = {
        "folderId": FOLDER_ID,
        "name": "golden",
        "family": "ubuntu-2004",
        "labels": {"a": "b"},
        "uri": "https://storage.example/golden.qcow2?signature=x",
        "os": {"type": "LINUX"},
    }
    yield Exchange(
        name="create a compute image from a URL",
        method=f"{_SERVICE}/Create",
        request=(f"{COMPUTE}.CreateImageRequest", new),
        answer=(
            f"{OPERATION}.Operation",
            begun("Create image", f"{COMPUTE}.CreateImageMetadata", {"imageId": ID}),
        ),
        rest=("POST", _PATH, new),
    )
    changes = {"updateMask": "name,labels", "name": "silver"}
    changed = {name: value for name, value in IMPORTED_JSON.items() if name != "labels"}
    yield Exchange(
        name="update a compute image",
        method=f"{_SERVICE}/Update",
        request=(f"{COMPUTE}.UpdateImageRequest", {"imageId": _ID, **changes}),
        answer=(
            f"{OPERATION}.Operation",
            finished(
                "Update image",
                f"{COMPUTE}.UpdateImageMetadata",
                {"imageId": _ID},
                {"@type": f"{ANY}{COMPUTE}.Image", **changed, "name": "silver"},
            ),
        ),
        rest=("PATCH", f"{_PATH}/{_ID}", changes),
    )
    yield Exchange(
        name="delete a compute image",
        method=f"{_SERVICE}/Delete",
        request=(f"{COMPUTE}.DeleteImageRequest", {"imageId": _ID}),
        answer=(
            f"{OPERATION}.Operation",
            finished("Delete image", f"{COMPUTE}.DeleteImageMetadata", {"imageId": _ID}, EMPTY),
        ),
        rest=("DELETE", f"{_PATH}/{_ID}", None),
    )
