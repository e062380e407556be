"""CloudService: an installation has one cloud, made at the first start."""

from __future__ import annotations

from yandex.cloud.resourcemanager.v1 import cloud_pb2
from yandex.cloud.resourcemanager.v1.cloud_service_pb2 import (
    GetCloudRequest,
    ListCloudsRequest,
    ListCloudsResponse,
)

from clouddesktop.api.calls import Call
from clouddesktop.api.filters import parse_filter
from clouddesktop.api.paging import page_of
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import get_cloud, list_clouds
from clouddesktop.model.access import Resource
from clouddesktop.model.folder import Cloud
from clouddesktop.model.roles import Permission


class CloudServicer:
    """Reads clouds."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def get(self, request: GetCloudRequest, call: Call) -> cloud_pb2.Cloud:
        call.caller.require(Permission.CLOUDS_GET, Resource.of_cloud(request.cloud_id))
        return _to_message(await self._database.aread(get_cloud, request.cloud_id))

    async def list_page(self, request: ListCloudsRequest, call: Call) -> ListCloudsResponse:
        """List the clouds that the caller may see; there are no organisations to choose from."""
        conditions = parse_filter(request.filter)
        found = [
            each
            for each in await self._database.aread(list_clouds)
            if call.caller.may(Permission.CLOUDS_GET, Resource.of_cloud(each.id))
            and not request.organization_id
            and all(one.is_met(each.name) for one in conditions)
        ]
        page, token = page_of(request, found, id_of=lambda each: each.id)
        return ListCloudsResponse(clouds=map(_to_message, page), next_page_token=token)


def _to_message(cloud: Cloud) -> cloud_pb2.Cloud:
    message = cloud_pb2.Cloud(id=cloud.id, name=cloud.name)
    message.created_at.FromDatetime(cloud.created_at)
    return message
