"""From a REST request to the method's message: path, query and body, by proto3's JSON mapping."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from clouddesktop.api.rest_bindings import Binding
from clouddesktop.errors import FieldViolation, InvalidArgumentError

_FAILED_FIELD = re.compile(r"Failed to parse (\S+) field: (.*)", re.DOTALL)
_WHOLE = "*"
_MAPPED = frozenset(
    f"google.protobuf.{name}"
    for name in (
        "Timestamp",
        "Duration",
        "FieldMask",
        *(f"{kind}Value" for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32")),
        *(f"{kind}Value" for kind in ("Bool", "String", "Bytes")),
    )
)
"""Messages that JSON has as one value."""

Json = dict[str, Any]


def build_request(
    binding: Binding,
    *,
    variables: Mapping[str, str],
    query: Sequence[tuple[str, str]],
    body: bytes,
) -> Message:
    """Put a request together; a field of the body that does not exist is left out.

    Raises:
        InvalidArgumentError: names what does not fit: the body, a field or a parameter.
    """
    descriptor = binding.method.input_type
    message = GetMessageClass(descriptor)()
    if binding.body:
        _merge(message, _read_body(body, field="" if binding.body == _WHOLE else binding.body))
    elif body.strip():
        _refuse("body", "This method takes none")
    parameters: Json = {}
    for name, value in query:
        if binding.body == _WHOLE:
            _refuse(name, "The request's fields go into the body")
        _put(parameters, descriptor, name, value)
    for name, value in variables.items():
        _put(parameters, descriptor, name, value)
    _merge(message, parameters)
    return message


def _read_body(body: bytes, *, field: str) -> Json:
    if not body.strip():
        return {}
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        where = f": {error}" if isinstance(error, json.JSONDecodeError) else ""
        _refuse("body", f"This is no JSON{where}")
    if field:
        return {field: value}
    if not isinstance(value, dict):
        _refuse("body", "Value must be a JSON object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _merge(message: Message, values: Json) -> None:
    try:
        ParseDict(values, message, ignore_unknown_fields=True)
    except ParseError as error:
        found = _FAILED_FIELD.match(str(error))
        field, why = (found[1], found[2]) if found else ("body", str(error))
        known = message.DESCRIPTOR.fields_by_camelcase_name.get(field)
        field = field if known is None else known.name  # as the rules' own violations have it
        # The library's words end with the message's name, and its line.
        _refuse(field, why.partition(" at ")[0].rstrip("."))
    except (ValueError, TypeError, RecursionError):
        _refuse("body", "A value has the wrong type")


def _put(values: Json, descriptor: Descriptor, name: str, text: str) -> None:
    """Put the text of a parameter such as `pageSize` or `owner.id` where ParseDict looks for it."""
    *outer, last = name.split(".")
    for each in outer:
        field = _find(descriptor, each, whole=name)
        if field.message_type is None or field.is_repeated:
            _refuse(name, "There is no such field")
        values, descriptor = values.setdefault(field.name, {}), field.message_type
    field = _find(descriptor, last, whole=name)
    if field.message_type is not None and field.message_type.full_name not in _MAPPED:
        _refuse(name, "Value cannot be given in the query")
    value = _to_bool(text, name) if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else text
    if field.is_repeated:
        values.setdefault(field.name, []).append(value)
    elif field.name in values:
        _refuse(name, "Value is given twice")
    else:
        values[field.name] = value


def _find(descriptor: Descriptor, name: str, *, whole: str) -> FieldDescriptor:
    field = descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)
    if field is None:
        _refuse(whole, "There is no such field")
    return field


def _to_bool(text: str, name: str) -> bool:
    if text not in ("true", "false"):
        _refuse(name, "Value must be true or false")
    return text == "true"


def _refuse(field: str, why: str) -> NoReturn:
    violation = FieldViolation(field=field, description=why)
    raise InvalidArgumentError.of_fields([violation]) from None
