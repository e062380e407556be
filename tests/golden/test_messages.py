"""Every message that is served is, byte for byte and name for name, what the public API publishes.

The other side is wire.py with its table, which share nothing with protobuf's library and with the
generated classes: numbers that move in an update of theirs show here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import (  # type: ignore[import-untyped, unused-ignore]  # ships no types
    error_details_pb2,
)
from yandex.cloud.api import operation_pb2 as options
from yandex.cloud.compute.v1 import image_service_pb2
from yandex.cloud.iam.v1 import key_service_pb2, service_account_service_pb2
from yandex.cloud.quota import quota_pb2

from clouddesktop.api.served import Api
from golden.wire import Published
from unit.api.serving import FakeCopies, make_api, make_database, make_tokens

PUBLISHED = Published.read()
IMPORTED = (  # the table has types that no served method needs: these modules bring them
    error_details_pb2,
    image_service_pb2,
    key_service_pb2,
    quota_pb2,
    service_account_service_pb2,
)


def find(message_type: str) -> type[Message]:
    pool = descriptor_pool.Default()
    return GetMessageClass(pool.FindMessageTypeByName(message_type))


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """The API as it is served."""
    database = make_database(tmp_path)
    yield make_api(database=database, copies=FakeCopies(), tokens=make_tokens())
    database.close()


def served_types(api: Api) -> Iterator[Descriptor]:
    """Go through the types that served methods name: requests, answers, operations' contents."""
    pool = descriptor_pool.Default()
    for service in api.services:
        for method_name in service.answers:
            method = service.descriptor.methods_by_name[method_name]
            yield method.input_type
            yield method.output_type
            option = method.GetOptions().Extensions[options.operation]
            for each in filter(None, (option.metadata, option.response)):
                yield pool.FindMessageTypeByName(
                    full_name_of(each, service.descriptor.file.package)
                )


def full_name_of(name: str, package: str) -> str:
    """Find what an option's name means: a type of the package or of one around it."""
    parts = package.split(".")
    around = [".".join([*parts[:count], name]) for count in range(len(parts), -1, -1)]
    return next((each for each in around if each in PUBLISHED.messages), name)


def all_within(descriptor: Descriptor, seen: set[str]) -> set[str]:
    """Collect a type and those of its fields; the well-known ones have rules of their own."""
    name = descriptor.full_name
    if name.startswith("google.protobuf.") or name in seen:
        return seen
    if not descriptor.GetOptions().map_entry:
        seen.add(name)
    for field in descriptor.fields:
        if field.message_type is not None:
            all_within(field.message_type, seen)
    return seen


def test_every_served_message_is_in_the_table(api: Api) -> None:
    """What the served methods take, answer and put into operations, with all fields there are."""
    seen: set[str] = set()
    for descriptor in served_types(api):
        all_within(descriptor, seen)
    assert seen
    missing = seen - set(PUBLISHED.messages)
    assert not missing, "published.txt lacks them: add their numbers as they are published."


@pytest.mark.parametrize("message_type", sorted(PUBLISHED.messages))
@pytest.mark.proves("wire.numbers")
def test_fields_are_those_that_are_published(message_type: str) -> None:
    """All of them by number, name and, in JSON, by name; a new one needs a line in the table."""
    descriptor = find(message_type).DESCRIPTOR
    ours = {(each.number, each.name, each.json_name) for each in descriptor.fields}
    published = {
        (each.number, each.name, each.json_name) for each in PUBLISHED.messages[message_type]
    }
    assert ours == published


@pytest.mark.parametrize("message_type", sorted(PUBLISHED.messages))
@pytest.mark.proves("wire.numbers", "wire.json")
def test_bytes_and_json_are_those_that_are_published(message_type: str) -> None:
    """With something in every field: written and read, in both forms."""
    sample = PUBLISHED.sample(message_type)
    encoded = PUBLISHED.encode(message_type, sample)
    message_class = find(message_type)
    assert ParseDict(sample, message_class()).SerializeToString(deterministic=True) == encoded
    assert MessageToDict(message_class.FromString(encoded)) == sample


@pytest.mark.parametrize("message_type", sorted(PUBLISHED.messages))
def test_a_message_without_anything_is_empty_in_both_forms(message_type: str) -> None:
    """Defaults are left out: no bytes, and `{}`."""
    message = find(message_type)()
    assert message.SerializeToString() == b""
    assert MessageToDict(message) == {}
    assert MessageToDict(message.FromString(b"")) == {}
