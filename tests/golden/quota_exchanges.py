"""What goes over the wire for quotas; exchanges.py says where from."""

from __future__ import annotations

from collections.abc import Iterator

from golden.exchange import QUOTAS, Exchange
from golden.prepared import IMAGES_LIMIT

_SERVICE, _PATH = f"{QUOTAS}.QuotaLimitService", "/quota-manager/v1/quotaLimits"
_CLOUD = {"id": "b1ccloud", "type": "resource-manager.cloud"}
_CLOUD_QUERY = "resource.id=b1ccloud&resource.type=resource-manager.cloud"
_COUNT = {"quotaId": "vdi.desktopImages.count", "limit": float(IMAGES_LIMIT), "usage": 2.0}
_SIZE = {"quotaId": "vdi.desktopImages.size", "usage": float(2**40 + 1)}
"""A quota that is not limited: the wrapper is left out, which is not the same as 0."""


def iter_quota_exchanges() -> Iterator[Exchange]:
    """Go through its methods."""
    yield Exchange(
        name="get a quota",
        method=f"{_SERVICE}/Get",
        request=(
            f"{QUOTAS}.GetQuotaLimitRequest",
            {"resource": _CLOUD, "quotaId": "vdi.desktopImages.count"},
        ),
        answer=(f"{QUOTAS}.QuotaLimit", _COUNT),
        rest=("GET", f"{_PATH}/vdi.desktopImages.count?{_CLOUD_QUERY}", None),
    )
    yield Exchange(
        name="list quotas",
        method=f"{_SERVICE}/List",
        request=(f"{QUOTAS}.ListQuotaLimitsRequest", {"resource": _CLOUD, "service": "vdi"}),
        answer=(
            f"{QUOTAS}.ListQuotaLimitsResponse",
            {"resource": _CLOUD, "quotaLimits": [_COUNT, _SIZE]},
        ),
        rest=("GET", f"{_PATH}?{_CLOUD_QUERY}&service=vdi", None),
    )
    yield Exchange(
        name="list services with quotas",
        method=f"{_SERVICE}/ListServices",
        request=(f"{QUOTAS}.ListServicesRequest", {"resourceType": "resource-manager.cloud"}),
        answer=(
            f"{QUOTAS}.ListServicesResponse",
            {"services": [{"id": "vdi", "name": "Cloud Desktop"}]},
        ),
        rest=("GET", f"{_PATH}/services?resourceType=resource-manager.cloud", None),
    )
