"""RoleService: the role table, as far as the API shows it."""

from __future__ import annotations

from yandex.cloud.iam.v1.role_pb2 import Role
from yandex.cloud.iam.v1.role_service_pb2 import (
    GetRoleRequest,
    ListRolesRequest,
    ListRolesResponse,
)

from clouddesktop.api.calls import Call
from clouddesktop.api.filters import parse_filter
from clouddesktop.api.paging import page_of
from clouddesktop.errors import NotFoundError
from clouddesktop.model.roles import ROLES


class RoleServicer:
    """Reads roles; everybody with a token may."""

    async def get(self, request: GetRoleRequest, _call: Call) -> Role:
        if request.role_id not in ROLES:
            raise NotFoundError.of_resource("Role", request.role_id)
        return _to_message(request.role_id)

    async def list_page(self, request: ListRolesRequest, _call: Call) -> ListRolesResponse:
        conditions = parse_filter(request.filter)
        found = [each for each in sorted(ROLES) if all(one.is_met(each) for one in conditions)]
        page, token = page_of(request, found, id_of=lambda each: each)
        return ListRolesResponse(roles=map(_to_message, page), next_page_token=token)


def _to_message(role_id: str) -> Role:
    return Role(id=role_id, description=ROLES[role_id].description)
