"""What goes over the wire for each method that is served: the request and its answer, as JSON.

Written by hand from the public API's definitions, not from answers of ours. What differs from run
to run stands as a pattern.
"""

from __future__ import annotations

from collections.abc import Iterator

from clouddesktop.model.roles import ROLES
from golden.compute_exchanges import iter_compute_exchanges
from golden.exchange import (
    ACCESS,
    COMPUTE,
    ENDPOINT,
    IAM,
    ID,
    OPERATION,
    PAGE_TOKEN,
    TOKEN,
    Exchange,
    begun,
    finished,
)
from golden.identity_exchanges import iter_identity_exchanges
from golden.prepared import (
    ACCOUNT_JSON,
    ANY,
    CANCELLED_JSON,
    COPIED_JSON,
    DELETED_JSON,
    EMPTY,
    EMPTY_FOLDER_JSON,
    FAILING_JSON,
    FOLDER_JSON,
    FOLDER_UPDATED_JSON,
    FULL_IMAGE_JSON,
    IMAGE_JSON,
    IMAGES,
    IMPORTED_JSON,
    INSTANT,
    MANAGER,
    RUNNING_JSON,
)
from golden.quota_exchanges import iter_quota_exchanges
from unit.api.serving import ADVERTISED, FOLDER_ID
from unit.iam.signing import sign

ADMIN = {"roleId": "admin", "subject": {"id": "ajeadmin", "type": "serviceAccount"}}
VIEWER = {"roleId": "viewer", "subject": {"id": "ajeviewer", "type": "serviceAccount"}}
CLOUD_JSON = {"id": "b1ccloud", "createdAt": "2026-11-24T12:30:00.123Z", "name": "default"}
_IMAGES_PATH = "/cloud-desktop/v1/images"
_FOLDERS_PATH = "/resource-manager/v1/folders"
_CLOUDS_PATH = "/resource-manager/v1/clouds"


def iter_exchanges() -> Iterator[Exchange]:
    yield from _image_exchanges()
    yield from _operation_exchanges()
    yield from _open_exchanges()
    yield from _folder_exchanges()
    yield from _cloud_and_role_exchanges()
    yield from _binding_exchanges()
    yield from iter_compute_exchanges()
    yield from iter_identity_exchanges()
    yield from iter_quota_exchanges()


