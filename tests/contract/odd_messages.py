"""Makes messages of any type out of odd values, and spoils the bytes of good ones."""

from __future__ import annotations

from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_TEXTS = (
    "",
    "a",
    "default",
    "golden",
    "name",
    " ",
    "\x00",
    "ü😀\u202e",
    "../../etc/passwd",
    "%s%n",
    "' OR 1=1 --",
    'name="x" AND name IN (',
    "created_at desc, name asc",
    "a" * 50,
    "a" * 51,
    "x" * 5000,
)
_NUMBERS = (0, 1, -1, 2, 100, 1000, 1001, 2**31 - 1, -(2**31))
_WIDE = (2**63 - 1, -(2**63), 2**53 + 1)
_MOST_DEPTH = 3
_HUGE_BYTES = 1 << 20


def make_message(kind: type[Message], random: Random, *, texts: tuple[str, ...] = ()) -> Message:
    """Fill some of the fields; `texts` are more values for those that hold text."""
    message = kind()
    _fill(message, random, (*_TEXTS, *texts), 0)
    return message


def _fill(message: Any, random: Random, texts: tuple[str, ...], depth: int) -> None:
    for field in message.DESCRIPTOR.fields:
        if random.random() < 0.3:
            continue
        if field.message_type is None:
            _set(message, field, random, texts)
        elif depth < _MOST_DEPTH:
            _fill_within(message, field, random, texts, depth)


def _set(message: Any, field: FieldDescriptor, random: Random, texts: tuple[str, ...]) -> None:
    if field.is_repeated:
        values = [_value(field, random, texts) for _ in range(random.randrange(4))]
        getattr(message, field.name).extend(values)
    else:
        setattr(message, field.name, _value(field, random, texts))


def _fill_within(
    message: Any, field: FieldDescriptor, random: Random, texts: tuple[str, ...], depth: int
) -> None:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        for _ in range(random.choice((1, 2, 65))):
            value[random.choice(texts)[:100] + str(random.randrange(100))] = random.choice(texts)
    elif field.is_repeated:
        for _ in range(random.randrange(3)):
            _fill(value.add(), random, texts, depth + 1)
    else:
        value.SetInParent()
        _fill(value, random, texts, depth + 1)


def _value(field: FieldDescriptor, random: Random, texts: tuple[str, ...]) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            text = random.choice(texts)
            return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
        case FieldDescriptor.CPPTYPE_BOOL:
            return random.random() < 0.5
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return random.choice((0.0, -1.5, float("inf"), float("nan")))
        case FieldDescriptor.CPPTYPE_UINT32 | FieldDescriptor.CPPTYPE_UINT64:
            return random.choice([each for each in _NUMBERS if each >= 0])
        case FieldDescriptor.CPPTYPE_INT64:
            return random.choice(_NUMBERS + _WIDE)
        case _:
            return random.choice(_NUMBERS)


def spoil(good: bytes, random: Random) -> bytes:
    """Make bytes that a careful client would not send: cut, flipped, grown, nested, made up."""
    way = random.choice((_made_up, _cut, _flipped, _with_unknown, _nested, _huge, _endless))
    return way(good, random)


def _made_up(_good: bytes, random: Random) -> bytes:
    return random.randbytes(random.randrange(300))


def _cut(good: bytes, random: Random) -> bytes:
    return good[: random.randrange(len(good) + 1)]


def _with_unknown(good: bytes, random: Random) -> bytes:
    """Add a field that nobody knows, of any wire type."""
    return good + bytes([random.choice((0xF8, 0xF9, 0xFA, 0xFB, 0xFD)), 0x3F]) + b"\x05abcde"


def _huge(_good: bytes, random: Random) -> bytes:
    """Make a field of a size that no request has; sometimes it is more than is taken at all."""
    size = random.choice((2**16, _HUGE_BYTES - 100, _HUGE_BYTES + 1))
    return b"\x0a" + _varint(size) + b"a" * size


def _endless(good: bytes, random: Random) -> bytes:
    """Add a field whose length is far beyond the end."""
    return good + b"\x0a" + _varint(random.choice((2**31 - 1, 2**32, 2**63)))


def _flipped(good: bytes, random: Random) -> bytes:
    bad = bytearray(good or b"\x00")
    for _ in range(random.randrange(1, 6)):
        bad[random.randrange(len(bad))] ^= 1 << random.randrange(8)
    return bytes(bad)


def _nested(_good: bytes, random: Random) -> bytes:
    bad = b""
    for _ in range(random.choice((10, 99, 101, 5000))):
        bad = b"\x1a" + _varint(len(bad)) + bad
        if len(bad) > _HUGE_BYTES // 2:
            break
    return bad


def _varint(number: int) -> bytes:
    coded = bytearray()
    while number > 0x7F:
        coded.append(number & 0x7F | 0x80)
        number >>= 7
    coded.append(number)
    return bytes(coded)
