"""Every served method by every role by where the role is bound, against a table written by hand.

A method that is served and not in the table fails the first test: whoever serves one writes down
who may call it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from google.protobuf.message import Message
from yandex.cloud.access import access_pb2
from yandex.cloud.clouddesktop.v1 import desktop_image_service_pb2 as images
from yandex.cloud.compute.v1 import image_service_pb2 as compute
from yandex.cloud.iam.v1 import key_service_pb2 as keys
from yandex.cloud.iam.v1 import role_service_pb2 as roles
from yandex.cloud.iam.v1 import service_account_service_pb2 as accounts
from yandex.cloud.iam.v1.iam_token_service_pb2 import CreateIamTokenRequest
from yandex.cloud.operation import operation_service_pb2 as operations
from yandex.cloud.quotamanager.v1 import quota_limit_service_pb2 as quotas
from yandex.cloud.quotamanager.v1 import resource_pb2 as quota_resource_pb2
from yandex.cloud.resourcemanager.v1 import cloud_service_pb2 as clouds
from yandex.cloud.resourcemanager.v1 import folder_service_pb2 as folders

from clouddesktop.catalog.bindings import add_binding
from clouddesktop.errors import CloudDesktopError, Code, NotFoundError
from clouddesktop.iam.tokens import TokenService
from clouddesktop.model.access import AccessBinding, Resource
from clouddesktop.model.roles import ROLES
from parts.issuer import make_private_key
from unit.api.access_world import (
    DENIED,
    DONE,
    HIDDEN,
    OTHER_FOLDER,
    OWN_FOLDER,
    Place,
    World,
    sign_as_issuer,
)
from unit.iam.signing import NOW, make_pair, sign

SEE_IMAGES = {
    "vdi.auditor", "vdi.viewer", "vdi.editor", "vdi.admin", "auditor", "viewer", "editor", "admin",
}  # fmt: skip
SEE_QUOTAS = {
    "vdi.viewer", "vdi.editor", "vdi.admin", "quota-manager.viewer", "quota-manager.admin",
    "viewer", "editor", "admin",
}  # fmt: skip
EDIT_IMAGES = {"vdi.editor", "vdi.admin", "editor", "admin"}
USE_COMPUTE_IMAGES = {
    "compute.images.user", "compute.viewer", "compute.editor", "compute.admin",
    "viewer", "editor", "admin",
}  # fmt: skip
SEE_COMPUTE_IMAGES = USE_COMPUTE_IMAGES | {"compute.auditor", "auditor"}
EDIT_COMPUTE_IMAGES = {"compute.editor", "compute.admin", "editor", "admin"}
SEE_ACCOUNTS = {
    "iam.auditor", "iam.viewer", "iam.serviceAccounts.keyAdmin", "iam.admin",
    "auditor", "viewer", "editor", "admin",
}  # fmt: skip
EDIT_ACCOUNTS = {"iam.admin", "admin"}
EDIT_KEYS = {"iam.serviceAccounts.keyAdmin", "iam.admin", "admin"}
EDIT_FOLDERS = {"resource-manager.editor", "resource-manager.admin", "editor", "admin"}
SEE_BINDINGS = {"resource-manager.viewer", "viewer"} | EDIT_FOLDERS
CHANGE_BINDINGS = {"resource-manager.admin", "admin"}
EVERY_ROLE = set(ROLES)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Who may call a method on a resource.

    `request` makes the request for a folder and what is in it; `allowed` may call the method, and
    those in `visible` alone hear that they may not: for all others the resource is not there.
    """

    request: Callable[[Place], Message]
    allowed: set[str]
    visible: set[str] = field(default_factory=lambda: EVERY_ROLE)
    is_for_cloud: bool = False
    is_for_all: bool = False


def a_binding(role_id: str = "viewer") -> access_pb2.AccessBinding:
    subject = access_pb2.Subject(id="ajesomebody", type="serviceAccount")
    return access_pb2.AccessBinding(role_id=role_id, subject=subject)


def add_delta(resource_id: str) -> Message:
    delta = access_pb2.AccessBindingDelta(action=access_pb2.ADD, access_binding=a_binding())
    return access_pb2.UpdateAccessBindingsRequest(
        resource_id=resource_id, access_binding_deltas=[delta]
    )


