"""QuotaLimitService: what a cloud may have, and what it has."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import DoubleValue
from yandex.cloud.quotamanager.v1 import quota_limit_service_pb2 as messages
from yandex.cloud.quotamanager.v1.resource_pb2 import Resource as ResourceMessage

from clouddesktop.api.calls import Call
from clouddesktop.api.paging import page_of
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.quotas import get_quota, list_quotas
from clouddesktop.errors import FieldViolation, InvalidArgumentError, NotFoundError
from clouddesktop.model.access import Resource, ResourceKind
from clouddesktop.model.quota import Quota, QuotaId
from clouddesktop.model.roles import Permission

_SERVICE = messages.Service(id="vdi", name="Cloud Desktop")


class QuotaLimitServicer:
    """Reads quotas; setting them is no part of the public API (quota_http.py)."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def get(self, request: messages.GetQuotaLimitRequest, call: Call) -> messages.QuotaLimit:
        cloud_id = _admit(request.resource, call)
        quota_id = parse_quota_id(request.quota_id)
        return _to_message(await self._database.aread(get_quota, cloud_id, quota_id))

    async def list_page(
        self, request: messages.ListQuotaLimitsRequest, call: Call
    ) -> messages.ListQuotaLimitsResponse:
        cloud_id = _admit(request.resource, call)
        if request.service != _SERVICE.id:
            raise NotFoundError.of_resource("Service", request.service)
        quotas = await self._database.aread(list_quotas, cloud_id)
        page, token = page_of(request, quotas, id_of=lambda each: str(each.id))
        return messages.ListQuotaLimitsResponse(
            resource=request.resource, quota_limits=map(_to_message, page), next_page_token=token
        )

    async def list_services(
        self, request: messages.ListServicesRequest, _call: Call
    ) -> messages.ListServicesResponse:
        services = [_SERVICE] if request.resource_type == ResourceKind.CLOUD else []
        page, token = page_of(request, services, id_of=lambda each: str(each.id))
        return messages.ListServicesResponse(services=page, next_page_token=token)


def parse_quota_id(text: str) -> QuotaId:
    """Read the id of a quota.

    Raises:
        NotFoundError: there is none with this id.
    """
    try:
        return QuotaId(text)
    except ValueError:
        raise NotFoundError.of_resource("Quota", text) from None


def _admit(resource: ResourceMessage, call: Call) -> str:
    if resource.type != ResourceKind.CLOUD:
        description = f"Value must be {ResourceKind.CLOUD}: only clouds have quotas"
        violation = FieldViolation(field="resource.type", description=description)
        raise InvalidArgumentError.of_fields([violation])
    call.caller.require(Permission.QUOTAS_GET, Resource.of_cloud(resource.id))
    return resource.id


def _to_message(quota: Quota) -> messages.QuotaLimit:
    limit = None if quota.limit is None else DoubleValue(value=quota.limit)
    return messages.QuotaLimit(
        quota_id=str(quota.id), limit=limit, usage=DoubleValue(value=quota.usage)
    )
