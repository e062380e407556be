"""Every Update: the mask says what changes, and without one everything does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import BadRequest
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.errors import Code
from contract.every_method import UPDATES, Refusal, Site, descriptor_of, open_site

NAME = "changed"
VALUES: dict[str, Any] = {
    "name": NAME,
    "description": "Seen.",
    "labels": {"a": "b"},
    "min_disk_size": 8 << 20,
}
"""By the names of the fields that people may change; each service has some of them."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One for all tests here: each has a place of its own."""
    async with open_site(Path(tmp_path_factory.mktemp("updates"))) as opened:
        yield opened


class Updated:
    """A resource that is changed again and again, first so that nothing of it is a default."""

    def __init__(self, site: Site, path: str) -> None:
        self._site = site
        self._path = path
        self._bare: Any = site.request(path)
        fields = self._bare.DESCRIPTOR.fields_by_name
        self.names = sorted(set(VALUES) & set(fields))
        for name in self.names:
            self._bare.ClearField(name)

    def request(self, values: dict[str, Any], mask: list[str] | None) -> Any:
        """Ask for values; `mask` None leaves it out. The name is there always: some demand it."""
        request = type(self._bare)()
        request.CopyFrom(self._bare)
        if "name" in self.names:
            request.name = NAME
        for name, value in values.items():
            if isinstance(value, dict):
                getattr(request, name).update(value)
            else:
                setattr(request, name, value)
        request.update_mask.paths.extend(mask or [])
        return request

    async def update(self, values: dict[str, Any], mask: list[str] | None) -> dict[str, Any]:
        """Change it, and give all its fields that people may change, as Get has them then."""
        answered = await self._site.by_grpc(self._path, self.request(values, mask))
        assert not isinstance(answered, Refusal), answered
        operation = answered[0]
        assert isinstance(operation, Operation)
        assert operation.done
        changed: Any = GetMessageClass(descriptor_of(self._get_path).output_type)()
        assert operation.response.Unpack(changed)
        assert await self.read() == changed
        return {
            name: dict(value) if name == "labels" else value
            for name in self.names
            for value in [getattr(changed, name)]
        }

    async def start(self) -> dict[str, Any]:
        """Give every field a value, under a name of its own."""
        self._site.world.free_name(NAME)
        values = {name: VALUES[name] for name in self.names}
        assert await self.update(values, self.names) == values
        return values

    async def read(self) -> Any:
        """Get it."""
        get: Any = GetMessageClass(descriptor_of(self._get_path).input_type)()
        identifier = next(each for each in get.DESCRIPTOR.fields if each.name.endswith("id"))
        setattr(get, identifier.name, getattr(self._bare, identifier.name))
        answered = await self._site.by_grpc(self._get_path, get)
        assert not isinstance(answered, Refusal), answered
        return answered[0]

    @property
    def _get_path(self) -> str:
        return self._path.replace("/Update", "/Get")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", UPDATES)
@pytest.mark.proves("update.mask")
async def test_only_listed_fields_change(site: Site, path: str) -> None:
    """Each by itself; one that is listed and absent is reset, and what is not listed is not."""
    updated = Updated(site, path)
    values = await updated.start()
    for name in updated.names:
        if name == "name":  # a name may not be reset everywhere
            changed = await updated.update({"name": "another"}, ["name"])
            assert changed == {**values, "name": "another"}
            assert await updated.update({"name": NAME}, ["name"]) == values
            continue
        noise = {each: VALUES[each] for each in updated.names if each not in (name, "name")}
        reset = {**values, name: type(VALUES[name])()}
        assert await updated.update(noise, [name]) == reset
        assert await updated.update(values, [name]) == values


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", UPDATES)
@pytest.mark.proves("update.no-mask")
async def test_without_a_mask_everything_is_overwritten(site: Site, path: str) -> None:
    """What the request leaves out is reset."""
    updated = Updated(site, path)
    values = await updated.start()
    named = {"name": NAME} if "name" in values else {}
    expected = {name: named.get(name, type(value)()) for name, value in values.items()}
    assert await updated.update(named, None) == expected


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", UPDATES)
@pytest.mark.parametrize("wrong", ["created_at", "id", "nonsense", "labels.a", "*", ""])
@pytest.mark.proves("update.unknown-path")
async def test_an_unknown_path_is_refused(site: Site, path: str, wrong: str) -> None:
    """And nothing is changed, also by the paths beside it."""
    updated = Updated(site, path)
    await updated.start()
    request = updated.request({"description": "Late."}, ["description", wrong])
    refusal = await site.by_grpc(path, request)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.status.code == Code.INVALID_ARGUMENT
    bad = BadRequest()
    assert any(each.Unpack(bad) for each in refusal.status.details)
    assert [each.field for each in bad.field_violations] == ["update_mask"]
    assert (await updated.read()).description == VALUES["description"]