def _image_exchanges() -> Iterator[Exchange]:
    service, path = f"{IMAGES}.DesktopImageService", _IMAGES_PATH
    image_type, operation_type = f"{IMAGES}.DesktopImage", f"{OPERATION}.Operation"
    for name, image in {"an image": IMAGE_JSON, "a whole image": FULL_IMAGE_JSON}.items():
        yield Exchange(
            name=f"get {name}",
            method=f"{service}/Get",
            request=(f"{IMAGES}.GetDesktopImageRequest", {"imageId": image["id"]}),
            answer=(image_type, image),
            rest=("GET", f"{path}/{image['id']}", None),
        )
    yield Exchange(
        name="list images",
        method=f"{service}/List",
        request=(f"{IMAGES}.ListDesktopImagesRequest", {"folderId": FOLDER_ID}),
        answer=(
            f"{IMAGES}.ListDesktopImagesResponse",
            {"desktopImages": [IMAGE_JSON, FULL_IMAGE_JSON]},
        ),
        rest=("GET", f"{path}?folderId={FOLDER_ID}", None),
    )
    yield Exchange(
        name="list no images",
        method=f"{service}/List",
        request=(
            f"{IMAGES}.ListDesktopImagesRequest",
            {"folderId": FOLDER_ID, "pageSize": "1", "filter": 'name="none"'},
        ),
        answer=(f"{IMAGES}.ListDesktopImagesResponse", {}),
        rest=("GET", f"{path}?folder_id={FOLDER_ID}&page_size=1&filter=name%3D%22none%22", None),
    )
    yield Exchange(
        name="list a page of images",
        method=f"{service}/List",
        request=(
            f"{IMAGES}.ListDesktopImagesRequest",
            {"folderId": FOLDER_ID, "pageSize": "1"},
        ),
        answer=(
            f"{IMAGES}.ListDesktopImagesResponse",
            {"desktopImages": [IMAGE_JSON], "nextPageToken": PAGE_TOKEN},
        ),
        rest=("GET", f"{path}?folderId={FOLDER_ID}&pageSize=1", None),
    )
    copy = {"folderId": FOLDER_ID, "name": "x", "imageId": "debian12", "labels": {"a": ""}}
    for name, answer in {"new": RUNNING_JSON, "known": COPIED_JSON}.items():
        yield Exchange(
            name=f"copy {name} content",
            method=f"{service}/Copy",
            request=(f"{IMAGES}.CopyDesktopImageRequest", copy),
            answer=(operation_type, answer),
            rest=("POST", f"{path}:copy", copy),
            copies_done=name == "known",
        )
    changes = {"updateMask": "description,labels", "description": "d", "labels": {"a": "b"}}
    metadata = {"imageId": IMAGE_JSON["id"]}
    changed = {**IMAGE_JSON, "description": "d", "labels": {"a": "b"}}
    yield Exchange(
        name="update an image",
        method=f"{service}/Update",
        request=(f"{IMAGES}.UpdateDesktopImageRequest", {"imageId": IMAGE_JSON["id"], **changes}),
        answer=(
            operation_type,
            begun(
                "Update desktop image",
                f"{IMAGES}.UpdateDesktopImageMetadata",
                metadata,
                done=True,
                response={"@type": f"{ANY}{image_type}", **changed},
            ),
        ),
        rest=("PATCH", f"{path}/{IMAGE_JSON['id']}", changes),
    )
    yield Exchange(
        name="delete an image",
        method=f"{service}/Delete",
        request=(f"{IMAGES}.DeleteDesktopImageRequest", metadata),
        answer=(
            operation_type,
            begun(
                "Delete desktop image",
                f"{IMAGES}.DeleteDesktopImageMetadata",
                metadata,
                done=True,
                response={"@type": f"{ANY}google.protobuf.Empty"},
            ),
        ),
        rest=("DELETE", f"{path}/{IMAGE_JSON['id']}", None),
    )


def _operation_exchanges() -> Iterator[Exchange]:
    for name, operation in {
        "running": RUNNING_JSON,
        "finished": COPIED_JSON,
        "deleting": DELETED_JSON,
        "cancelled": CANCELLED_JSON,
        "failing": FAILING_JSON,
    }.items():
        yield Exchange(
            name=f"get a {name} operation",
            method=f"{OPERATION}.OperationService/Get",
            request=(f"{OPERATION}.GetOperationRequest", {"operationId": operation["id"]}),
            answer=(f"{OPERATION}.Operation", operation),
            rest=("GET", f"/operations/{operation['id']}", None),
        )
    for verb in ("GET", "POST"):
        yield Exchange(
            name=f"cancel a finished operation by {verb}",
            method=f"{OPERATION}.OperationService/Cancel",
            request=(f"{OPERATION}.CancelOperationRequest", {"operationId": COPIED_JSON["id"]}),
            answer=(f"{OPERATION}.Operation", COPIED_JSON),
            rest=(verb, f"/operations/{COPIED_JSON['id']}:cancel", None),
        )


