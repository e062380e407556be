"""What goes over the wire for service accounts and their keys; exchanges.py says where from."""

from __future__ import annotations

import re
from collections.abc import Iterator

from golden.exchange import IAM, ID, OPERATION, Exchange, finished
from golden.prepared import (
    ACCOUNT_JSON,
    ACCOUNT_MADE_JSON,
    ANY,
    EMPTY,
    INSTANT,
    KEY_DESCRIBED_JSON,
    KEY_JSON,
)
from unit.api.serving import FOLDER_ID

_PUBLIC = re.compile(
    r"-----BEGIN PUBLIC KEY-----\n([A-Za-z0-9+/=]{1,64}\n)+-----END PUBLIC KEY-----\n"
)
_PRIVATE = re.compile(
    r"PLEASE DO NOT REMOVE THIS LINE![^\n]*\n"
    r"-----BEGIN PRIVATE KEY-----\n([A-Za-z0-9+/=]{1,64}\n)+-----END PRIVATE KEY-----\n"
)
_ACCOUNT_ID, _KEY_ID = ACCOUNT_JSON["id"], KEY_JSON["id"]


def iter_identity_exchanges() -> Iterator[Exchange]:
    """Go through the methods of both services, but for those on bindings."""
    yield from _account_reads()
    yield from _account_changes()
    yield from _key_reads()
    yield from _key_changes()


def _account_reads() -> Iterator[Exchange]:
    service, path = f"{IAM}.ServiceAccountService", "/iam/v1/serviceAccounts"
    named = {"serviceAccountId": _ACCOUNT_ID}
    yield Exchange(
        name="get a service account",
        method=f"{service}/Get",
        request=(f"{IAM}.GetServiceAccountRequest", named),
        answer=(f"{IAM}.ServiceAccount", ACCOUNT_JSON),
        rest=("GET", f"{path}/{_ACCOUNT_ID}", None),
    )
    yield Exchange(
        name="list service accounts",
        method=f"{service}/List",
        request=(
            f"{IAM}.ListServiceAccountsRequest",
            {"folderId": FOLDER_ID, "filter": "name='builder'"},
        ),
        answer=(f"{IAM}.ListServiceAccountsResponse", {"serviceAccounts": [ACCOUNT_JSON]}),
        rest=("GET", f"{path}?folderId={FOLDER_ID}&filter=name%3D%27builder%27", None),
    )
    yield Exchange(
        name="list the operations on a service account",
        method=f"{service}/ListOperations",
        request=(f"{IAM}.ListServiceAccountOperationsRequest", named),
        answer=(
            f"{IAM}.ListServiceAccountOperationsResponse",
            {"operations": [ACCOUNT_MADE_JSON]},
        ),
        rest=("GET", f"{path}/{_ACCOUNT_ID}/operations", None),
    )


def _account_changes() -> Iterator[Exchange]:
    service, path = f"{IAM}.ServiceAccountService", "/iam/v1/serviceAccounts"
    account_type, operation_type = f"{ANY}{IAM}.ServiceAccount", f"{OPERATION}.Operation"
    named = {"serviceAccountId": _ACCOUNT_ID}
    new = {"folderId": FOLDER_ID, "name": "robot"}
    made = {**new, "id": ID, "createdAt": INSTANT, "status": "ACTIVE"}
    yield Exchange(
        name="create a service account",
        method=f"{service}/Create",
        request=(f"{IAM}.CreateServiceAccountRequest", new),
        answer=(
            operation_type,
            finished(
                "Create service account",
                f"{IAM}.CreateServiceAccountMetadata",
                {"serviceAccountId": ID},
                {"@type": account_type, **made},
            ),
        ),
        rest=("POST", path, new),
    )
    changes = {"updateMask": "name", "name": "smith"}
    yield Exchange(
        name="update a service account",
        method=f"{service}/Update",
        request=(f"{IAM}.UpdateServiceAccountRequest", {**named, **changes}),
        answer=(
            operation_type,
            finished(
                "Update service account",
                f"{IAM}.UpdateServiceAccountMetadata",
                named,
                {"@type": account_type, **ACCOUNT_JSON, "name": "smith"},
            ),
        ),
        rest=("PATCH", f"{path}/{_ACCOUNT_ID}", changes),
    )
    yield Exchange(
        name="delete a service account",
        method=f"{service}/Delete",
        request=(f"{IAM}.DeleteServiceAccountRequest", named),
        answer=(
            operation_type,
            finished("Delete service account", f"{IAM}.DeleteServiceAccountMetadata", named, EMPTY),
        ),
        rest=("DELETE", f"{path}/{_ACCOUNT_ID}", None),
    )


