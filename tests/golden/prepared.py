"""What is in the catalogue when the golden calls are made, and how each of it looks in JSON.

Identifiers, instants and sizes are those of the public documentation's examples where it has some.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from clouddesktop.catalog.cancelling import cancel_operation
from clouddesktop.catalog.compute_images import add_imported_image
from clouddesktop.catalog.folders import add_folder
from clouddesktop.catalog.images import add_image
from clouddesktop.catalog.index_rebuild import fail_copy
from clouddesktop.catalog.keys import add_key
from clouddesktop.catalog.operations import add_operation
from clouddesktop.catalog.quotas import set_limit
from clouddesktop.catalog.service_accounts import add_service_account
from clouddesktop.errors import NotFoundError, OperationCancelledError
from clouddesktop.model.access import AuthorizedKey
from clouddesktop.model.compute import ComputeImageStatus, ImportedImage
from clouddesktop.model.folder import Folder
from clouddesktop.model.image import Image, ImageStatus
from clouddesktop.model.operation import OperationKind
from clouddesktop.model.quota import QuotaId
from clouddesktop.model.service_account import ServiceAccount
from unit.api.serving import AN_OPERATION, CREATED_AT, FOLDER_ID, Served

Json = Any

ANY = "type.googleapis.com/"
IMAGES = "yandex.cloud.clouddesktop.v1.api"
MANAGER = "yandex.cloud.resourcemanager.v1"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6}|\.\d{9})?Z")
"""RFC 3339 in UTC, with as many digits as protobuf's mapping has."""

# The image of the published guide to updating images, whose storage size is not shown.
IMAGE = Image(
    id="e3vc67qdve8q00000000",
    folder_id=FOLDER_ID,
    name="desktop-image-1",
    status=ImageStatus.ACTIVE,
    created_at=datetime(2023, 9, 13, 6, 38, 12, 285000, tzinfo=UTC),
    storage_size=0,
    min_disk_size=64424509440,
)
IMAGE_JSON: Json = {
    "id": "e3vc67qdve8q00000000",
    "folderId": FOLDER_ID,
    "createdAt": "2023-09-13T06:38:12.285Z",
    "status": "ACTIVE",
    "name": "desktop-image-1",
    "minDiskSize": "64424509440",
}
# One with something in every field; name and label are those of a system image of the real cloud.
FULL_IMAGE = Image(
    id="e3vvheamqk751hr09co9",
    folder_id=FOLDER_ID,
    name="Ubuntu 20.04 LTS (2024-12-03)",
    description="Образ ü",
    labels={"x-hopper-source-image-id": "fd8pi4srg296eb52abuk"},
    status=ImageStatus.DELETING,
    created_at=datetime(2024, 12, 3, 12, 0, 0, 1, tzinfo=UTC),
    storage_size=2**40 + 1,
    min_disk_size=4194304,
)
FULL_IMAGE_JSON: Json = {
    "id": "e3vvheamqk751hr09co9",
    "folderId": FOLDER_ID,
    "createdAt": "2024-12-03T12:00:00.000001Z",
    "status": "DELETING",
    "name": "Ubuntu 20.04 LTS (2024-12-03)",
    "labels": {"x-hopper-source-image-id": "fd8pi4srg296eb52abuk"},
    "storageSize": "1099511627777",
    "minDiskSize": "4194304",
    "description": "Образ ü",
}

