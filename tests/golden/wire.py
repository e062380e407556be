"""A second reading of protobuf's wire format and JSON mapping, which shares no code with protobuf.

    published.txt ── Published ──> encode(type, JSON) ──> bytes
                                   sample(type)       ──> JSON with every field

Written from protobuf.dev/programming-guides/encoding and /json, as far as this API needs it. Fields
are encoded in the order of their numbers, as protobuf's own libraries do.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

Json = Any

_TABLE = Path(__file__).with_name("published.txt")
_ANY = "google.protobuf.Any"
_TYPE_PREFIX = "type.googleapis.com/"
_VARINT, _FIXED64, _BYTES = 0, 1, 2
_WIRE_TYPES = {"int32": _VARINT, "int64": _VARINT, "bool": _VARINT, "enum": _VARINT}
_WIRE_TYPES |= {"double": _FIXED64}
_MAP_KEY, _MAP_VALUE = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field as published; `values` are an enum's names, `oneof` is empty outside of one."""

    number: int
    name: str
    kind: str
    is_repeated: bool = False
    values: Mapping[str, int]
    oneof: str

    @property
    def json_name(self) -> str:
        return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), self.name)


class Published:
    """The table of published messages."""

    def __init__(self, text: str) -> None:
        self.messages: dict[str, list[Field]] = {}
        fields: list[Field] = []
        for line in text.splitlines():
            if line.startswith("#") or not line:
                continue
            if line.startswith(" "):
                fields.append(_parse(line))
            else:
                fields = self.messages[line] = []

    @classmethod
    def read(cls) -> Published:
        return cls(_TABLE.read_text())

    def encode(self, message_type: str, value: Json) -> bytes:
        """Encode a message that is given as JSON; names that are not published are a mistake."""
        if message_type in _WELL_KNOWN:
            return _WELL_KNOWN[message_type](value)
        if message_type == _ANY:
            return self._encode_any(value)
        fields = {each.json_name: each for each in self.messages[message_type]}
        pairs = sorted((fields[name].number, name) for name in value)
        return b"".join(self._encode_field(fields[name], value[name]) for _, name in pairs)

    def sample(self, message_type: str) -> Json:
        """Make a message with something in every field, one of each oneof."""
        if message_type in _SAMPLES:
            return _SAMPLES[message_type]
        if message_type == _ANY:
            return {"@type": f"{_TYPE_PREFIX}google.rpc.RequestInfo", "requestId": "r1"}
        sampled: dict[str, Json] = {}
        oneofs: set[str] = set()
        for each in self.messages[message_type]:
            if (each.oneof and each.oneof in oneofs) or (each.kind == "enum" and not each.values):
                continue
            oneofs.add(each.oneof)
            one = self._sample_field(each)
            sampled[each.json_name] = [one, one] if each.is_repeated else one
        return sampled

    def _encode_any(self, value: Json) -> bytes:
        url = value["@type"]
        inner = {name: each for name, each in value.items() if name != "@type"}
        message_type = url.removeprefix(_TYPE_PREFIX)
        # A type with a JSON form of its own has it under `value`.
        content = inner.get("value") if message_type in _WELL_KNOWN else inner
        encoded = self.encode(message_type, content)
        return _chunk(1, url.encode()) + (_chunk(2, encoded) if encoded else b"")

    def _encode_field(self, field: Field, value: Json) -> bytes:
        if field.kind == "map":
            entries = value.items()
            return b"".join(
                _chunk(
                    field.number,
                    _chunk(_MAP_KEY, key.encode()) + _chunk(_MAP_VALUE, each.encode()),
                )
                for key, each in entries
            )
        values = value if field.is_repeated else [value]
        return b"".join(self._encode_one(field, each) for each in values)

    def _encode_one(self, field: Field, value: Json) -> bytes:
        wire_type = _WIRE_TYPES.get(field.kind, _BYTES)
        match field.kind:
            case "enum":
                content = varint(field.values[value])
            case "bool" | "int32" | "int64":
                content = varint(int(value))
            case "double":
                content = struct.pack("<d", value)
            case "string":
                return _chunk(field.number, value.encode())
            case _:
                return _chunk(field.number, self.encode(field.kind, value))
        return varint(field.number << 3 | wire_type) + content

    def _sample_field(self, field: Field) -> Json:
        if field.kind == "enum":
            return max(field.values, key=lambda name: field.values[name])
        if field.kind in _WIRE_TYPES or field.kind in ("string", "map"):
            plain: dict[str, Json] = {
                "string": f"{field.name} ü",
                "int64": str(2**52 + field.number),  # more than 32 bits, and exact as a double
                "int32": 2**30 + field.number,
                "double": field.number + 0.5,
                "bool": True,
                "map": {"key": "value"},
            }
            return plain[field.kind]
        return self.sample(field.kind)


def varint(number: int) -> bytes:
    """Encode seven bits at a time, the lowest first; negative ones as 64 bits."""
    number %= 1 << 64
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _chunk(number: int, content: bytes) -> bytes:
    return varint(number << 3 | _BYTES) + varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    """Encode a whole number, which is left out when it is 0."""
    return varint(number << 3 | _VARINT) + varint(value) if value else b""


def _timestamp(text: str) -> bytes:
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return _number(1, seconds) + _number(2, int(fraction.ljust(9, "0") or 0))


def _duration(text: str) -> bytes:
    seconds, _, fraction = text.removesuffix("s").partition(".")
    return _number(1, int(seconds)) + _number(2, int(fraction.ljust(9, "0") or 0))


def _field_mask(text: str) -> bytes:
    paths = [
        re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", each) for each in text.split(",")
    ]
    return b"".join(_chunk(1, each.encode()) for each in paths)


def _double_value(number: float) -> bytes:
    return varint(1 << 3 | _FIXED64) + struct.pack("<d", number) if number else b""


def _empty(_value: Json) -> bytes:
    return b""


_WELL_KNOWN: dict[str, Callable[[Any], bytes]] = {
    "google.protobuf.DoubleValue": _double_value,
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "google.protobuf.FieldMask": _field_mask,
    "google.protobuf.Empty": _empty,
}
_SAMPLES: dict[str, Json] = {
    "google.protobuf.DoubleValue": 2.5,
    "google.protobuf.Timestamp": "2026-11-24T12:30:00.123Z",
    "google.protobuf.Duration": "3.500s",
    "google.protobuf.FieldMask": "name,minDiskSize",
    "google.protobuf.Empty": {},
}


def _parse(line: str) -> Field:
    definition, _, oneof = line.partition(" | ")
    number, name, *kind = definition.split()
    is_repeated = kind[0] == "repeated"
    kind = kind[1:] if is_repeated else kind
    values = {}
    if kind[0] == "enum":
        values = {each: int(value) for each, value in (part.split("=") for part in kind[1:])}
    elif kind[0] == "map" and kind[1:] != ["string", "string"]:
        raise ValueError(f"Maps of {kind[1:]} are not known here.")
    return Field(
        number=int(number),
        name=name,
        kind=kind[0],
        is_repeated=is_repeated,
        values=values,
        oneof=oneof,
    )
