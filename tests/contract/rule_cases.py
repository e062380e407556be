"""Reads the validation options of a request's descriptor, and makes requests around each rule."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldOptions
from google.protobuf.message import Message
from yandex.cloud import validation_pb2 as options

from contract.documented_rules import EXACTLY_ONE, RULES

_KINDS = {"required", "length", "pattern", "value", "size", "map_key"}
_TEXTS = ("a", "A", "a-1", "-", "ä", "a\n", "a!", "0", "ab", "a/b", "a.b_c\\@d")
_TIMESTAMP = "google.protobuf.Timestamp"
_YEAR_1, _END_OF_9999 = -62_135_596_800, 253_402_300_799
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One side of one rule; `fields` are those that a server must refuse, none if it is valid."""

    path: str
    kind: str
    title: str
    request: Message
    fields: frozenset[str]

    def __str__(self) -> str:
        return f"{self.path.rpartition('.')[2]}: {self.title}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a request a field is: `reach` gives the message around it."""

    request_class: type[Message]
    prefix: str = ""
    reach: Callable[[Any], Any] = lambda request: request

    def changed(self, change: Callable[[Any], None]) -> Message:
        request = self.request_class()
        fill(request)
        change(self.reach(request))
        return request

    def within(self, field: FieldDescriptor) -> Place:
        """Go into a field; into the first element of a list, which is made where it is missing."""

        def reach(request: Any) -> Any:
            value = getattr(self.reach(request), field.name)
            if not field.is_repeated:
                value.SetInParent()
                fill(value)
                return value
            if not value:
                fill(value.add())
            return value[0]

        suffix = f"{field.name}[0]." if field.is_repeated else f"{field.name}."
        return Place(request_class=self.request_class, prefix=self.prefix + suffix, reach=reach)


def iter_cases(path: str, request_class: type[Message]) -> Iterator[Case]:
    """Make requests on both sides of each rule, and of those in the messages within."""
    descriptor: Any = request_class.DESCRIPTOR
    for kind, title, request, fields in _message(Place(request_class=request_class), descriptor):
        yield Case(path=path, kind=kind, title=title, request=request, fields=frozenset(fields))


def rules_of(field: FieldDescriptor) -> dict[str, Any]:
    """Read the rules of a field; one that is only documented has them in a table.

    Raises:
        AssertionError: there is a rule that nothing here makes requests for.
    """
    found = {
        each.name: value
        for each, value in (RULES.get(field.full_name) or _options(field)).ListFields()
        if each.full_name.startswith("yandex.cloud.")
    }
    assert set(found) <= _KINDS, f"{field.full_name}: {sorted(found)} is more than is tested here"
    return found


def _options(field: FieldDescriptor) -> FieldOptions:
    found: FieldOptions = field.GetOptions()
    return found


def fill(message: Any) -> None:
    """Give what a valid request needs, and no more."""
    for field in message.DESCRIPTOR.fields:
        rules = rules_of(field)
        if field.is_repeated:
            for _ in range(_least(rules.get("size", ""))):
                fill(getattr(message, field.name).add())
        elif rules.get("required"):
            if field.message_type is not None:
                getattr(message, field.name).SetInParent()
                fill(getattr(message, field.name))
            else:
                setattr(message, field.name, good_value(field))
    for oneof in message.DESCRIPTOR.oneofs:
        if _is_exactly_one(oneof):
            setattr(message, oneof.fields[0].name, good_value(oneof.fields[0]))


def good_value(field: FieldDescriptor) -> Any:
    """Give a short value that is not the default."""
    if field.enum_type is not None:
        return next(each.number for each in field.enum_type.values if each.number)
    return 1 if field.cpp_type in _NUMBERS else "a"


def _is_exactly_one(oneof: Any) -> bool:
    return bool(oneof.GetOptions().Extensions[options.exactly_one]) or (
        oneof.full_name in EXACTLY_ONE
    )