def set_admin(resource_id: str) -> Message:
    return access_pb2.SetAccessBindingsRequest(
        resource_id=resource_id, access_bindings=[a_binding("admin")]
    )


def list_bindings(resource_id: str) -> Message:
    return access_pb2.ListAccessBindingsRequest(resource_id=resource_id)


def the_cloud(at: Place) -> quota_resource_pb2.Resource:
    return quota_resource_pb2.Resource(id=at.cloud_id, type="resource-manager.cloud")


DESKTOP_IMAGES = "/yandex.cloud.clouddesktop.v1.api.DesktopImageService"
COMPUTE_IMAGES = "/yandex.cloud.compute.v1.ImageService"
OPERATIONS = "/yandex.cloud.operation.OperationService"
QUOTAS = "/yandex.cloud.quotamanager.v1.QuotaLimitService"
FOLDERS = "/yandex.cloud.resourcemanager.v1.FolderService"
CLOUDS = "/yandex.cloud.resourcemanager.v1.CloudService"
ACCOUNTS = "/yandex.cloud.iam.v1.ServiceAccountService"
KEYS = "/yandex.cloud.iam.v1.KeyService"
ROLE_SERVICE = "/yandex.cloud.iam.v1.RoleService"

TABLE = {
    f"{DESKTOP_IMAGES}/Get": Row(
        request=lambda at: images.GetDesktopImageRequest(image_id=at.image_id),
        allowed=SEE_IMAGES,
        visible=SEE_IMAGES,
    ),
    f"{DESKTOP_IMAGES}/List": Row(
        request=lambda at: images.ListDesktopImagesRequest(folder_id=at.folder_id),
        allowed=SEE_IMAGES,
    ),
    # The compute image lies in the own folder: one needs to make images and to use that one.
    f"{DESKTOP_IMAGES}/Copy": Row(
        request=lambda at: images.CopyDesktopImageRequest(
            folder_id=at.folder_id, image_id=at.compute_image_id, name="new"
        ),
        allowed=EDIT_IMAGES & USE_COMPUTE_IMAGES,
        visible=EVERY_ROLE - {"vdi.editor", "vdi.admin"},  # for them the compute image is not there
    ),
    f"{DESKTOP_IMAGES}/Update": Row(
        request=lambda at: images.UpdateDesktopImageRequest(image_id=at.image_id, name="new"),
        allowed=EDIT_IMAGES,
        visible=SEE_IMAGES,
    ),
    f"{DESKTOP_IMAGES}/Delete": Row(
        request=lambda at: images.DeleteDesktopImageRequest(image_id=at.image_id),
        allowed=EDIT_IMAGES,
        visible=SEE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/Get": Row(
        request=lambda at: compute.GetImageRequest(image_id=at.imported_id),
        allowed=SEE_COMPUTE_IMAGES,
        visible=SEE_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/GetLatestByFamily": Row(
        request=lambda at: compute.GetImageLatestByFamilyRequest(
            folder_id=at.folder_id, family="golden"
        ),
        allowed=SEE_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/List": Row(
        request=lambda at: compute.ListImagesRequest(folder_id=at.folder_id),
        allowed=SEE_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/Create": Row(
        request=lambda at: compute.CreateImageRequest(
            folder_id=at.folder_id, image_id=at.compute_image_id, name="new"
        ),
        allowed=EDIT_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/Update": Row(
        request=lambda at: compute.UpdateImageRequest(image_id=at.imported_id, name="new"),
        allowed=EDIT_COMPUTE_IMAGES,
        visible=SEE_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/Delete": Row(
        request=lambda at: compute.DeleteImageRequest(image_id=at.imported_id),
        allowed=EDIT_COMPUTE_IMAGES,
        visible=SEE_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/ListOperations": Row(
        request=lambda at: compute.ListImageOperationsRequest(image_id=at.imported_id),
        allowed=SEE_COMPUTE_IMAGES,
        visible=SEE_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/ListAccessBindings": Row(
        request=lambda at: list_bindings(at.imported_id),
        allowed=SEE_COMPUTE_IMAGES - {"compute.images.user", "compute.auditor", "auditor"},
        visible=SEE_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/SetAccessBindings": Row(
        request=lambda at: set_admin(at.imported_id),
        allowed={"compute.admin", "admin"},
        visible=SEE_COMPUTE_IMAGES,
    ),
    f"{COMPUTE_IMAGES}/UpdateAccessBindings": Row(
        request=lambda at: add_delta(at.imported_id),
        allowed={"compute.admin", "admin"},
        visible=SEE_COMPUTE_IMAGES,
    ),
    f"{OPERATIONS}/Get": Row(
        request=lambda at: operations.GetOperationRequest(operation_id=at.operation_id),
        allowed=EVERY_ROLE,
    ),
    f"{OPERATIONS}/Cancel": Row(
        request=lambda at: operations.CancelOperationRequest(operation_id=at.operation_id),
        allowed=EDIT_IMAGES,
    ),
    f"{QUOTAS}/Get": Row(
        request=lambda at: quotas.GetQuotaLimitRequest(
            resource=the_cloud(at), quota_id="vdi.desktopImages.count"
        ),
        allowed=SEE_QUOTAS,
        is_for_cloud=True,
    ),
    f"{QUOTAS}/List": Row(
        request=lambda at: quotas.ListQuotaLimitsRequest(resource=the_cloud(at), service="vdi"),
        allowed=SEE_QUOTAS,
        is_for_cloud=True,
    ),
    f"{QUOTAS}/ListServices": Row(
        request=lambda _: quotas.ListServicesRequest(resource_type="resource-manager.cloud"),
        allowed=EVERY_ROLE,
        is_for_all=True,
    ),
    f"{FOLDERS}/Get": Row(
        request=lambda at: folders.GetFolderRequest(folder_id=at.folder_id), allowed=EVERY_ROLE
    ),
    f"{FOLDERS}/List": Row(
        request=lambda at: folders.ListFoldersRequest(cloud_id=at.cloud_id),
        allowed=EVERY_ROLE,
        is_for_cloud=True,
    ),
    f"{FOLDERS}/Create": Row(
        request=lambda at: folders.CreateFolderRequest(cloud_id=at.cloud_id, name="new"),
        allowed=EDIT_FOLDERS,
        is_for_cloud=True,
    ),
    f"{FOLDERS}/Update": Row(
        request=lambda at: folders.UpdateFolderRequest(folder_id=at.folder_id, description="x"),
        allowed=EDIT_FOLDERS,
    ),
    f"{FOLDERS}/Delete": Row(
        request=lambda at: folders.DeleteFolderRequest(folder_id=at.empty_folder_id),
        allowed=EDIT_FOLDERS,
    ),
    f"{FOLDERS}/ListOperations": Row(
        request=lambda at: folders.ListFolderOperationsRequest(folder_id=at.folder_id),
        allowed=EVERY_ROLE,
    ),
    f"{FOLDERS}/ListAccessBindings": Row(
        request=lambda at: list_bindings(at.folder_id), allowed=SEE_BINDINGS
    ),
    f"{FOLDERS}/SetAccessBindings": Row(
        request=lambda at: set_admin(at.folder_id), allowed=CHANGE_BINDINGS
    ),
    f"{FOLDERS}/UpdateAccessBindings": Row(
        request=lambda at: add_delta(at.folder_id), allowed=CHANGE_BINDINGS
    ),
    f"{CLOUDS}/Get": Row(
        request=lambda at: clouds.GetCloudRequest(cloud_id=at.cloud_id),
        allowed=EVERY_ROLE,
        is_for_cloud=True,
    ),
    f"{CLOUDS}/List": Row(
        request=lambda _: clouds.ListCloudsRequest(),
        allowed=EVERY_ROLE,
        is_for_cloud=True,
        is_for_all=True,
    ),
    f"{CLOUDS}/ListAccessBindings": Row(
        request=lambda at: list_bindings(at.cloud_id), allowed=SEE_BINDINGS, is_for_cloud=True
    ),
    f"{CLOUDS}/SetAccessBindings": Row(
        request=lambda at: set_admin(at.cloud_id), allowed=CHANGE_BINDINGS, is_for_cloud=True
    ),
    f"{CLOUDS}/UpdateAccessBindings": Row(
        request=lambda at: add_delta(at.cloud_id), allowed=CHANGE_BINDINGS, is_for_cloud=True
    ),
    f"{ACCOUNTS}/Get": Row(
        request=lambda at: accounts.GetServiceAccountRequest(service_account_id=at.account_id),
        allowed=SEE_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{ACCOUNTS}/List": Row(
        request=lambda at: accounts.ListServiceAccountsRequest(folder_id=at.folder_id),
        allowed=SEE_ACCOUNTS,
    ),
    f"{ACCOUNTS}/Create": Row(
        request=lambda at: accounts.CreateServiceAccountRequest(folder_id=at.folder_id, name="new"),
        allowed=EDIT_ACCOUNTS,
    ),
    f"{ACCOUNTS}/Update": Row(
        request=lambda at: accounts.UpdateServiceAccountRequest(
            service_account_id=at.account_id, name="new"
        ),
        allowed=EDIT_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{ACCOUNTS}/Delete": Row(
        request=lambda at: accounts.DeleteServiceAccountRequest(service_account_id=at.account_id),
        allowed=EDIT_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{ACCOUNTS}/ListOperations": Row(
        request=lambda at: accounts.ListServiceAccountOperationsRequest(
            service_account_id=at.account_id
        ),
        allowed=SEE_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{ACCOUNTS}/ListAccessBindings": Row(
        request=lambda at: list_bindings(at.account_id),
        allowed={"iam.viewer", "iam.admin", "viewer", "editor", "admin"},
        visible=SEE_ACCOUNTS,
    ),
    f"{ACCOUNTS}/SetAccessBindings": Row(
        request=lambda at: set_admin(at.account_id),
        allowed=EDIT_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{ACCOUNTS}/UpdateAccessBindings": Row(
        request=lambda at: add_delta(at.account_id),
        allowed=EDIT_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{KEYS}/Get": Row(
        request=lambda at: keys.GetKeyRequest(key_id=at.key_id),
        allowed=SEE_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{KEYS}/List": Row(
        request=lambda at: keys.ListKeysRequest(service_account_id=at.account_id),
        allowed=SEE_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{KEYS}/Create": Row(
        request=lambda at: keys.CreateKeyRequest(service_account_id=at.account_id),
        allowed=EDIT_KEYS,
        visible=SEE_ACCOUNTS,
    ),
    f"{KEYS}/Update": Row(
        request=lambda at: keys.UpdateKeyRequest(key_id=at.key_id, description="x"),
        allowed=EDIT_KEYS,
        visible=SEE_ACCOUNTS,
    ),
    f"{KEYS}/Delete": Row(
        request=lambda at: keys.DeleteKeyRequest(key_id=at.key_id),
        allowed=EDIT_KEYS,
        visible=SEE_ACCOUNTS,
    ),
    f"{KEYS}/ListOperations": Row(
        request=lambda at: keys.ListKeyOperationsRequest(key_id=at.key_id),
        allowed=SEE_ACCOUNTS,
        visible=SEE_ACCOUNTS,
    ),
    f"{ROLE_SERVICE}/Get": Row(
        request=lambda _: roles.GetRoleRequest(role_id="viewer"),
        allowed=EVERY_ROLE,
        is_for_all=True,
    ),
    f"{ROLE_SERVICE}/List": Row(
        request=lambda _: roles.ListRolesRequest(), allowed=EVERY_ROLE, is_for_all=True
    ),
}

