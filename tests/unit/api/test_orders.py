"""The language of `order_by`."""

from __future__ import annotations

import pytest

from clouddesktop.api.orders import parse_order
from clouddesktop.errors import InvalidArgumentError
from clouddesktop.model.listing import SortField, SortKey

NAME, CREATED_AT, STATUS = SortField.NAME, SortField.CREATED_AT, SortField.STATUS


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", []),
        ("  ", []),
        ("name", [(NAME, False)]),
        ("name asc", [(NAME, False)]),
        ("created_at desc", [(CREATED_AT, True)]),
        ("createdAt DESC", [(CREATED_AT, True)]),
        (" status  Asc,name desc ", [(STATUS, False), (NAME, True)]),
        ("name,created_at,status", [(NAME, False), (CREATED_AT, False), (STATUS, False)]),
    ],
)
def test_an_order_is_read(text: str, keys: list[tuple[SortField, bool]]) -> None:
    """Ascending by default, whatever the spaces and the directions' case."""
    assert parse_order(text) == [
        SortKey(field=field, is_descending=is_descending) for field, is_descending in keys
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("size", "sorted by size"),
        ("Name", "sorted by Name"),
        ("name up", "up is no direction to sort name in"),
        ("name asc desc", "asc desc is no direction"),
        ("name;status", "sorted by name;status"),
        ("name,", "before and after each comma"),
        (",name", "before and after each comma"),
        ("name,status,name desc", "sorted by name twice"),
        ("created_at,createdAt", "sorted by created_at twice"),
    ],
)
def test_what_is_not_understood_is_named(text: str, what: str) -> None:
    """As the violation of the field, with what can be written instead."""
    with pytest.raises(InvalidArgumentError) as caught:
        parse_order(text)
    (violation,) = caught.value.violations
    assert violation.field == "order_by"
    assert what in violation.description
    assert "write name, created_at, status" in violation.description
