"""JSON Schemas of messages: proto3's JSON mapping, and the rules of yandex.cloud.validation."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from yandex.cloud import validation_pb2 as options

from clouddesktop.api.bounds import Bounds
from clouddesktop.api.rules import rules_of

Json = dict[str, Any]

_STRING: Json = {"type": "string"}
_INT64: Json = {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"}
_INT32: Json = {"type": "integer", "format": "int32"}
_SCALARS: dict[int, Json] = {
    FieldDescriptor.CPPTYPE_STRING: _STRING,
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_INT32: {**_INT32, "minimum": -(1 << 31), "maximum": (1 << 31) - 1},
    FieldDescriptor.CPPTYPE_UINT32: {**_INT32, "minimum": 0, "maximum": (1 << 32) - 1},
    FieldDescriptor.CPPTYPE_INT64: _INT64,
    FieldDescriptor.CPPTYPE_UINT64: _INT64,
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number"},
}
_ONE_VALUE: dict[str, Json] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {**_STRING, "description": "Fields, separated by commas."},
    "google.protobuf.StringValue": _STRING,
    "google.protobuf.BoolValue": {"type": "boolean"},
    "google.protobuf.Int64Value": _INT64,
}
_OTHERS: dict[str, Json] = {
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": _STRING},
        "required": ["@type"],
    },
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
}
_NUMBERS = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)


def json_name(name: str) -> str:
    """Spell a field's name as proto3's JSON does."""
    first, *others = name.split("_")
    return first + "".join(each.capitalize() for each in others)


class Schemas:
    """Schemas of the messages that were asked for, and of all within them."""

    def __init__(self) -> None:
        self.components: dict[str, Json] = {}

    @staticmethod
    def has_one_value(full_name: str) -> bool:
        """Tell whether JSON has a message as one value, and not as an object."""
        return full_name in _ONE_VALUE

    @staticmethod
    def is_required(field: FieldDescriptor) -> bool:
        return bool(rules_of(field).Extensions[options.required])

    def reference_by_name(self, full_name: str) -> Json:
        return self.reference(descriptor_pool.Default().FindMessageTypeByName(full_name))

    def reference(self, descriptor: Descriptor) -> Json:
        """Give a reference to a message's schema, or the schema of what has a special one."""
        special = _ONE_VALUE.get(descriptor.full_name) or _OTHERS.get(descriptor.full_name)
        if special is not None:
            return special
        if descriptor.full_name not in self.components:
            self.components[descriptor.full_name] = {}  # known before it is filled: it may recur
            self.components[descriptor.full_name] = self._object(descriptor)
        return {"$ref": f"#/components/schemas/{descriptor.full_name}"}

    def request_body(self, descriptor: Descriptor, *, without: Collection[str]) -> Json:
        """Describe a request but for the fields that its path has."""
        return self._object(descriptor, without=without)

    def parameter(self, field: FieldDescriptor) -> Json:
        """Describe a field in a path or a query, where numbers are plain ones."""
        if field.cpp_type not in _NUMBERS or field.is_repeated:
            return self._field(field)
        return {"type": "integer", "format": "int64", **_number_limits(field)}

    def _object(self, descriptor: Descriptor, *, without: Collection[str] = ()) -> Json:
        fields = [each for each in descriptor.fields if each.name not in without]
        schema: Json = {
            "type": "object",
            "properties": {json_name(each.name): self._field(each) for each in fields},
        }
        required = [json_name(each.name) for each in fields if self.is_required(each)]
        if required:
            schema["required"] = required
        return schema

    def _field(self, field: FieldDescriptor) -> Json:
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            return _map_schema(field, self._value(entry.fields_by_name["value"], rules=field))
        value = self._value(field, rules=field)
        if not field.is_repeated:
            return value
        return {"type": "array", "items": value, **_limits(field, options.size, "Items")}

    def _value(self, field: FieldDescriptor, *, rules: FieldDescriptor) -> Json:
        if field.message_type is not None:
            return self.reference(field.message_type)
        if field.enum_type is not None:
            return {"type": "string", "enum": [each.name for each in field.enum_type.values]}
        if field.type == FieldDescriptor.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        schema = dict(_SCALARS[field.cpp_type])
        if schema == _STRING:
            schema |= _text_limits(rules)
        elif schema["type"] in ("integer", "number"):
            schema |= _number_limits(rules)
        return schema


def _map_schema(field: FieldDescriptor, value: Json) -> Json:
    schema: Json = {"type": "object", "additionalProperties": value}
    schema |= _limits(field, options.size, "Properties")
    keys = rules_of(field).Extensions[options.map_key]
    names: Json = {}
    if keys.length:
        names |= _bounds_to_limits(keys.length, "Length")
    if keys.pattern:
        names["pattern"] = _whole(keys.pattern)
    if names:
        schema["propertyNames"] = names
    return schema


def _text_limits(field: FieldDescriptor) -> Json:
    extensions = rules_of(field).Extensions
    limits = _limits(field, options.length, "Length")
    if extensions[options.pattern]:
        limits["pattern"] = _whole(extensions[options.pattern])
    if extensions[options.required] and not field.is_repeated:
        limits["minLength"] = max(1, limits.get("minLength", 0))
    return limits


def _number_limits(field: FieldDescriptor) -> Json:
    rule = rules_of(field).Extensions[options.value]
    if not rule:
        return {}
    low, high = Bounds(rule).range
    limits = {"minimum": low, "maximum": high}
    return {name: value for name, value in limits.items() if value is not None}


def _limits(field: FieldDescriptor, option: Any, what: str) -> Json:
    rule: str = rules_of(field).Extensions[option]
    return _bounds_to_limits(rule, what) if rule else {}


def _bounds_to_limits(rule: str, what: str) -> Json:
    low, high = Bounds(rule).range
    limits = {f"min{what}": low, f"max{what}": high}
    return {name: value for name, value in limits.items() if value is not None}


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"
