"""The generic validator: for each rule of each request, a just valid and a just invalid one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from yandex.cloud import validation_pb2 as options
from yandex.cloud.clouddesktop.v1 import (
    desktop_group_service_pb2,
    desktop_image_service_pb2,
    desktop_service_pb2,
)
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageRequest,
    ListDesktopImagesRequest,
)
from yandex.cloud.clouddesktop.v1.disk_pb2 import DiskSpec
from yandex.cloud.endpoint import api_endpoint_service_pb2
from yandex.cloud.iam.v1 import iam_token_service_pb2
from yandex.cloud.iam.v1.iam_token_service_pb2 import CreateIamTokenRequest
from yandex.cloud.operation import operation_service_pb2

from clouddesktop.api.validation import RequestValidator

SERVED = (
    desktop_image_service_pb2,
    operation_service_pb2,
    api_endpoint_service_pb2,
    iam_token_service_pb2,
)
COMING = (desktop_service_pb2, desktop_group_service_pb2)


@dataclass(frozen=True, slots=True)
class Case:
    """One side of one rule: a request, and what is wrong with it (a field and some words)."""

    name: str
    request: Message
    field: str = ""
    words: str = ""


def request_types(*modules: Any) -> Iterator[Descriptor]:
    for module in modules:
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield method.input_type


def fill_required(request: Any) -> Any:
    """Give each required field, and one field of each oneof that needs one, a short value."""
    for field in request.DESCRIPTOR.fields:
        if field.GetOptions().Extensions[options.required]:
            setattr(request, field.name, "a")
    for oneof in request.DESCRIPTOR.oneofs:
        if oneof.GetOptions().Extensions[options.exactly_one]:
            setattr(request, oneof.fields[0].name, "a")
    return request


def make_request(descriptor: Descriptor, change: Callable[[Any], None]) -> Message:
    request = fill_required(GetMessageClass(descriptor)())
    change(request)
    return cast("Message", request)


def set_field(request: Any, *, name: str, value: Any) -> None:
    setattr(request, name, value)


def clear_field(request: Message, *, name: str) -> None:
    request.ClearField(name)


def most_of(rule: str) -> int:
    """Read the upper end out of the forms `<=N` and `A-N`, which the served requests use."""
    return int(rule.removeprefix("<=").rpartition("-")[2])


def cases_of(descriptor: Descriptor) -> Iterator[Case]:
    """Walk through the descriptor: written apart from the validator, and simpler."""
    for field in descriptor.fields:
        if field.is_repeated and field.GetOptions().Extensions[options.map_key].length:
            yield from map_cases(descriptor, field)
        else:
            yield from scalar_cases(descriptor, field)
    for oneof in descriptor.oneofs:
        if oneof.GetOptions().Extensions[options.exactly_one]:
            for each in oneof.fields:
                chosen = make_request(descriptor, partial(set_field, name=each.name, value="b"))
                yield Case(f"{descriptor.name}.{oneof.name}: {each.name}", chosen)
            nothing = make_request(descriptor, partial(clear_field, name=oneof.name))
            title = f"{descriptor.name}.{oneof.name}: none"
            yield Case(title, nothing, oneof.name, "Exactly one of")


def scalar_cases(descriptor: Descriptor, field: FieldDescriptor) -> Iterator[Case]:
    extensions = field.GetOptions().Extensions
    name, title = field.name, f"{descriptor.name}.{field.name}"

    def with_value(value: Any) -> Message:
        return make_request(descriptor, partial(set_field, name=name, value=value))

    if extensions[options.required]:
        yield Case(f"{title}: there", with_value("a"))
        yield Case(f"{title}: absent", with_value(""), name, "Field is required")
    if extensions[options.length]:
        most = most_of(extensions[options.length])
        words = f"Length must be less than or equal to {most}"
        for letter in ("a", "ü", "😀"):  # characters count, not bytes
            yield Case(f"{title}: {most} x {letter}", with_value(letter * most))
            yield Case(
                f"{title}: {most + 1} x {letter}", with_value(letter * (most + 1)), name, words
            )
    if extensions[options.value]:
        low, _, high = extensions[options.value].partition("-")
        words = f"Value must be in the range of {low} to {high}"
        for value in (int(low), int(high)):
            yield Case(f"{title}: {value}", with_value(value))
        for value in (int(low) - 1, int(high) + 1):
            yield Case(f"{title}: {value}", with_value(value), name, words)


def map_cases(descriptor: Descriptor, field: FieldDescriptor) -> Iterator[Case]:
    extensions = field.GetOptions().Extensions
    spec = extensions[options.map_key]
    name, title = field.name, f"{descriptor.name}.{field.name}"

    def with_pairs(pairs: dict[str, str]) -> Message:
        return make_request(descriptor, lambda it: getattr(it, name).update(pairs))

    most = most_of(extensions[options.size])
    yield Case(f"{title}: {most}", with_pairs({f"k{number}": "" for number in range(most)}))
    yield Case(
        f"{title}: {most + 1}",
        with_pairs({f"k{number}": "" for number in range(most + 1)}),
        name,
        f"Number of elements must be less than or equal to {most}",
    )
    longest_key, longest_value = most_of(spec.length), most_of(extensions[options.length])
    for key in ("k", "k" * longest_key, "k-_0"):
        yield Case(f"{title}: key {key}", with_pairs({key: "v"}))
    for key, words in (
        ("", f"Key length must be in the range of 1 to {longest_key}"),
        ("k" * (longest_key + 1), f"Key length must be in the range of 1 to {longest_key}"),
        ("Key", f"Key must match the pattern {spec.pattern}"),
        ("0key", f"Key must match the pattern {spec.pattern}"),
        ("key\n", f"Key must match the pattern {spec.pattern}"),
        ("kü", f"Key must match the pattern {spec.pattern}"),
    ):
        yield Case(f"{title}: key {key!r}", with_pairs({key: "v"}), f"{name}[{key[:63]}]", words)
    pattern = extensions[options.pattern]
    for value in ("", "v" * longest_value, "-_0"):
        yield Case(f"{title}: value {value}", with_pairs({"key": value}))
    for value, words in (
        ("v" * (longest_value + 1), f"Length must be less than or equal to {longest_value}"),
        ("V", f"Value must match the pattern {pattern}"),
        ("v v", f"Value must match the pattern {pattern}"),
        ("v\n", f"Value must match the pattern {pattern}"),
    ):
        yield Case(f"{title}: value {value!r}", with_pairs({"key": value}), f"{name}[key]", words)


CASES = [case for descriptor in request_types(*SERVED) for case in cases_of(descriptor)]


@pytest.mark.parametrize("case", CASES, ids=[each.name for each in CASES])
def test_each_rule_holds_on_both_sides(case: Case) -> None:
    """A just valid request passes; a just invalid one breaks the rule, at its field."""
    violations = RequestValidator().find_violations(case.request)
    if not case.field:
        assert violations == []
        return
    assert {each.field for each in violations} == {case.field}
    assert any(each.description.startswith(case.words) for each in violations)


def test_the_cases_cover_every_rule_of_the_served_requests() -> None:
    """Each field with any rule has a valid and an invalid case."""
    covered = {case.name.partition(":")[0] for case in CASES if case.field}
    for descriptor in request_types(*SERVED):
        for field in descriptor.fields:
            if str(field.GetOptions()).replace("deprecated: true", "").strip():
                assert f"{descriptor.name}.{field.name}" in covered
    assert {case.name.partition(":")[0] for case in CASES if not case.field} >= covered


def test_all_violations_come_together_in_the_order_of_the_fields() -> None:
    """One request tells a client all that it has to correct."""
    request = CopyDesktopImageRequest(
        name="n" * 51, labels={"Upper": "UPPER", "ok": "ok"}, description="d" * 1025
    )
    found = [(each.field, each.description) for each in RequestValidator().find_violations(request)]
    assert found == [
        ("folder_id", "Field is required"),
        ("name", "Length must be less than or equal to 50"),
        ("labels[Upper]", "Key must match the pattern [a-z][-_0-9a-z]*"),
        ("labels[Upper]", "Value must match the pattern [-_0-9a-z]*"),
        ("description", "Length must be less than or equal to 1024"),
        ("image_id", "Field is required"),
    ]


def test_a_oneof_member_that_is_set_but_empty_counts_as_set() -> None:
    """Presence decides, not the value."""
    assert RequestValidator().find_violations(CreateIamTokenRequest(jwt="")) == []


@pytest.mark.parametrize(
    "descriptor",
    list(request_types(*SERVED, *COMING)),
    ids=lambda each: each.name,
)
def test_every_rule_of_the_whole_service_is_understood(descriptor: Descriptor) -> None:
    """Also those of requests that are not served yet: with nested messages, lists and wrappers."""
    validator = RequestValidator()
    validator.prepare(GetMessageClass(descriptor))
    validator.find_violations(GetMessageClass(descriptor)())


def test_rules_inside_nested_messages_are_followed() -> None:
    """With the whole path to the field, through lists."""
    request = desktop_group_service_pb2.CreateDesktopGroupRequest()
    group_config = request.group_config
    group_config.max_desktops_amount = 513
    group_config.members.add(id="", type="userAccount")
    request.boot_disk_spec.type = DiskSpec.Type.HDD
    request.network_interface_spec.subnet_ids.extend(["a", "a"])
    found = {each.field: each.description for each in RequestValidator().find_violations(request)}
    assert found["group_config.max_desktops_amount"] == "Value must be in the range of 0 to 512"
    assert found["group_config.members[0].id"] == "Field is required"
    assert found["boot_disk_spec.size"] == "Value must be greater than 0"
    assert found["network_interface_spec.network_id"] == "Field is required"
    assert found["network_interface_spec.subnet_ids"] == "Elements must be unique"
    assert not any(field.startswith("data_disk_spec") for field in found)


def test_an_empty_request_of_optional_fields_is_valid() -> None:
    """What is absent and not required breaks no rule."""
    assert RequestValidator().find_violations(ListDesktopImagesRequest(folder_id="f")) == []
