"""What the public API promises, as a list: each rule has an id that tests name.

`methods` says where a rule holds: patterns of `<Service>/<Method>`, or a group by its name.
"""

from __future__ import annotations

from dataclasses import dataclass

EVERYTHING = ("*",)
NOWHERE = ()
"""For rules about the server as a whole."""
AUTHENTICATED = ("@authenticated",)
CHANGES = ("@changes",)
"""Methods that return an Operation of their own making."""
PAGES = ("@pages",)
"""Methods that answer page by page."""
BELONGING = (
    "DesktopImageService/*",
    "ImageService/*",
    "OperationService/*",
    "FolderService/*",
    "CloudService/*",
    "ServiceAccountService/*",
    "KeyService/*",
)
"""Methods about what belongs to somebody."""
COMPUTE_FLOW = tuple(
    f"ImageService/{each}"
    for each in (
        "Create", "Get", "GetLatestByFamily", "List", "Update", "Delete", "ListOperations",
    )
)  # fmt: skip
IMAGES = "DesktopImageService"
OPERATIONS = "OperationService"


@dataclass(frozen=True, slots=True)
class Rule:
    """One promise."""

    id: str
    promise: str
    methods: tuple[str, ...] = EVERYTHING


@dataclass(frozen=True, slots=True)
class Exemption:
    """Methods for which nothing proves a rule, and why nothing has to."""

    rule_id: str
    methods: tuple[str, ...]
    reason: str


RULES = (
    Rule("wire.numbers", "Messages have the published field numbers and types."),
    Rule("wire.answers", "Answers are right to the byte."),
    Rule("wire.json", "JSON is proto3's: camelCase, defaults left out, int64 as text."),
    Rule("wire.rest", "Each method has its published HTTP paths and verbs."),
    Rule("wire.robust", "Whatever comes by gRPC is answered with a status of the API."),
    Rule("wire.not-served", "What is known and not served answers UNIMPLEMENTED.", NOWHERE),
    Rule("validation.rules", "Each rule in a request's descriptor holds on both sides."),
    Rule("validation.together", "All violations come together, by field."),
    Rule("validation.first", "Validation comes before authentication.", AUTHENTICATED),
    Rule("auth.token", "Without a valid token the answer is UNAUTHENTICATED.", AUTHENTICATED),
    Rule("auth.roles", "A caller may do what its roles say, and no more.", AUTHENTICATED),
    Rule("auth.invisible", "What may not be seen answers as what does not exist.", BELONGING),
    Rule("auth.open", "No token is asked for.", ("ApiEndpointService/*", "IamTokenService/*")),
    Rule("errors.status", "Errors are google.rpc.Status with a reason and the request's id."),
    Rule("errors.rest", "REST answers with the same Status as JSON, and the API's HTTP codes."),
    Rule("errors.request-ids", "Request and trace ids are taken from the client and come back."),
    Rule(
        "errors.not-found",
        "What is missing is NOT_FOUND at once, in the API's words, with ResourceInfo.",
        (*BELONGING, "RoleService/Get", "QuotaLimitService/Get", "QuotaLimitService/List"),
    ),
    Rule("idempotency.repeat", "A second request with one key gets the first Operation.", CHANGES),
    Rule("idempotency.conflict", "The same key with another request is refused.", CHANGES),
    Rule("idempotency.crowd", "Many clients at once with one key make one change.", CHANGES),
    Rule(
        "operation.types",
        "The Operation's metadata and response have the types of the method's option.",
        CHANGES,
    ),
    Rule(
        "operation.result",
        "Done means exactly one of error and response.",
        (f"{OPERATIONS}/Get",),
    ),
    Rule(
        "operation.early-error",
        "A failure shows as `error` before the rollback is over; then `done` is true.",
        (f"{OPERATIONS}/Get",),
    ),
    Rule(
        "operation.cancel",
        "Cancel ends a copy with code 1 and leaves nothing of it.",
        (f"{OPERATIONS}/Cancel",),
    ),
    Rule("operation.cancel-verbs", "Cancel takes GET and POST.", (f"{OPERATIONS}/Cancel",)),
    Rule("copy.new", "New content becomes an ACTIVE image.", (f"{IMAGES}/Copy",)),
    Rule("copy.known", "Known content is copied at once.", (f"{IMAGES}/Copy",)),
    Rule("copy.name", "A name is taken once in a folder: ALREADY_EXISTS.", (f"{IMAGES}/Copy",)),
    Rule("copy.failed", "A copy that failed leaves no image.", (f"{IMAGES}/Copy",)),
    Rule(
        "copy.elsewhere",
        "A compute image of another folder needs the right to use it there.",
        (f"{IMAGES}/Copy",),
    ),
    Rule("delete.gone", "A deleted image is gone for every reader.", (f"{IMAGES}/Delete",)),
    Rule(
        "update.mask",
        "Only the listed fields change; a listed one that is absent is reset.",
        ("*/Update",),
    ),
    Rule("update.no-mask", "Without a mask every updatable field is overwritten.", ("*/Update",)),
    Rule("update.unknown-path", "An unknown path is INVALID_ARGUMENT.", ("*/Update",)),
    Rule("list.whole", "Pages hold each element once, while others come and go.", PAGES),
    Rule("list.default", "`page_size` 0 means 100.", PAGES),
    Rule("list.token-length", "Tokens fit into the request's limit.", PAGES),
    Rule("list.token-bound", "Another request's token is INVALID_ARGUMENT.", PAGES),
    Rule("list.filter", "`=`, `!=`, `IN`, `NOT IN`, joined by AND.", (f"{IMAGES}/List",)),
    Rule("list.order", "By name, created_at or status, up or down.", (f"{IMAGES}/List",)),
    Rule(
        "system.listed",
        "System images are in every folder's list and nobody changes them.",
        (f"{IMAGES}/List", f"{IMAGES}/Get", f"{IMAGES}/Update", f"{IMAGES}/Delete"),
    ),
    Rule("quota.bound", "A quota is reserved with the copy and names itself.", (f"{IMAGES}/Copy",)),
    Rule("audit.event", "Each change leaves its audit events.", CHANGES),
    Rule(
        "iam.jwt",
        "A PS256 JWT of an authorised key is traded for a token; others are refused.",
        ("IamTokenService/Create",),
    ),
    Rule("iam.expiry", "A token ends when it said.", ("IamTokenService/Create",)),
    Rule(
        "iam.revoked",
        "A token ends with its key and with its account.",
        ("KeyService/Delete", "ServiceAccountService/Delete"),
    ),
    Rule(
        "iam.last-admin",
        "A cloud keeps an administrator.",
        ("CloudService/SetAccessBindings", "ServiceAccountService/Delete"),
    ),
    Rule(
        "import.instant",
        "What was imported from a URL is copied at once, byte for byte.",
        ("ImageService/Create",),
    ),
    Rule(
        "import.guard",
        "A URL does not lead into the server's own network, nor does a redirect.",
        ("ImageService/Create",),
    ),
    Rule(
        "import.durable",
        "An import goes on after a crash, and is cancelled like a copy.",
        ("ImageService/Create",),
    ),
    Rule(
        "endpoint.list",
        "Each service is found by its id, at this server's address.",
        ("ApiEndpointService/*",),
    ),
    Rule(
        "client.python",
        "The official Python SDK goes all the way.",
        (f"{IMAGES}/*", f"{OPERATIONS}/Get", "ApiEndpointService/List", "IamTokenService/Create"),
    ),
    Rule(
        "client.compute",
        "The official Python SDK imports, copies, changes, lists and deletes compute images.",
        COMPUTE_FLOW,
    ),
    Rule(
        "client.wires",
        "One flow by the official SDK and by REST has equal answers, step by step.",
        (
            f"{IMAGES}/*",
            *COMPUTE_FLOW,
            "ImageService/ListAccessBindings",
            "ImageService/UpdateAccessBindings",
            f"{OPERATIONS}/Get",
        ),
    ),
    Rule(
        "client.node",
        "The official Node SDK copies and waits.",
        (f"{IMAGES}/Copy", f"{IMAGES}/List", f"{OPERATIONS}/Get", "IamTokenService/Create"),
    ),
    Rule(
        "client.terraform",
        "The Terraform provider's data source: List by name with a page of one, then Get.",
        (f"{IMAGES}/List", f"{IMAGES}/Get"),
    ),
)

