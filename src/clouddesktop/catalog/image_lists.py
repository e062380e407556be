"""Lists of desktop images, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from clouddesktop.catalog.images import IMAGE_COLUMNS, to_image
from clouddesktop.catalog.keyset import SortColumn, is_behind, order_clauses, place_of
from clouddesktop.catalog.prepared import Prepared
from clouddesktop.catalog.tables import images
from clouddesktop.model.folder import SYSTEM_FOLDER_ID
from clouddesktop.model.image import Image
from clouddesktop.model.listing import NameCondition, Position, SortKey


def list_images(
    connection: sa.Connection,
    *,
    folder_id: str,
    page_size: int,
    after: Position | None = None,
    conditions: Sequence[NameCondition] = (),
    order: Sequence[SortKey] = (),
) -> list[Image]:
    """List the folder's images and the system images that meet all conditions.

    They come in the order, by their ids where that is even: at most `page_size` of those behind
    `after`, which is a position in the same order.
    """
    of_folder, of_system = (
        _list_in(
            connection, each, page_size=page_size, after=after, conditions=conditions, order=order
        )
        for each in (folder_id, SYSTEM_FOLDER_ID)
    )
    if not of_system:
        return of_folder
    return _sorted([*of_folder, *of_system], order)[:page_size]


def _list_in(
    connection: sa.Connection,
    folder_id: str,
    *,
    page_size: int,
    after: Position | None,
    conditions: Sequence[NameCondition],
    order: Sequence[SortKey],
) -> list[Image]:
    query = _make_query(
        tuple(order),
        negations=tuple(each.is_negated for each in conditions),
        is_first=after is None,
    )
    parameters: dict[str, Any] = {"folder_id": folder_id, "page_size": page_size}
    for number, each in enumerate(conditions):
        parameters[f"names_{number}"] = list(each.names)
    if after is not None:
        parameters |= place_of((*after.values, after.image_id))
    return [to_image(row) for row in query.all(connection, **parameters)]


def _sorted(found: list[Image], order: Sequence[SortKey]) -> list[Image]:
    """Sort as the database does: Python, too, compares characters by their numbers."""
    found.sort(key=attrgetter("id"), reverse=bool(order) and order[-1].is_descending)
    for each in reversed(order):
        found.sort(key=attrgetter(each.field), reverse=each.is_descending)
    return found


@lru_cache(maxsize=256)
def _make_query(order: Sequence[SortKey], *, negations: Sequence[bool], is_first: bool) -> Prepared:
    query = sa.select(*IMAGE_COLUMNS).where(images.c.folder_id == sa.bindparam("folder_id"))
    for number, is_negated in enumerate(negations):
        names = images.c.name.in_(sa.bindparam(f"names_{number}", expanding=True))
        query = query.where(sa.not_(names) if is_negated else names)
    rows: sa.FromClause = images
    if not all(negations):
        # A few rows, by the index of names. Left to itself, SQLite walks along the order instead.
        rows = query.cte("named").prefix_with("MATERIALIZED")
        query = sa.select(rows)
    columns = [SortColumn(rows.c[each.field], each.is_descending) for each in order]
    # By ids in the last field's direction, so that one index serves both directions.
    columns.append(SortColumn(rows.c.id, bool(order) and order[-1].is_descending))
    if not is_first:
        query = query.where(is_behind(columns))
    query = query.order_by(*order_clauses(columns)).limit(sa.bindparam("page_size"))
    return Prepared(query)