def _open_exchanges() -> Iterator[Exchange]:
    """Go through the methods that need no token."""
    ids: tuple[str, ...] = ("clouddesktops", "compute", "endpoint", "iam", "operation")
    ids += ("quota-manager", "resource-manager")
    yield Exchange(
        name="list endpoints",
        method=f"{ENDPOINT}.ApiEndpointService/List",
        request=(f"{ENDPOINT}.ListApiEndpointsRequest", {}),
        answer=(
            f"{ENDPOINT}.ListApiEndpointsResponse",
            {"endpoints": [{"id": each, "address": ADVERTISED} for each in ids]},
        ),
        rest=("GET", "/endpoints", None),
    )
    yield Exchange(
        name="get an endpoint",
        method=f"{ENDPOINT}.ApiEndpointService/Get",
        request=(f"{ENDPOINT}.GetApiEndpointRequest", {"apiEndpointId": "clouddesktops"}),
        answer=(f"{ENDPOINT}.ApiEndpoint", {"id": "clouddesktops", "address": ADVERTISED}),
        rest=("GET", "/endpoints/clouddesktops", None),
    )
    token = {"jwt": sign()}
    yield Exchange(
        name="create a token",
        method=f"{IAM}.IamTokenService/Create",
        request=(f"{IAM}.CreateIamTokenRequest", token),
        answer=(f"{IAM}.CreateIamTokenResponse", {"iamToken": TOKEN, "expiresAt": INSTANT}),
        rest=("POST", "/iam/v1/tokens", token),
    )


def _folder_exchanges() -> Iterator[Exchange]:
    service = f"{MANAGER}.FolderService"
    operation_type = f"{OPERATION}.Operation"
    yield Exchange(
        name="get a folder",
        method=f"{service}/Get",
        request=(f"{MANAGER}.GetFolderRequest", {"folderId": FOLDER_ID}),
        answer=(f"{MANAGER}.Folder", FOLDER_JSON),
        rest=("GET", f"{_FOLDERS_PATH}/{FOLDER_ID}", None),
    )
    yield Exchange(
        name="list folders",
        method=f"{service}/List",
        request=(f"{MANAGER}.ListFoldersRequest", {"cloudId": "b1ccloud"}),
        answer=(f"{MANAGER}.ListFoldersResponse", {"folders": [EMPTY_FOLDER_JSON, FOLDER_JSON]}),
        rest=("GET", f"{_FOLDERS_PATH}?cloudId=b1ccloud", None),
    )
    new = {"cloudId": "b1ccloud", "name": "lab", "labels": {"a": "b"}}
    made = {**FOLDER_JSON, "id": ID, "createdAt": INSTANT, "name": "lab", "labels": {"a": "b"}}
    yield Exchange(
        name="create a folder",
        method=f"{service}/Create",
        request=(f"{MANAGER}.CreateFolderRequest", new),
        answer=(
            operation_type,
            begun(
                "Create folder",
                f"{MANAGER}.CreateFolderMetadata",
                {"folderId": ID},
                done=True,
                response={"@type": f"{ANY}{MANAGER}.Folder", **made},
            ),
        ),
        rest=("POST", _FOLDERS_PATH, new),
    )
    changes = {"updateMask": "name", "name": "lab"}
    yield Exchange(
        name="update a folder",
        method=f"{service}/Update",
        request=(f"{MANAGER}.UpdateFolderRequest", {"folderId": FOLDER_ID, **changes}),
        answer=(
            operation_type,
            begun(
                "Update folder",
                f"{MANAGER}.UpdateFolderMetadata",
                {"folderId": FOLDER_ID},
                done=True,
                response={"@type": f"{ANY}{MANAGER}.Folder", **FOLDER_JSON, "name": "lab"},
            ),
        ),
        rest=("PATCH", f"{_FOLDERS_PATH}/{FOLDER_ID}", changes),
    )
    metadata = {"folderId": EMPTY_FOLDER_JSON["id"]}
    yield Exchange(
        name="delete a folder",
        method=f"{service}/Delete",
        request=(f"{MANAGER}.DeleteFolderRequest", metadata),
        answer=(
            operation_type,
            finished("Delete folder", f"{MANAGER}.DeleteFolderMetadata", metadata, EMPTY),
        ),
        rest=("DELETE", f"{_FOLDERS_PATH}/{EMPTY_FOLDER_JSON['id']}", None),
    )
    yield Exchange(
        name="list a folder's operations",
        method=f"{service}/ListOperations",
        request=(
            f"{MANAGER}.ListFolderOperationsRequest",
            {"folderId": FOLDER_ID, "pageSize": "2"},
        ),
        answer=(
            f"{MANAGER}.ListFolderOperationsResponse",
            {"operations": [FOLDER_UPDATED_JSON]},
        ),
        rest=("GET", f"{_FOLDERS_PATH}/{FOLDER_ID}/operations?pageSize=2", None),
    )


