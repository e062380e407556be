"""The generic validator: checks a request against the rules in its own descriptor.

The options are those of yandex.cloud.validation: required, length, bytes, pattern, value, size,
map_key, unique, exactly_one. They are read once for each type of message. A field that is absent
breaks no rule but `required`; so does an empty text, but not a number that is 0: `>0` would mean
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from yandex.cloud import validation_pb2 as options

from clouddesktop.api.bounds import Bounds
from clouddesktop.api.checks import (
    Check,
    all_of,
    bounds_of,
    exactly_one,
    hashable,
    is_message,
    key_checks,
    message_type_of,
    missing,
    value_checks,
)
from clouddesktop.api.rules import is_exactly_one, rules_of
from clouddesktop.errors import FieldViolation

_MOST_KEY_CHARACTERS = 63
_RULELESS_PACKAGE = "google."
_NUMBERS = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
        FieldDescriptor.CPPTYPE_DOUBLE,
        FieldDescriptor.CPPTYPE_FLOAT,
    }
)


class RequestValidator:
    """Checks messages; a type given to `prepare` beforehand costs nothing at its first call."""

    def __init__(self) -> None:
        self._rules: dict[str, list[Check]] = {}

    def prepare(self, request_class: type[Message]) -> None:
        """Read the rules of a type and of all within it.

        Raises:
            ValueError: a rule is not understood; names the field.
        """
        self._compile(cast("Descriptor", request_class.DESCRIPTOR))

    def find_violations(self, request: Message) -> list[FieldViolation]:
        """Find every broken rule, in the order of the descriptor."""
        violations: list[FieldViolation] = []
        for check in self._compile(cast("Descriptor", request.DESCRIPTOR)):
            check(request, "", violations)
        return violations

    def _compile(self, descriptor: Descriptor) -> list[Check]:
        known = self._rules.get(descriptor.full_name)
        if known is not None:
            return known
        # Known before it is filled: types may contain themselves.
        checks = self._rules[descriptor.full_name] = []
        for field in descriptor.fields:
            try:
                check = self._compile_list(field) if field.is_repeated else self._compile_one(field)
            except ValueError as error:
                raise ValueError(f"{field.full_name}: {error}") from error
            if check is not None:
                checks.append(check)
        checks.extend(exactly_one(oneof) for oneof in descriptor.oneofs if is_exactly_one(oneof))
        return checks

    def _compile_one(self, field: FieldDescriptor) -> Check | None:
        required = rules_of(field).Extensions[options.required]
        check = all_of([*value_checks(field, field), *self._nested_checks(field)])
        if not required and check is None:
            return None
        return _one(field, check, required=required)

    def _compile_list(self, field: FieldDescriptor) -> Check | None:
        extensions = rules_of(field).Extensions
        required, unique = extensions[options.required], extensions[options.unique]
        size = bounds_of(extensions[options.size])
        keys = all_of(key_checks(extensions[options.map_key])) if _is_map(field) else None
        values = _values_of(field)
        each = all_of([*value_checks(field, values), *self._nested_checks(values)])
        if not (required or unique or size or keys or each):
            return None
        elements = _each_element(field, keys=keys, each=each)
        return _list(field, size=size, elements=elements, required=required, unique=unique)

    def _nested_checks(self, field: FieldDescriptor) -> list[Check]:
        if not _has_rules_within(field):
            return []
        nested = self._compile(message_type_of(field))

        def check(value: Any, path: str, violations: list[FieldViolation]) -> None:
            for each in nested:
                each(value, f"{path}.", violations)

        return [check]


def _one(field: FieldDescriptor, check: Check | None, *, required: bool) -> Check:
    name, default, has_presence = field.name, field.default_value, field.has_presence
    is_number = field.cpp_type in _NUMBERS

    def check_field(message: Any, prefix: str, violations: list[FieldViolation]) -> None:
        value = getattr(message, name)
        is_absent = not message.HasField(name) if has_presence else value == default
        if is_absent and required:
            violations.append(missing(prefix + name))
        elif check is not None and (not is_absent or (is_number and not has_presence)):
            check(value, prefix + name, violations)

    return check_field


def _list(
    field: FieldDescriptor,
    *,
    size: Bounds | None,
    elements: Check | None,
    required: bool,
    unique: bool,
) -> Check:
    name = field.name

    def check(message: Any, prefix: str, violations: list[FieldViolation]) -> None:
        values, path = getattr(message, name), prefix + name
        if not values:
            if required:
                violations.append(missing(path))
                return
        elif elements is not None:
            elements(values, path, violations)
        if size is not None and not size.admit(len(values)):
            violations.append(
                FieldViolation(field=path, description=f"Number of elements {size.demand}")
            )
        if unique and len({hashable(value) for value in values}) < len(values):
            violations.append(FieldViolation(field=path, description="Elements must be unique"))

    return check


def _each_element(
    field: FieldDescriptor, *, keys: Check | None, each: Check | None
) -> Check | None:
    if keys is None and each is None:
        return None
    is_map = _is_map(field)

    def check(values: Any, path: str, violations: list[FieldViolation]) -> None:
        pairs: Iterable[tuple[Any, Any]] = values.items() if is_map else enumerate(values)
        for key, value in pairs:
            element_path = f"{path}[{str(key)[:_MOST_KEY_CHARACTERS]}]"
            if keys is not None:
                keys(key, element_path, violations)
            if each is not None:
                each(value, element_path, violations)

    return check


def _is_map(field: FieldDescriptor) -> bool:
    return is_message(field) and bool(message_type_of(field).GetOptions().map_entry)


def _values_of(field: FieldDescriptor) -> FieldDescriptor:
    return message_type_of(field).fields_by_name["value"] if _is_map(field) else field


def _has_rules_within(field: FieldDescriptor) -> bool:
    """Say whether to look into a field; the library's own types carry no rules of this API."""
    return is_message(field) and not message_type_of(field).full_name.startswith(_RULELESS_PACKAGE)
