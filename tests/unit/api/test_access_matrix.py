"""Every served method by every role by where the role is bound, against a table written by hand.

A method that is served and not in the table fails the first test: whoever serves one writes down
who may call it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from yandex.cloud.access import access_pb2
from yandex.cloud.clouddesktop.v1 import desktop_image_service_pb2 as images
from yandex.cloud.iam.v1.iam_token_service_pb2 import CreateIamTokenRequest
from yandex.cloud.resourcemanager.v1.cloud_service_pb2 import ListCloudsRequest

from clouddesktop.catalog.bindings import add_binding
from clouddesktop.catalog.folders import add_cloud
from clouddesktop.errors import CloudDesktopError, Code, NotFoundError
from clouddesktop.iam.tokens import TokenService
from clouddesktop.model.access import AccessBinding, Resource
from clouddesktop.model.folder import Cloud
from clouddesktop.model.roles import ROLES
from parts.issuer import make_private_key
from unit.api.access_table import CLOUDS, DESKTOP_IMAGES, FOLDERS, OPEN, TABLE
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
from unit.api.serving import CREATED_AT
from unit.iam.signing import NOW, make_pair, sign


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


@pytest.mark.parametrize("path", sorted(path for path, row in TABLE.items() if not row.is_for_all))
@pytest.mark.proves(
    "auth.invisible",
    of=[
        "DesktopImageService/*",
        "ImageService/*",
        "OperationService/*",
        "FolderService/*",
        "CloudService/Get",
        "CloudService/*Bindings",
        "ServiceAccountService/*",
        "KeyService/*",
    ],
)
async def test_a_role_elsewhere_shows_nothing(world: World, path: str) -> None:
    """Bound on one folder, whatever the role: what is in the other one is not there.

    The answer is the one for an id that nobody has, but for the id in it.
    """
    row = TABLE[path]
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


@pytest.mark.proves("auth.invisible", of=["CloudService/List"])
async def test_clouds_are_listed_for_those_who_may_see_them(world: World) -> None:
    """A cloud is seen by a role on it; who has none elsewhere gets an empty list."""
    world.database.write(add_cloud, Cloud(id="b1cother", name="other", created_at=CREATED_AT))
    path = f"{CLOUDS}/List"
    for role_id in sorted(ROLES):
        subject_id = f"ajeof{role_id}"
        world.bind(subject_id, role_id, Resource.of_cloud("b1cother"))
        answer: Any = await world.answer(path, ListCloudsRequest(), world.token_of(subject_id))
        assert [each.id for each in answer.clouds] == ["b1cother"], role_id
    nothing: Any = await world.answer(path, ListCloudsRequest(), world.token_of("ajenobody"))
    assert not nothing.clouds


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
