"""ListOperations, which every service has whose resources operations work on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from clouddesktop.api.packing import OperationPacker
from clouddesktop.api.paging import make_page_token, page_size_of, read_page_token
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.operations import list_operations

Page = TypeVar("Page")


async def operations_page(
    request: Any,
    page_class: Callable[..., Page],
    *,
    resource_id: str,
    database: Database,
    operations: OperationPacker,
) -> Page:
    """Make a page of the operations on a resource, the latest first.

    Raises:
        InvalidArgumentError: the request's token is not one of this request.
    """
    page_size = page_size_of(request.page_size)
    found = await database.aread(
        list_operations,
        resource_id,
        page_size=page_size + 1,
        after=read_page_token(request, request.page_token),
    )
    shown = found[:page_size]
    is_last = len(found) == len(shown)
    return page_class(
        operations=[operations.pack(each) for each in shown],
        next_page_token="" if is_last else make_page_token(request, last_id=shown[-1].id),
    )