OPEN = {
    "/yandex.cloud.endpoint.ApiEndpointService/Get",
    "/yandex.cloud.endpoint.ApiEndpointService/List",
    "/yandex.cloud.iam.v1.IamTokenService/Create",
}
"""Methods that need no token."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.database.close()


def test_every_served_method_is_in_the_table(world: World) -> None:
    """And nothing else is."""
    served = {method.path for service in world.api.services for method in service.methods}
    assert served == set(TABLE) | OPEN


@pytest.mark.parametrize("path", sorted(TABLE))
@pytest.mark.proves("auth.roles")
async def test_each_role_may_what_the_table_says(world: World, path: str) -> None:
    """Bound on the folder, or on the cloud where a method is about that."""
    row = TABLE[path]
    for role_id in sorted(ROLES):
        subject_id = f"ajeof{role_id}"
        place = world.make_place(OWN_FOLDER)
        if row.is_for_cloud:
            resources = [Resource.of_cloud(place.cloud_id)]
        else:
            resources = [
                Resource.of_folder(place.folder_id),
                Resource.of_folder(place.empty_folder_id),
            ]
        world.bind(subject_id, role_id, *resources)
        outcome = await world.call(path, row.request(place), world.token_of(subject_id))
        expected = HIDDEN
        if role_id in row.visible:
            expected = DENIED
        if role_id in row.allowed:
            expected = DONE
        assert outcome == expected, (path, role_id)
        world.free_name("new")


@pytest.mark.parametrize("path", sorted(TABLE))
@pytest.mark.proves("auth.invisible")
async def test_a_role_elsewhere_shows_nothing(world: World, path: str) -> None:
    """Bound on one folder, whatever the role: what is in the other one is not there.

    The answer is the one for an id that nobody has, but for the id in it.
    """
    row = TABLE[path]
    if row.is_for_all:
        return
    place = world.make_place(OTHER_FOLDER)
    none = Place(
        folder_id="b1gnone",
        image_id="e3vnone",
        operation_id="e3onone",
        empty_folder_id="b1gnone",
        compute_image_id="none",
        imported_id="fd8none",
        account_id="ajenone",
        key_id="ajknone",
        cloud_id="b1cnone",
    )
    for role_id in sorted(ROLES):
        subject_id = f"ajeof{role_id}"
        elsewhere = [] if row.is_for_cloud else [Resource.of_folder(OWN_FOLDER)]
        world.bind(subject_id, role_id, *elsewhere)
        token = world.token_of(subject_id)
        hidden, missing = [
            await failure_of(world, path, row.request(each), token) for each in (place, none)
        ]
        assert anonymous(hidden) == anonymous(missing), (path, role_id)


def anonymous(error: NotFoundError) -> str:
    """Give all that the caller hears, but for the id that it has asked for."""
    return str(error.failure).replace(error.facts["resource_id"], "<id>")


async def failure_of(world: World, path: str, request: Message, token: str) -> NotFoundError:
    with pytest.raises(NotFoundError) as caught:
        await world.answer(path, request, token)
    return caught.value


@pytest.mark.proves("copy.elsewhere")
async def test_a_compute_image_of_another_folder_needs_a_role_there(world: World) -> None:
    """The right to make images here is not one to use what lies there."""
    path, at = f"{DESKTOP_IMAGES}/Copy", world.make_place(OWN_FOLDER)
    request = images.CopyDesktopImageRequest(
        folder_id=at.folder_id, image_id=f"golden-{OTHER_FOLDER}", name="stolen"
    )
    here = Resource.of_folder(at.folder_id)
    world.bind("ajecopier", "editor", here)
    token = world.token_of("ajecopier")
    error = await failure_of(world, path, request, token)
    assert error.message == f"Image golden-{OTHER_FOLDER} not found"
    there = Resource.of_folder(OTHER_FOLDER)
    binding = AccessBinding(
        role_id="compute.images.user", subject_id="ajeuser", subject_type="serviceAccount"
    )
    world.bind("ajeuser", "editor", here)
    world.database.write(add_binding, there, binding)
    assert await world.call(path, request, world.token_of("ajeuser")) == DONE


@pytest.mark.proves("auth.roles", of=["DesktopImageService/*"])
async def test_a_federated_user_may_what_its_roles_say(world: World) -> None:
    """Before it has any, the folder is not there; another one's role is no use to it."""
    place = world.make_place(OWN_FOLDER)
    paths = [f"{DESKTOP_IMAGES}/{name}" for name in ("Get", "List", "Delete")]

    async def outcomes(token: str) -> list[str]:
        return [await world.call(each, TABLE[each].request(place), token) for each in paths]

    alice, bob = sign_as_issuer(), sign_as_issuer(sub="bob")
    assert await outcomes(alice) == [HIDDEN, HIDDEN, HIDDEN]
    subject = access_pb2.Subject(id="corp:alice", type="federatedUser")
    binding = access_pb2.AccessBinding(role_id="vdi.viewer", subject=subject)
    request = access_pb2.SetAccessBindingsRequest(resource_id=OWN_FOLDER, access_bindings=[binding])
    path = f"{FOLDERS}/SetAccessBindings"
    assert await world.call(path, request, world.token_of("ajeadmin")) == DONE
    assert await outcomes(alice) == [DONE, DONE, DENIED]
    assert await outcomes(bob) == [HIDDEN, HIDDEN, HIDDEN]