def _least(rule: str) -> int:
    return limits(rule)[0][0] or 0 if rule else 0


def limits(rule: str) -> list[tuple[int | None, int | None]]:
    """Read a limit as ranges of whole numbers, ends included: `<=50`, `1-63`, `>0`, `0,3`."""
    found: list[tuple[int | None, int | None]] = []
    for part in rule.split(","):
        match = re.fullmatch(r"\s*([<>]=?)?(-?[\dT.]+)(?:-(-?[\dT.]+))?\s*", part)
        assert match is not None, f"{rule!r} is not understood"
        number, more = seconds(match[2]), match[3]
        found.append(
            {
                "<=": (None, number),
                "<": (None, number - 1),
                ">=": (number, None),
                ">": (number + 1, None),
            }.get(match[1] or "", (number, seconds(more) if more else number))
        )
    return found


def seconds(text: str) -> int:
    """Read a whole number; an instant as the seconds since 1970, without their fraction."""
    if "T" not in text:
        return int(text)
    instant = datetime.strptime(text.partition(".")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return int((instant - _EPOCH).total_seconds())


def around(rule: str) -> Iterator[tuple[int, bool]]:
    """Give the numbers at the ends of a limit, and whether they are inside."""
    ranges = limits(rule)

    def inside(number: int) -> bool:
        return any(
            (low is None or low <= number) and (high is None or number <= high)
            for low, high in ranges
        )

    ends = [end for low, high in ranges for end in (low, high) if end is not None]
    for number in sorted({near for end in ends for near in (end - 1, end, end + 1)}):
        yield number, inside(number)


Found = tuple[str, str, Message, set[str]]


def _message(place: Place, descriptor: Descriptor) -> Iterator[Found]:
    for field in descriptor.fields:
        rules, name = rules_of(field), place.prefix + field.name
        if rules.get("required"):
            yield "required", f"{name} there", place.changed(lambda _: None), set()
            absent = place.changed(partial(_clear, name=field.name))
            yield "required", f"{name} absent", absent, {name}
        if field.is_repeated and rules:
            yield from _repeated(place, field, rules)
        elif field.message_type is not None and field.message_type.full_name == _TIMESTAMP:
            yield from _instants(place, field, rules.get("value", ""))
        elif "value" in rules:
            yield from _values(place, field, rules["value"])
        elif {"length", "pattern"} & set(rules):
            yield from _texts(place, field, rules)
        inner = field.message_type
        if inner is not None and not inner.GetOptions().map_entry and _has_rules(inner):
            yield from _message(place.within(field), inner)
    for oneof in filter(_is_exactly_one, descriptor.oneofs):
        name = place.prefix + oneof.name
        none = place.changed(partial(_clear, name=oneof.name))
        yield "exactly_one", f"{name}: none", none, {name}
        for field in oneof.fields:
            one = _with(place, field, good_value(field))
            yield "exactly_one", f"{name}: {field.name}", one, set()


def _has_rules(descriptor: Descriptor) -> bool:
    return not descriptor.full_name.startswith("google.")


def _with(place: Place, field: FieldDescriptor, value: Any) -> Message:
    return place.changed(lambda message: setattr(message, field.name, value))


def _values(place: Place, field: FieldDescriptor, rule: str) -> Iterator[Found]:
    name = place.prefix + field.name
    for number, is_valid in around(rule):
        request = _with(place, field, number)
        yield "value", f"{name} = {number}", request, set() if is_valid else {name}


def _instants(place: Place, field: FieldDescriptor, rule: str) -> Iterator[Found]:
    """Go to the ends of the rule and of the calendar, and to those of the nanoseconds."""
    name = place.prefix + field.name
    cases = list(around(rule or f"{_YEAR_1}-{_END_OF_9999}"))
    inside = next(number for number, is_valid in cases if is_valid)
    for number, is_valid in cases:
        request = place.changed(partial(_set_instant, name=field.name, seconds=number))
        yield "value", f"{name} = {number} s", request, set() if is_valid else {name}
    for nanos in (0, 10**9 - 1, -1, 10**9, 2**31 - 1):
        request = place.changed(partial(_set_instant, name=field.name, seconds=inside, nanos=nanos))
        fields = set() if 0 <= nanos < 10**9 else {name}
        yield "value", f"{name} = {inside} s + {nanos} ns", request, fields


def _texts(place: Place, field: FieldDescriptor, rules: dict[str, Any]) -> Iterator[Found]:
    name = place.prefix + field.name
    for kind, text, is_valid in texts_of(rules):
        if text:  # an empty text is an absent field, which `required` is about
            request = _with(place, field, text)
            yield kind, f"{name}: {_shown(text)}", request, set() if is_valid else {name}


def _repeated(place: Place, field: FieldDescriptor, rules: dict[str, Any]) -> Iterator[Found]:
    name = place.prefix + field.name
    for count, is_valid in around(rules["size"]) if "size" in rules else ():
        if count < 0:
            continue
        request = place.changed(partial(_resize, field=field, size=count))
        yield "size", f"{name} x {count}", request, set() if is_valid else {name}
    if "map_key" in rules:
        spec = {"length": rules["map_key"].length, "pattern": rules["map_key"].pattern}
        for _, key, is_valid in texts_of(spec):
            request = place.changed(partial(_put, name=field.name, key=key, value="a"))
            fields = set() if is_valid else {f"{name}[{key[:63]}]"}
            yield "map_key", f"{name} key {_shown(key)}", request, fields
        for kind, text, is_valid in texts_of(rules):
            request = place.changed(partial(_put, name=field.name, key="a", value=text))
            fields = set() if is_valid else {f"{name}[a]"}
            yield kind, f"{name} value {_shown(text)}", request, fields

    elif field.message_type is None:
        for kind, text, is_valid in texts_of(rules):
            request = place.changed(partial(_append, name=field.name, value=text))
            yield (
                kind,
                f"{name} element {_shown(text)}",
                request,
                set() if is_valid else {f"{name}[0]"},
            )


def _append(message: Any, *, name: str, value: str) -> None:
    getattr(message, name).append(value)


def _clear(message: Any, *, name: str) -> None:
    message.ClearField(name)


def _set_instant(message: Any, *, name: str, seconds: int, nanos: int = 0) -> None:
    instant = getattr(message, name)
    instant.seconds, instant.nanos = seconds, nanos


def _put(message: Any, *, name: str, key: str, value: str) -> None:
    getattr(message, name)[key] = value


def _resize(message: Any, *, field: FieldDescriptor, size: int) -> None:
    message.ClearField(field.name)
    elements = getattr(message, field.name)
    for number in range(size):
        if "map_key" in rules_of(field):
            elements[f"a{number}"] = "a"
        else:
            fill(elements.add())


def texts_of(rules: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Give texts at the ends of a length and on both sides of a pattern."""
    pattern = re.compile(rules["pattern"]) if rules.get("pattern") else None
    ranges = rules.get("length", "")

    def is_valid(text: str) -> bool:
        fits = not ranges or any(
            (low is None or low <= len(text)) and (high is None or len(text) <= high)
            for low, high in limits(ranges)
        )
        return fits and (pattern is None or pattern.fullmatch(text) is not None)

    for length, _ in around(ranges) if ranges else ():
        letters = "a" if pattern else "aü😀"  # characters count, not bytes
        for letter in letters if length >= 0 else ():
            text = letter * length
            yield "length", text, is_valid(text)
    for text in (*_TEXTS, "a" * 63, "a" * 64) if pattern else ():
        yield "pattern", text, is_valid(text)


def _shown(text: str) -> str:
    return f"{len(text)} x {text[:1]!r}" if len(text) > 8 else repr(text)