def _cloud_and_role_exchanges() -> Iterator[Exchange]:
    yield Exchange(
        name="get a cloud",
        method=f"{MANAGER}.CloudService/Get",
        request=(f"{MANAGER}.GetCloudRequest", {"cloudId": "b1ccloud"}),
        answer=(f"{MANAGER}.Cloud", CLOUD_JSON),
        rest=("GET", f"{_CLOUDS_PATH}/b1ccloud", None),
    )
    yield Exchange(
        name="list clouds",
        method=f"{MANAGER}.CloudService/List",
        request=(f"{MANAGER}.ListCloudsRequest", {}),
        answer=(f"{MANAGER}.ListCloudsResponse", {"clouds": [CLOUD_JSON]}),
        rest=("GET", _CLOUDS_PATH, None),
    )
    role = {"id": "vdi.editor", "description": ROLES["vdi.editor"].description}
    yield Exchange(
        name="get a role",
        method=f"{IAM}.RoleService/Get",
        request=(f"{IAM}.GetRoleRequest", {"roleId": "vdi.editor"}),
        answer=(f"{IAM}.Role", role),
        rest=("GET", "/iam/v1/roles/vdi.editor", None),
    )
    yield Exchange(
        name="list roles",
        method=f"{IAM}.RoleService/List",
        request=(f"{IAM}.ListRolesRequest", {"filter": "name = 'vdi.editor'"}),
        answer=(f"{IAM}.ListRolesResponse", {"roles": [role]}),
        rest=("GET", "/iam/v1/roles?filter=name%20%3D%20%27vdi.editor%27", None),
    )


def _binding_exchanges() -> Iterator[Exchange]:
    for service, resource_id, path in (
        (f"{MANAGER}.FolderService", FOLDER_ID, _FOLDERS_PATH),
        (f"{MANAGER}.CloudService", "b1ccloud", _CLOUDS_PATH),
        (f"{COMPUTE}.ImageService", IMPORTED_JSON["id"], "/compute/v1/images"),
        (f"{IAM}.ServiceAccountService", ACCOUNT_JSON["id"], "/iam/v1/serviceAccounts"),
    ):
        noun = service.rpartition(".")[2]
        bound = [ADMIN] if noun == "CloudService" else []
        yield Exchange(
            name=f"list the bindings of a {noun}",
            method=f"{service}/ListAccessBindings",
            request=(f"{ACCESS}.ListAccessBindingsRequest", {"resourceId": resource_id}),
            answer=(
                f"{ACCESS}.ListAccessBindingsResponse",
                {"accessBindings": bound} if bound else {},
            ),
            rest=("GET", f"{path}/{resource_id}:listAccessBindings", None),
        )
        for verb, body in {
            "Set": {"accessBindings": [*bound, VIEWER]},
            "Update": {"accessBindingDeltas": [{"action": "ADD", "accessBinding": VIEWER}]},
        }.items():
            deltas = [{"action": "ADD", "accessBinding": VIEWER}]
            yield Exchange(
                name=f"{verb.lower()} the bindings of a {noun}",
                method=f"{service}/{verb}AccessBindings",
                request=(
                    f"{ACCESS}.{verb}AccessBindingsRequest",
                    {"resourceId": resource_id, **body},
                ),
                answer=(
                    f"{OPERATION}.Operation",
                    begun(
                        f"{verb} access bindings",
                        f"{ACCESS}.{verb}AccessBindingsMetadata",
                        {"resourceId": resource_id},
                        done=True,
                        response={
                            "@type": f"{ANY}{ACCESS}.AccessBindingsOperationResult",
                            "effectiveDeltas": deltas,
                        },
                    ),
                ),
                rest=("POST", f"{path}/{resource_id}:{verb.lower()}AccessBindings", body),
            )
