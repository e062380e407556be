"""The `order_by` of lists, in the public API's language.

order_by   key { , key }
key        ( name | created_at | status ) [ asc | desc ]

Directions are known in any case, and so is `createdAt`, the name that JSON has for the field.
"""

from __future__ import annotations

from clouddesktop.errors import FieldViolation, InvalidArgumentError
from clouddesktop.model.listing import SortField, SortKey

_FIELDS = {each.value: each for each in SortField} | {"createdAt": SortField.CREATED_AT}
_DIRECTIONS = {"asc": False, "desc": True}


def parse_order(text: str) -> list[SortKey]:
    """Take an order apart; an empty one has no keys.

    Raises:
        InvalidArgumentError: it is not understood; names the field or the direction.
    """
    if not text.strip():
        return []
    keys: list[SortKey] = []
    for each in text.split(","):
        key = _parse_key(each.split())
        if key.field in {earlier.field for earlier in keys}:
            raise _not_understood(f"images cannot be sorted by {key.field} twice")
        keys.append(key)
    return keys


def _parse_key(words: list[str]) -> SortKey:
    if not words:
        raise _not_understood("a field's name is expected before and after each comma")
    name, *directions = words
    if name not in _FIELDS:
        raise _not_understood(f"images cannot be sorted by {name}")
    direction = " ".join(directions) or "asc"
    if direction.lower() not in _DIRECTIONS:
        raise _not_understood(f"{direction} is no direction to sort {name} in")
    return SortKey(field=_FIELDS[name], is_descending=_DIRECTIONS[direction.lower()])


def _not_understood(what: str) -> InvalidArgumentError:
    fields = ", ".join(SortField)
    description = f"{what}; write {fields}, each with asc or desc if you like, and commas between"
    return InvalidArgumentError.of_fields(
        [FieldViolation(field="order_by", description=description)]
    )