def _foreign(_world: World) -> str:
    key, _ = make_pair()
    foreign = TokenService(
        signing_key=b"x" * 32,
        find_key={key.id: key}.get,
        audiences=["localhost"],
        clock=lambda: NOW,
    )
    return foreign.exchange_jwt(sign()).token


def _expired(_world: World) -> str:
    key, _ = make_pair()
    early = NOW - 13 * 3600
    past = TokenService(
        signing_key=b"s" * 32,
        find_key={key.id: key}.get,
        audiences=["localhost"],
        clock=lambda: early,
    )
    return past.exchange_jwt(sign(claims={"iat": early, "exp": early + 3600})).token


def _revoked(world: World) -> str:
    token = world.token_of("ajerevoked")
    world.revoked.add("ajkrevoked")
    world.tokens.forget_keys()
    return token


TRICKS: dict[str, Callable[[World], str | None]] = {
    "a token of a revoked key": _revoked,
    "no token": lambda _: None,
    "nonsense": lambda _: "t1.nonsense.x",
    "a token of another server": _foreign,
    "an expired token": _expired,
    "a jwt instead of a token": lambda _: sign(),
    "an issuer's token for another audience": lambda _: sign_as_issuer(aud="another"),
    "an issuer's token that has expired": lambda _: sign_as_issuer(exp=NOW - 3600),
    "an issuer's token that nobody signed": lambda _: sign_as_issuer(algorithm="none", secret=""),
    "an issuer's token by another key": lambda _: sign_as_issuer(
        secret=make_private_key("RS256", "other")
    ),
    "an issuer's token signed with its public key": lambda _: sign_as_issuer(
        algorithm="HS256", secret=make_pair()[0].public_key.replace("-----", "")
    ),
    "a token of an issuer that nobody trusts": lambda _: sign_as_issuer(iss="https://elsewhere"),
}


