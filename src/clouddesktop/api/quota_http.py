"""Setting quotas over HTTP: the public API has reading alone, so the path is one of our own.

PUT /quota/v1/clouds/{cloud_id}/limits/{quota_id}   {"limit": 10}, or null for no limit

Tokens and errors are the API's; the answer is {"quota_id": …, "limit": …, "usage": …}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clouddesktop.api.authentication import Callers
from clouddesktop.api.json_bodies import read_json_object
from clouddesktop.api.quotas import parse_quota_id
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.quotas import set_limit
from clouddesktop.errors import FieldViolation, InvalidArgumentError
from clouddesktop.model.access import Resource
from clouddesktop.model.roles import Permission

_MOST = 2**53  # the public API has limits as doubles


def quota_routes(*, database: Database, callers: Callers) -> list[Route]:
    """Build the routes, to be put beside those of the delivery."""

    async def set_quota_limit(request: Request) -> Response:
        caller = await callers.find_sender(request)
        cloud_id = request.path_params["cloud_id"]
        caller.require(Permission.QUOTAS_UPDATE, Resource.of_cloud(cloud_id))
        quota_id = parse_quota_id(request.path_params["quota_id"])
        limit = _limit_of(await read_json_object(request, example='{"limit": 10}'))
        quota = await database.awrite(set_limit, cloud_id, quota_id, limit)
        return JSONResponse({"quota_id": str(quota.id), "limit": quota.limit, "usage": quota.usage})

    path = "/quota/v1/clouds/{cloud_id}/limits/{quota_id}"
    return [Route(path, set_quota_limit, methods=["PUT"])]


def _limit_of(body: Mapping[str, Any]) -> int | None:
    violations = [
        FieldViolation(field=name, description="There is no such field")
        for name in body
        if name != "limit"
    ]
    limit = body.get("limit", "missing")
    if limit is not None and not (type(limit) is int and 0 <= limit <= _MOST):
        description = f"Value must be a whole number from 0 to {_MOST}, or null for no limit"
        violations.append(FieldViolation(field="limit", description=description))
    if violations:
        raise InvalidArgumentError.of_fields(violations)
    return None if limit is None else int(limit)