_ONE_FIELD = (
    "DesktopImageService/Get",
    "ImageService/Get",
    "FolderService/Get",
    "CloudService/Get",
    "ServiceAccountService/Get",
    "KeyService/Get",
    "RoleService/Get",
    "OperationService/*",
    "IamTokenService/Create",
    "DesktopImageService/Delete",
    "ImageService/Delete",
    "ServiceAccountService/Delete",
    "KeyService/Delete",
)
_SHORT = "The list is fixed, and has fewer than 100 elements."
_ONE_ELEMENT = "The list has one element: there is never a second page."
EXEMPTIONS = (
    Exemption("validation.rules", ("ApiEndpointService/*",), "The request's fields have no rules."),
    Exemption("validation.together", ("ApiEndpointService/*",), "No field has a rule."),
    Exemption("validation.together", _ONE_FIELD, "The request has one field with rules."),
    Exemption("list.default", ("RoleService/List", "QuotaLimitService/List"), _SHORT),
    Exemption("list.default", ("QuotaLimitService/ListServices",), _ONE_ELEMENT),
    Exemption("list.token-length", ("QuotaLimitService/ListServices",), _ONE_ELEMENT),
    Exemption("list.token-bound", ("QuotaLimitService/ListServices",), _ONE_ELEMENT),
    Exemption(
        "errors.not-found",
        ("CloudService/List",),
        "The request names nothing: who may see no cloud gets an empty list.",
    ),
)
"""A rule that is about a method, and neither proven for it nor here, fails a test."""