_STARTED = datetime(2018, 8, 29, 18, 31, 15, 311000, tzinfo=UTC)  # the published example's
RUNNING = replace(
    AN_OPERATION,
    id="e3oq0j5033e516c56ctq",
    created_at=_STARTED,
    modified_at=_STARTED,
    created_by="ajewrh5sbqs5sdgss150",
    resource_id=IMAGE.id,
)
RUNNING_JSON: Json = {
    "id": "e3oq0j5033e516c56ctq",
    "description": "Copy desktop image",
    "createdAt": "2018-08-29T18:31:15.311Z",
    "createdBy": "ajewrh5sbqs5sdgss150",
    "modifiedAt": "2018-08-29T18:31:15.311Z",
    "metadata": {
        "@type": f"{ANY}{IMAGES}.CopyDesktopImageMetadata",
        "imageId": "e3vc67qdve8q00000000",
    },
}
COPIED = replace(RUNNING, id="e3ocopied00000000000", done=True, result=IMAGE.to_record())
COPIED_JSON: Json = {
    **RUNNING_JSON,
    "id": "e3ocopied00000000000",
    "done": True,
    "response": {"@type": f"{ANY}{IMAGES}.DesktopImage", **IMAGE_JSON},
}
DELETED = replace(
    RUNNING,
    id="e3odeleted0000000000",
    kind=OperationKind.DELETE_IMAGE,
    description="Delete desktop image",
    done=True,
)
DELETED_JSON: Json = {
    **RUNNING_JSON,
    "id": "e3odeleted0000000000",
    "description": "Delete desktop image",
    "done": True,
    "metadata": {
        "@type": f"{ANY}{IMAGES}.DeleteDesktopImageMetadata",
        "imageId": "e3vc67qdve8q00000000",
    },
    "response": {"@type": f"{ANY}google.protobuf.Empty"},
}
CANCELLED = replace(RUNNING, id="e3ocancelled00000000", resource_id="e3vcancelled00000000")
CANCELLED_JSON: Json = {
    **RUNNING_JSON,
    "id": "e3ocancelled00000000",
    "modifiedAt": INSTANT,
    "done": True,
    "metadata": {
        "@type": f"{ANY}{IMAGES}.CopyDesktopImageMetadata",
        "imageId": "e3vcancelled00000000",
    },
    "error": {
        "code": 1,
        "message": "The operation was cancelled.",
        "details": [
            {
                "@type": f"{ANY}google.rpc.ErrorInfo",
                "reason": "CANCELLED",
                "domain": "clouddesktop",
            },
            {"@type": f"{ANY}google.rpc.RequestInfo", "requestId": "e3ocancelled00000000"},
        ],
    },
}
FAILING = replace(RUNNING, id="e3ofailing0000000000")
FAILING_JSON: Json = {
    **RUNNING_JSON,
    "id": "e3ofailing0000000000",
    "error": {
        "code": 5,
        "message": "Image golden not found",
        "details": [
            {
                "@type": f"{ANY}google.rpc.ErrorInfo",
                "reason": "NOT_FOUND",
                "domain": "clouddesktop",
            },
            {"@type": f"{ANY}google.rpc.RequestInfo", "requestId": "e3ofailing0000000000"},
        ],
    },
}
FOLDER = Folder(id=FOLDER_ID, cloud_id="b1ccloud", name="default", created_at=CREATED_AT)
FOLDER_JSON: Json = {
    "id": FOLDER_ID,
    "cloudId": "b1ccloud",
    "createdAt": "2026-11-24T12:30:00.123Z",
    "name": "default",
    "status": "ACTIVE",
}
FOLDER_UPDATED = replace(
    RUNNING,
    id="b1gupdated0000000000",
    kind=OperationKind.UPDATE_FOLDER,
    description="Update folder",
    resource_id=FOLDER_ID,
    done=True,
    result=FOLDER.to_record(),
)
FOLDER_UPDATED_JSON: Json = {
    **RUNNING_JSON,
    "id": "b1gupdated0000000000",
    "description": "Update folder",
    "done": True,
    "metadata": {"@type": f"{ANY}{MANAGER}.UpdateFolderMetadata", "folderId": FOLDER_ID},
    "response": {"@type": f"{ANY}{MANAGER}.Folder", **FOLDER_JSON},
}


EMPTY: Json = {"@type": f"{ANY}google.protobuf.Empty"}
EMPTY_FOLDER = Folder(
    id="b1gempty000000000000", cloud_id="b1ccloud", name="empty", created_at=CREATED_AT
)
EMPTY_FOLDER_JSON: Json = {**FOLDER_JSON, "id": "b1gempty000000000000", "name": "empty"}