@pytest.mark.parametrize("trick", sorted(TRICKS))
@pytest.mark.proves("auth.token")
async def test_who_proves_nothing_gets_nothing(world: World, trick: str) -> None:
    """UNAUTHENTICATED from every method that is not open, whatever the request is about."""
    place = world.make_place(OWN_FOLDER)
    token = TRICKS[trick](world)
    for path, row in TABLE.items():
        with pytest.raises(CloudDesktopError) as caught:
            await world.answer(path, row.request(place), token)
        assert caught.value.code is Code.UNAUTHENTICATED, path


JWT_TRICKS: dict[str, Callable[[], str]] = {
    "wrong audience": lambda: sign(claims={"aud": "https://iam.elsewhere/iam/v1/tokens"}),
    "alg none": lambda: sign(algorithm="none", secret=""),
    "HS256 with the public key": lambda: sign(
        algorithm="HS256", secret=make_pair()[0].public_key.replace("-----", "")
    ),
    "RS256": lambda: sign(algorithm="RS256"),
    "expired": lambda: sign(claims={"iat": NOW - 7200, "exp": NOW - 3600}),
    "another account": lambda: sign(claims={"iss": "ajevictim"}),
    "too long": lambda: sign(claims={"exp": NOW + 3601}),
}


@pytest.mark.parametrize("trick", sorted(JWT_TRICKS))
async def test_a_jwt_that_proves_nothing_gets_no_token(world: World, trick: str) -> None:
    """Nor does one whose key is revoked."""
    path = "/yandex.cloud.iam.v1.IamTokenService/Create"
    with pytest.raises(CloudDesktopError) as caught:
        await world.answer(path, CreateIamTokenRequest(jwt=JWT_TRICKS[trick]()), None)
    assert caught.value.code is Code.UNAUTHENTICATED