def _key_reads() -> Iterator[Exchange]:
    service, path = f"{IAM}.KeyService", "/iam/v1/keys"
    yield Exchange(
        name="get a key",
        method=f"{service}/Get",
        request=(f"{IAM}.GetKeyRequest", {"keyId": _KEY_ID}),
        answer=(f"{IAM}.Key", KEY_JSON),
        rest=("GET", f"{path}/{_KEY_ID}", None),
    )
    yield Exchange(
        name="list keys",
        method=f"{service}/List",
        request=(f"{IAM}.ListKeysRequest", {"serviceAccountId": _ACCOUNT_ID}),
        answer=(f"{IAM}.ListKeysResponse", {"keys": [KEY_JSON]}),
        rest=("GET", f"{path}?serviceAccountId={_ACCOUNT_ID}", None),
    )
    yield Exchange(
        name="list the operations on a key",
        method=f"{service}/ListOperations",
        request=(f"{IAM}.ListKeyOperationsRequest", {"keyId": _KEY_ID}),
        answer=(f"{IAM}.ListKeyOperationsResponse", {"operations": [KEY_DESCRIBED_JSON]}),
        rest=("GET", f"{path}/{_KEY_ID}/operations", None),
    )


def _key_changes() -> Iterator[Exchange]:
    service, path = f"{IAM}.KeyService", "/iam/v1/keys"
    new = {"serviceAccountId": _ACCOUNT_ID, "description": "new"}
    yield Exchange(
        name="create a key",
        method=f"{service}/Create",
        request=(f"{IAM}.CreateKeyRequest", new),
        answer=(
            f"{IAM}.CreateKeyResponse",
            {
                "key": {
                    "id": ID,
                    "serviceAccountId": _ACCOUNT_ID,
                    "createdAt": INSTANT,
                    "description": "new",
                    "keyAlgorithm": "RSA_2048",
                    "publicKey": _PUBLIC,
                },
                "privateKey": _PRIVATE,
            },
        ),
        rest=("POST", path, new),
    )
    changes = {"updateMask": "description", "description": "Of nobody"}
    yield Exchange(
        name="update a key",
        method=f"{service}/Update",
        request=(f"{IAM}.UpdateKeyRequest", {"keyId": _KEY_ID, **changes}),
        answer=(
            f"{OPERATION}.Operation",
            finished(
                "Update key",
                f"{IAM}.UpdateKeyMetadata",
                {"keyId": _KEY_ID},
                {"@type": f"{ANY}{IAM}.Key", **KEY_JSON, "description": "Of nobody"},
            ),
        ),
        rest=("PATCH", f"{path}/{_KEY_ID}", changes),
    )
    yield Exchange(
        name="delete a key",
        method=f"{service}/Delete",
        request=(f"{IAM}.DeleteKeyRequest", {"keyId": _KEY_ID}),
        answer=(
            f"{OPERATION}.Operation",
            finished("Delete key", f"{IAM}.DeleteKeyMetadata", {"keyId": _KEY_ID}, EMPTY),
        ),
        rest=("DELETE", f"{path}/{_KEY_ID}", None),
    )
