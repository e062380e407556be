"""What the verbs of `clouddesktop quota` do, once a server is to be talked to."""

from __future__ import annotations

from typing import Any

from yandex.cloud.quotamanager.v1.quota_limit_service_pb2 import (
    ListQuotaLimitsRequest,
    QuotaLimit,
)
from yandex.cloud.quotamanager.v1.quota_limit_service_pb2_grpc import QuotaLimitServiceStub
from yandex.cloud.quotamanager.v1.resource_pb2 import Resource

from clouddesktop.cli.options import Globals
from clouddesktop.cli.render import Columns, print_many, print_one
from clouddesktop.cli.session import run_session
from clouddesktop.client import Connection
from clouddesktop.client.store import open_store_connection

_COLUMNS: Columns = {"ID": "quota_id", "LIMIT": "limit", "USAGE": "usage"}
_UNLIMITED = "unlimited"


def list_quotas(options: Globals, cloud_id: str | None) -> None:
    async def list_them(connection: Connection) -> list[QuotaLimit]:
        resource = Resource(
            id=cloud_id or connection.profile.cloud_id, type="resource-manager.cloud"
        )
        request = ListQuotaLimitsRequest(resource=resource, service="vdi", page_size=1000)
        answer = await connection.call(QuotaLimitServiceStub(connection.channel).List, request)
        return list(answer.quota_limits)

    found = run_session(options, list_them)
    print_many([_to_record(each) for each in found], options.style, _COLUMNS)


def set_quota(options: Globals, cloud_id: str | None, quota_id: str, limit: int | None) -> None:
    async def set_it(connection: Connection) -> dict[str, Any]:
        async with open_store_connection(connection) as store:
            answer = await store.set_quota(
                cloud_id or connection.profile.cloud_id, quota_id, limit=limit
            )
        return {**answer, "limit": _UNLIMITED if answer.get("limit") is None else answer["limit"]}

    print_one(run_session(options, set_it), options.style, _COLUMNS)


def _to_record(quota: QuotaLimit) -> dict[str, Any]:
    return {
        "quota_id": quota.quota_id,
        "limit": int(quota.limit.value) if quota.HasField("limit") else _UNLIMITED,
        "usage": int(quota.usage.value),
    }
