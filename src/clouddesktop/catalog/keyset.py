"""Keyset paging: a page goes on behind the last row's values, whatever has come or gone since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class SortColumn:
    """A column to sort by; the columns of an order together must tell every row from the others."""

    column: sa.ColumnElement[Any]
    is_descending: bool


def order_clauses(columns: Sequence[SortColumn]) -> list[sa.UnaryExpression[Any]]:
    """Give what belongs behind ORDER BY."""
    return [each.column.desc() if each.is_descending else each.column.asc() for each in columns]


def place_of(values: Sequence[Any]) -> dict[str, Any]:
    """Give the parameters of `is_behind` for a row with these values."""
    return {f"place_{number}": value for number, value in enumerate(values)}


def is_behind(columns: Sequence[SortColumn]) -> sa.ColumnElement[bool]:
    """Tell the rows behind a place in the order.

    Leading columns of one direction are compared as one row value: an index on them is entered
    right at the place, where a chain of ORs would be read from the first column's value on.
    """
    bound = [
        sa.bindparam(f"place_{number}", type_=each.column.type)
        for number, each in enumerate(columns)
    ]
    alike = list(takewhile(lambda each: each.is_descending == columns[0].is_descending, columns))
    row = sa.tuple_(*[each.column for each in alike])
    place = sa.tuple_(*bound[: len(alike)])
    is_descending = columns[0].is_descending
    if len(alike) == len(columns):
        return row < place if is_descending else row > place
    return sa.and_(
        row <= place if is_descending else row >= place,
        sa.or_(
            *[
                sa.and_(
                    *[columns[earlier].column == bound[earlier] for earlier in range(number)],
                    each.column < bound[number]
                    if each.is_descending
                    else each.column > bound[number],
                )
                for number, each in enumerate(columns)
            ]
        ),
    )
