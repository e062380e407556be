"""ApiEndpointService: where clients find each service. Here, all at one address."""

from __future__ import annotations

from collections.abc import Callable

from yandex.cloud.endpoint.api_endpoint_pb2 import ApiEndpoint
from yandex.cloud.endpoint.api_endpoint_service_pb2 import (
    GetApiEndpointRequest,
    ListApiEndpointsRequest,
    ListApiEndpointsResponse,
)

from clouddesktop.api.calls import Call
from clouddesktop.errors import NotFoundError, UnavailableError

SERVICE_IDS = (
    "clouddesktops",
    "compute",
    "endpoint",
    "iam",
    "operation",
    "quota-manager",
    "resource-manager",
)
"""The public cloud's ids. The official SDK needs `iam` and `operation`, whatever it calls."""


class ApiEndpointServicer:
    """Tells the address of every service; `advertised` gives HOST:PORT, empty while starting."""

    def __init__(self, *, advertised: Callable[[], str]) -> None:
        self._advertised = advertised

    async def get(self, request: GetApiEndpointRequest, _call: Call) -> ApiEndpoint:
        if request.api_endpoint_id not in SERVICE_IDS:
            raise NotFoundError.of_resource("Endpoint", request.api_endpoint_id)
        return ApiEndpoint(id=request.api_endpoint_id, address=self._address())

    async def list_all(
        self, _request: ListApiEndpointsRequest, _call: Call
    ) -> ListApiEndpointsResponse:
        """List them all: paging is deprecated in this method, and they are few."""
        address = self._address()
        return ListApiEndpointsResponse(
            endpoints=[ApiEndpoint(id=each, address=address) for each in SERVICE_IDS]
        )

    def _address(self) -> str:
        address = self._advertised()
        if not address:
            raise UnavailableError(
                "The server is starting.", remedy="Try again.", retry_after_seconds=1
            )
        return address
