"""The checks behind the API's validation options: each takes a value and adds what it breaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor
from google.protobuf.message import Message
from yandex.cloud import validation_pb2 as options

from clouddesktop.api.bounds import Bounds
from clouddesktop.api.rules import rules_of
from clouddesktop.errors import FieldViolation

Check = Callable[[Any, str, list[FieldViolation]], None]
"""Takes a value, its path and the list to add violations to."""

_REQUIRED = "Field is required"
_TIMED = frozenset({"google.protobuf.Duration", "google.protobuf.Timestamp"})
_SECONDS_OF_YEARS_1_TO_9999 = range(-62_135_596_800, 253_402_300_800)
_MOST_SECONDS = 315_576_000_000
_NANOSECONDS = 10**9
_WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "String", "Bytes")
)


def value_checks(field: FieldDescriptor, values: FieldDescriptor) -> list[Check]:
    """Make the checks of one value: the options are `field`'s, a map's values are of `values`."""
    extensions = rules_of(field).Extensions
    convert = _conversion(values)
    checks: list[Check] = []
    for option, subject, measure in (
        (options.length, "Length", len),
        (options.bytes, "Size in bytes", _size_of),
        (options.value, "Value", _itself),
    ):
        bounds = bounds_of(extensions[option])
        if bounds is not None:
            checks.append(_bounded(bounds, subject, convert, measure))
    if extensions[options.pattern]:
        checks.append(_matching(extensions[options.pattern], "Value", convert))
    well_formed = (
        _WELL_FORMED.get(message_type_of(values).full_name) if is_message(values) else None
    )
    return checks if well_formed is None else [well_formed, *checks]


def key_checks(spec: options.MapKeySpec) -> list[Check]:
    """Make the checks of a map's keys."""
    checks: list[Check] = []
    bounds = bounds_of(spec.length)
    if bounds is not None:
        checks.append(_bounded(bounds, "Key length", _itself, len))
    if spec.pattern:
        checks.append(_matching(spec.pattern, "Key", _itself))
    return checks


def exactly_one(oneof: OneofDescriptor) -> Check:
    """Demand that one of the fields is set; the message itself is the value."""
    name = oneof.name
    description = f"Exactly one of {', '.join(each.name for each in oneof.fields)} is required"

    def check(message: Any, prefix: str, violations: list[FieldViolation]) -> None:
        if message.WhichOneof(name) is None:
            violations.append(FieldViolation(field=prefix + name, description=description))

    return check


def all_of(checks: Iterable[Check]) -> Check | None:
    """Make one check of several; None of none."""
    several = tuple(checks)
    if len(several) < 2:  # noqa: PLR2004  (none or one needs no loop)
        return several[0] if several else None

    def check(value: Any, path: str, violations: list[FieldViolation]) -> None:
        for each in several:
            each(value, path, violations)

    return check


def missing(path: str) -> FieldViolation:
    return FieldViolation(field=path, description=_REQUIRED)


def bounds_of(rule: str) -> Bounds | None:
    return Bounds(rule) if rule else None


def is_message(field: FieldDescriptor) -> bool:
    return field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE


def message_type_of(field: FieldDescriptor) -> Descriptor:
    """Give the type of a field that holds messages."""
    if field.message_type is None:
        raise TypeError(f"{field.full_name} holds no messages.")
    return field.message_type


def _bounded(
    bounds: Bounds,
    subject: str,
    convert: Callable[[Any], Any],
    measure: Callable[[Any], float],
) -> Check:
    description = f"{subject} {bounds.demand}"

    def check(value: Any, path: str, violations: list[FieldViolation]) -> None:
        if not bounds.admit(measure(convert(value))):
            violations.append(FieldViolation(field=path, description=description))

    return check


def _matching(pattern: str, subject: str, convert: Callable[[Any], str]) -> Check:
    # ASCII: the patterns are written for engines where \d is 0-9.
    matches = re.compile(pattern, re.ASCII).fullmatch
    description = f"{subject} must match the pattern {pattern}"

    def check(value: Any, path: str, violations: list[FieldViolation]) -> None:
        if matches(convert(value)) is None:
            violations.append(FieldViolation(field=path, description=description))

    return check


def _conversion(field: FieldDescriptor) -> Callable[[Any], Any]:
    """Say how to get from a field's value to what its rules are about."""
    if not is_message(field):
        return _itself
    type_name = message_type_of(field).full_name
    if type_name in _TIMED:
        return lambda value: value.seconds + Fraction(value.nanos, 10**9)
    if type_name in _WRAPPERS:
        return lambda value: value.value
    return _itself


def _check_timestamp(value: Any, path: str, violations: list[FieldViolation]) -> None:
    """Refuse what is on the wire and is no instant: protobuf itself decodes any two numbers."""
    if value.seconds not in _SECONDS_OF_YEARS_1_TO_9999 or not 0 <= value.nanos < _NANOSECONDS:
        violations.append(
            FieldViolation(field=path, description="Value must be within the years 1 to 9999")
        )


def _check_duration(value: Any, path: str, violations: list[FieldViolation]) -> None:
    is_mixed = value.seconds * value.nanos < 0
    if abs(value.seconds) > _MOST_SECONDS or abs(value.nanos) >= _NANOSECONDS or is_mixed:
        violations.append(
            FieldViolation(field=path, description="Value must be within 10000 years")
        )


_WELL_FORMED: dict[str, Check] = {
    "google.protobuf.Duration": _check_duration,
    "google.protobuf.Timestamp": _check_timestamp,
}


def _size_of(value: str | bytes) -> int:
    return len(value.encode() if isinstance(value, str) else value)


def _itself(value: Any) -> Any:
    return value


def hashable(value: Any) -> Any:
    """Give something that is equal for equal elements of a list."""
    return value.SerializeToString(deterministic=True) if isinstance(value, Message) else value
