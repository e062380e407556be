"""The second reading of the wire format agrees with protobuf's own documentation."""

from __future__ import annotations

import pytest

from golden.wire import Published, varint

TABLE = Published(
    """
Test1
  1 a int32
Test2
  2 b string
Test3
  3 c Test1
Test4
  4 d string
  6 e repeated Test1
Test6
  7 g map string string
Kinds
  1 negative int64
  2 truth bool
  3 state enum READY=2
  4 ratio double
  5 at google.protobuf.Timestamp
  6 long_name google.protobuf.FieldMask
  7 wait google.protobuf.Duration
  8 any google.protobuf.Any
"""
)


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (150, "9601"), (-2, "feffffffffffffffff01")],
)
def test_varints(number: int, expected: str) -> None:
    """150 and -2 are the documentation's examples."""
    assert varint(number).hex() == expected


@pytest.mark.parametrize(
    ("message_type", "value", "expected"),
    [
        ("Test1", {"a": 150}, "08 96 01"),
        ("Test2", {"b": "testing"}, "12 07 74 65 73 74 69 6e 67"),
        ("Test3", {"c": {"a": 150}}, "1a 03 08 96 01"),
        (
            "Test4",
            {"e": [{"a": 1}, {"a": 2}], "d": "hello"},
            "22 05 68656c6c6f 3202 0801 3202 0802",
        ),
        ("Test6", {"g": {"k": "v"}}, "3a 06 0a 01 6b 12 01 76"),
        ("Kinds", {"negative": "-2"}, "08 fe ff ff ff ff ff ff ff ff 01"),
        ("Kinds", {"truth": True, "state": "READY"}, "10 01 18 02"),
        ("Kinds", {"ratio": 1.5}, "21 00 00 00 00 00 00 f8 3f"),
        ("Kinds", {"at": "1970-01-01T00:00:01.5Z"}, "2a 08 08 01 10 80 ca b5 ee 01"),
        ("Kinds", {"at": "1970-01-01T00:02:30Z"}, "2a 03 08 96 01"),
        ("Kinds", {"longName": "longName,at"}, "32 0f 0a 09 6c6f6e675f6e616d65 0a 02 6174"),
        ("Kinds", {"wait": "1s"}, "3a 02 08 01"),
        (
            "Kinds",
            {"any": {"@type": "type.googleapis.com/Test1", "a": 150}},
            "42 20 0a 19 747970652e676f6f676c65617069732e636f6d2f5465737431 12 03 08 96 01",
        ),
    ],
)
def test_the_documentation_s_examples(message_type: str, value: object, expected: str) -> None:
    """From protobuf.dev/programming-guides/encoding, and the rest by the same rules by hand."""
    assert TABLE.encode(message_type, value) == bytes.fromhex(expected)


def test_a_name_that_is_not_published_is_a_mistake() -> None:
    """A golden answer with a misspelt field must not pass as one without it."""
    with pytest.raises(KeyError):
        TABLE.encode("Test1", {"b": 1})
