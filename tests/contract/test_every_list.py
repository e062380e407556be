"""Every method that answers page by page: each element once, tokens that fit and are bound."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest

from clouddesktop.catalog.bindings import add_binding, remove_binding
from clouddesktop.catalog.compute_images import add_imported_image, delete_imported_image
from clouddesktop.catalog.folders import add_cloud, add_folder, delete_folder
from clouddesktop.catalog.images import add_image, delete_image
from clouddesktop.catalog.keys import add_key, delete_key
from clouddesktop.catalog.operations import add_operation
from clouddesktop.catalog.service_accounts import add_service_account, delete_service_account
from clouddesktop.errors import Code
from clouddesktop.model.access import AccessBinding, Resource
from clouddesktop.model.compute import ComputeImageStatus, ImportedImage
from clouddesktop.model.folder import Cloud
from clouddesktop.model.service_account import ServiceAccount
from contract.every_method import ADMIN, PAGES, Refusal, Site, descriptor_of, open_site
from contract.rule_cases import limits, rules_of
from unit.api.access_table import TABLE
from unit.api.access_world import OTHER_FOLDER, OWN_FOLDER, Place, a_folder
from unit.api.serving import AN_OPERATION, CREATED_AT, an_image
from unit.iam.signing import make_pair

DEFAULT_SIZE = 100
OTHER_CLOUD = "b1cother"
FEW = ("RoleService/List", "QuotaLimitService/List", "QuotaLimitService/ListServices")
"""Lists of what the server is made with: it is less than a page."""
MANY = [each for each in PAGES if not each.endswith(FEW)]
GROWING = [each for each in MANY if not each.endswith("CloudService/List")]
"""Lists in which something comes and goes; clouds do not."""
TOKENS = [each for each in PAGES if not each.endswith("ListServices")]
"""All but the list of one element: it has no second page."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One for all tests here, with a second cloud."""
    async with open_site(Path(tmp_path_factory.mktemp("lists"))) as opened:
        write = opened.world.database.write
        write(add_cloud, Cloud(id=OTHER_CLOUD, name="other", created_at=CREATED_AT))
        admin = AccessBinding(role_id="admin", subject_id=ADMIN, subject_type="serviceAccount")
        write(add_binding, Resource.of_cloud(OTHER_CLOUD), admin)
        # Here, for what a caller may is remembered from its first call on.
        for number in range(DEFAULT_SIZE + 1):
            cloud = Cloud(id=_id("b1c", number), name=f"cloud {number}", created_at=CREATED_AT)
            write(add_cloud, cloud)
            write(add_binding, Resource.of_cloud(cloud.id), admin)
        yield opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How elements of a list come, by their number, and go, by what was made; some only come."""

    make: Callable[[Place, int], tuple[Callable[..., Any], Any]]
    drop: Callable[..., Any] | None = None


def _id(prefix: str, number: int) -> str:
    """Make ids in no order of their making."""
    return f"{prefix}{number * 7919 % 10007:05}{number:012}"


def _image(at: Place, number: int) -> tuple[Any, ...]:
    name = f"image {number} of {at.image_id}"
    return add_image, an_image(number, id=_id("e3v", number), folder_id=at.folder_id, name=name)


def _imported(at: Place, number: int) -> tuple[Any, ...]:
    return add_imported_image, ImportedImage(
        id=_id("fd8", number),
        folder_id=at.folder_id,
        name="",
        status=ComputeImageStatus.READY,
        created_at=CREATED_AT,
    )


def _account(at: Place, number: int) -> tuple[Any, ...]:
    return add_service_account, ServiceAccount(
        id=_id("aje", number), folder_id=at.folder_id, name=f"a{number}", created_at=CREATED_AT
    )


def _key(at: Place, number: int) -> tuple[Any, ...]:
    key, _ = make_pair()
    return add_key, replace(key, id=_id("ajk", number), service_account_id=at.account_id)


def _folder(_at: Place, number: int) -> tuple[Any, ...]:
    return add_folder, a_folder(_id("b1g", number))


def _operation_on(find_id: Callable[[Place], str]) -> Callable[[Place, int], tuple[Any, ...]]:
    def make(at: Place, number: int) -> tuple[Any, ...]:
        return add_operation, replace(
            AN_OPERATION,
            id=_id("e3o", number),
            resource_id=find_id(at),
            created_at=CREATED_AT + timedelta(seconds=number // 3),  # three at a time
        )

    return make


def _binding(_at: Place, number: int) -> AccessBinding:
    role_id = ("viewer", "editor", "compute.images.user")[number % 3]
    return AccessBinding(
        role_id=role_id, subject_id=_id("aje", number), subject_type="serviceAccount"
    )


BOUND: Mapping[str, Callable[[Place], Resource]] = {
    "ImageService": lambda at: Resource.of_compute_image(at.imported_id, at.folder_id),
    "ServiceAccountService": lambda at: Resource.of_service_account(at.account_id, at.folder_id),
    "CloudService": lambda at: Resource.of_cloud(at.cloud_id),
    "FolderService": lambda at: Resource.of_folder(at.folder_id),
}
ELEMENTS: Mapping[str, Kind] = {
    "DesktopImageService/List": Kind(make=_image, drop=delete_image),
    "ImageService/List": Kind(make=_imported, drop=delete_imported_image),
    "ServiceAccountService/List": Kind(make=_account, drop=delete_service_account),
    "KeyService/List": Kind(make=_key, drop=delete_key),
    "FolderService/List": Kind(make=_folder, drop=delete_folder),
    "ImageService/ListOperations": Kind(make=_operation_on(lambda at: at.imported_id)),
    "ServiceAccountService/ListOperations": Kind(make=_operation_on(lambda at: at.account_id)),
    "KeyService/ListOperations": Kind(make=_operation_on(lambda at: at.key_id)),
    "FolderService/ListOperations": Kind(make=_operation_on(lambda at: at.folder_id)),
}
"""What is listed, but for bindings."""


class Listed:
    """A list in which elements come and go."""

    _numbers = itertools.count(1)

    def __init__(self, site: Site, path: str) -> None:
        self._site = site
        self._name = path.rpartition(".")[2]
        self.path = path
        self.place = site.world.make_place(OWN_FOLDER)
        self.request: Any = TABLE[path].request(self.place)

    def add(self) -> None:
        """Let one more come, at any place in the order."""
        number, write = next(self._numbers), self._site.world.database.write
        if "Bindings" in self._name:
            write(add_binding, self._resource, _binding(self.place, number))
            return
        query, element = ELEMENTS[self._name].make(self.place, number)
        write(query, element)

    def remove(self, element: Any) -> bool:
        """Let one go; False if such ones never do."""
        write = self._site.world.database.write
        if "Bindings" in self._name:
            subject = element.subject
            binding = AccessBinding(
                role_id=element.role_id, subject_id=subject.id, subject_type=subject.type
            )
            write(remove_binding, self._resource, binding)
            return True
        drop = ELEMENTS[self._name].drop
        if drop is None:
            return False
        write(drop, element.id)
        return True

    async def page(self, size: int, token: str = "") -> tuple[list[Any], str]:
        """Read a page and the token for the next one."""
        self.request.page_size, self.request.page_token = size, token
        answered = await self._site.by_grpc(self.path, self.request)
        assert not isinstance(answered, Refusal), answered
        answer: Any = answered[0]
        (field,) = (each for each in answer.DESCRIPTOR.fields if each.is_repeated)
        return list(getattr(answer, field.name)), answer.next_page_token

    @property
    def _resource(self) -> Resource:
        return BOUND[self._name.partition("/")[0]](self.place)


def made_here(element: Any) -> bool:
    """Tell whether a test has made an element: it can go."""
    name = element.subject.id if hasattr(element, "subject") else element.id
    return str(name)[-12:].isdigit()


def key_of(element: Message) -> bytes:
    return element.SerializeToString(deterministic=True)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", PAGES)
@pytest.mark.proves("list.whole")
async def test_pages_hold_each_element_once(site: Site, path: str) -> None:
    """While others come and go, before the place that a token names and behind it."""
    listed = Listed(site, path)
    is_growing = path in GROWING
    for _ in range(25 if is_growing else 0):
        listed.add()
    steady, token = await listed.page(1000)
    assert steady
    assert not token
    whole = {key_of(each) for each in steady}
    assert len(whole) == len(steady)
    seen: list[Any] = []
    for size in itertools.cycle((1, 4, 2)):
        page, token = await listed.page(size, token)
        assert 0 < len(page) <= size
        seen += page
        if not token:
            break
        if is_growing:
            listed.add()
            first = [each for each in (steady[-1], seen[0]) if made_here(each)]
            for element in first[: len(seen) % 3 - 1]:
                if key_of(element) in whole and listed.remove(element):
                    whole.discard(key_of(element))
    keys = [key_of(each) for each in seen]
    assert len(keys) == len(set(keys))
    assert whole <= set(keys)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", MANY)
@pytest.mark.proves("list.default")
async def test_a_page_has_100_elements_by_default(site: Site, path: str) -> None:
    """As many as are asked for otherwise, and a token where there are more."""
    listed = Listed(site, path)
    for _ in range(DEFAULT_SIZE + 1 if path in GROWING else 0):
        listed.add()
    page, token = await listed.page(0)
    assert (len(page), bool(token)) == (DEFAULT_SIZE, True)
    page, token = await listed.page(DEFAULT_SIZE + 1)
    assert len(page) == DEFAULT_SIZE + 1


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", TOKENS)
@pytest.mark.proves("list.token-length", "list.token-bound")
async def test_a_token_is_for_its_request(site: Site, path: str) -> None:
    """It is as long as the field may be; with another request, or garbled, it is refused."""
    listed = Listed(site, path)
    for _ in range(3 if path in GROWING else 0):
        listed.add()
    _, token = await listed.page(1)
    length = rules_of(listed.request.DESCRIPTOR.fields_by_name["page_token"])["length"]
    ((_, most),) = limits(length)
    assert most is not None
    assert 0 < len(token) <= most
    other = other_request(site, path, listed.request)
    for request, wrong in ((other, token), (listed.request, token[:-1]), (listed.request, "x")):
        request.page_token = wrong
        refusal = await site.by_grpc(path, request)
        assert isinstance(refusal, Refusal), refusal
        assert refusal.status.code == Code.INVALID_ARGUMENT
        bad = BadRequest()
        assert any(each.Unpack(bad) for each in refusal.status.details)
        assert [each.field for each in bad.field_violations] == ["page_token"]


def other_request(site: Site, path: str, request: Message) -> Any:
    """Ask for another list: by a filter, or of another resource."""
    other: Any = type(request)()
    other.CopyFrom(request)
    if "filter" in descriptor_of(path).input_type.fields_by_name:
        other.filter = 'name != "x"'
        return other
    place = replace(site.world.make_place(OTHER_FOLDER), cloud_id=OTHER_CLOUD)
    return TABLE[path].request(place)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.proves("list.token-length", of=["ImageService/List"])
async def test_tokens_hold_the_longest_names_of_files(site: Site) -> None:
    """A compute image in a source has its file's name for an id, which may not fit a token."""
    listed = Listed(site, "/yandex.cloud.compute.v1.ImageService/List")
    names = {letter * 50 for letter in "жзи"}  # as long as an id may be, and 100 bytes
    source = site.sources / OWN_FOLDER
    for name in names:
        (source / f"{name}.raw").write_bytes(b"disk")
    seen, token = [], ""
    while True:
        page, token = await listed.page(1, token)
        seen += [each.id for each in page]
        if not token:
            break
    for name in names:
        (source / f"{name}.raw").unlink()
    assert len(seen) == len(set(seen))
    assert names <= set(seen)