COMPUTE = "yandex.cloud.compute.v1"
IAM = "yandex.cloud.iam.v1"
# An image with something in every field that is served, and one that is being made.
IMPORTED = ImportedImage(
    id="fd8pi4srg296eb52abuk",
    folder_id=FOLDER_ID,
    name="ubuntu-2004-lts",
    description="Образ ü",
    labels={"team/desk": "a.b"},
    family="ubuntu-2004",
    os_type=1,
    status=ComputeImageStatus.READY,
    created_at=datetime(2024, 12, 3, 12, 0, 0, 1, tzinfo=UTC),
    storage_size=2**32 + 1,
    min_disk_size=2**35,
)
IMPORTED_JSON: Json = {
    "id": "fd8pi4srg296eb52abuk",
    "folderId": FOLDER_ID,
    "createdAt": "2024-12-03T12:00:00.000001Z",
    "name": "ubuntu-2004-lts",
    "description": "Образ ü",
    "labels": {"team/desk": "a.b"},
    "family": "ubuntu-2004",
    "storageSize": "4294967297",
    "minDiskSize": "34359738368",
    "status": "READY",
    "os": {"type": "LINUX"},
}
IMPORTING = ImportedImage(
    id="fd8vmcue7aajpmeo39kk",
    folder_id=FOLDER_ID,
    name="",
    status=ComputeImageStatus.CREATING,
    created_at=_STARTED,
)
IMPORTING_JSON: Json = {
    "id": "fd8vmcue7aajpmeo39kk",
    "folderId": FOLDER_ID,
    "createdAt": "2018-08-29T18:31:15.311Z",
    "status": "CREATING",
}
IMPORT = replace(
    RUNNING,
    id="fd8oimport0000000000",
    kind=OperationKind.CREATE_COMPUTE_IMAGE,
    description="Create image",
    resource_id=IMPORTED.id,
    done=True,
    result=IMPORTED.to_record(),
)
IMPORT_JSON: Json = {
    **RUNNING_JSON,
    "id": "fd8oimport0000000000",
    "description": "Create image",
    "done": True,
    "metadata": {"@type": f"{ANY}{COMPUTE}.CreateImageMetadata", "imageId": IMPORTED.id},
    "response": {"@type": f"{ANY}{COMPUTE}.Image", **IMPORTED_JSON},
}
ACCOUNT = ServiceAccount(
    id="ajewrh5sbqs5sdgss150",
    folder_id=FOLDER_ID,
    name="builder",
    description="Makes images.",
    labels={"a": ""},
    created_at=CREATED_AT,
)
ACCOUNT_JSON: Json = {
    "id": "ajewrh5sbqs5sdgss150",
    "folderId": FOLDER_ID,
    "createdAt": "2026-11-24T12:30:00.123Z",
    "name": "builder",
    "description": "Makes images.",
    "labels": {"a": ""},
    "status": "ACTIVE",
}
ACCOUNT_MADE = replace(
    RUNNING,
    id="ajeomade000000000000",
    kind=OperationKind.CREATE_SERVICE_ACCOUNT,
    description="Create service account",
    resource_id=ACCOUNT.id,
    done=True,
    result=ACCOUNT.to_record(),
)
ACCOUNT_MADE_JSON: Json = {
    **RUNNING_JSON,
    "id": "ajeomade000000000000",
    "description": "Create service account",
    "done": True,
    "metadata": {
        "@type": f"{ANY}{IAM}.CreateServiceAccountMetadata",
        "serviceAccountId": ACCOUNT.id,
    },
    "response": {"@type": f"{ANY}{IAM}.ServiceAccount", **ACCOUNT_JSON},
}
KEY = AuthorizedKey(
    id="ajkm2lfa2c6v1tqg5b8f",
    service_account_id=ACCOUNT.id,
    created_at=CREATED_AT,
    public_key="-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n",
    description="Of a robot",
)
KEY_JSON: Json = {
    "id": "ajkm2lfa2c6v1tqg5b8f",
    "serviceAccountId": "ajewrh5sbqs5sdgss150",
    "createdAt": "2026-11-24T12:30:00.123Z",
    "description": "Of a robot",
    "keyAlgorithm": "RSA_2048",
    "publicKey": "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n",
}
KEY_DESCRIBED = replace(
    RUNNING,
    id="ajkodescribed0000000",
    kind=OperationKind.UPDATE_KEY,
    description="Update key",
    resource_id=KEY.id,
    done=True,
    result=KEY.to_record(),
)
KEY_DESCRIBED_JSON: Json = {
    **RUNNING_JSON,
    "id": "ajkodescribed0000000",
    "description": "Update key",
    "done": True,
    "metadata": {"@type": f"{ANY}{IAM}.UpdateKeyMetadata", "keyId": KEY.id},
    "response": {"@type": f"{ANY}{IAM}.Key", **KEY_JSON},
}
OPERATIONS = (
    RUNNING,
    COPIED,
    DELETED,
    CANCELLED,
    FAILING,
    FOLDER_UPDATED,
    IMPORT,
    ACCOUNT_MADE,
    KEY_DESCRIBED,
)
IMAGES_LIMIT = 8
"""The public cloud's own default."""


def fill_catalogue(served: Served) -> None:
    """Bring the server into the state that the exchanges are about."""
    for image in (IMAGE, FULL_IMAGE):
        served.database.write(add_image, image)
    served.database.write(add_folder, EMPTY_FOLDER)
    for imported in (IMPORTED, IMPORTING):
        served.database.write(add_imported_image, imported)
    served.database.write(add_service_account, ACCOUNT)
    served.database.write(add_key, KEY)
    served.database.write(set_limit, "b1ccloud", QuotaId.IMAGES_COUNT, IMAGES_LIMIT)
    for operation in OPERATIONS:
        served.database.write(add_operation, operation)
    cancelled = OperationCancelledError("The operation was cancelled.")
    served.database.write(cancel_operation, CANCELLED.id, failure=cancelled.failure)
    missing = NotFoundError("Image golden not found")
    served.database.write(fail_copy, FAILING.id, missing.failure)
