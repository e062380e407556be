"""Queries on quotas. What the images of a folder come to is kept by the database's own triggers.

The size that a cloud uses is the `storage_size` of its images, and for each copy that has made its
plan and not ended, the bytes that it is going to read: its reservation. It becomes the stored size
when the image is published, and nothing when the copy has rolled back.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from clouddesktop.catalog.prepared import Prepared
from clouddesktop.catalog.tables import folder_usage, folders, images, operations, quota_limits
from clouddesktop.errors import ResourceExhaustedError
from clouddesktop.model.quota import Quota, QuotaId

_LIMITS_OF_FOLDER = Prepared(
    sa.select(quota_limits.c.cloud_id, quota_limits.c.quota_id, quota_limits.c.limit)
    .join(folders, folders.c.cloud_id == quota_limits.c.cloud_id)
    .where(folders.c.id == sa.bindparam("folder_id"))
)
_KNOWN = frozenset(map(str, QuotaId))


class QuotaExceededError(ResourceExhaustedError):
    """The cloud would have more of something than its quota allows; nothing was changed."""

    reason = "QUOTA_EXCEEDED"


def list_quotas(connection: sa.Connection, cloud_id: str) -> list[Quota]:
    """List every quota of a cloud with what is used of it."""
    limits = _find_limits(connection, cloud_id)
    return [
        Quota(id=each, limit=limits.get(each), usage=_measure(connection, cloud_id, each))
        for each in QuotaId
    ]


def get_quota(connection: sa.Connection, cloud_id: str, quota_id: QuotaId) -> Quota:
    """Read one quota of a cloud with what is used of it."""
    limit = _find_limits(connection, cloud_id).get(quota_id)
    return Quota(id=quota_id, limit=limit, usage=_measure(connection, cloud_id, quota_id))


def set_limit(
    connection: sa.Connection, cloud_id: str, quota_id: QuotaId, limit: int | None
) -> Quota:
    """Set a limit, None for none, and give the quota as it is then; what exceeds it stays."""
    connection.execute(
        sa.delete(quota_limits).where(
            quota_limits.c.cloud_id == cloud_id, quota_limits.c.quota_id == str(quota_id)
        )
    )
    if limit is not None:
        connection.execute(
            sa.insert(quota_limits).values(cloud_id=cloud_id, quota_id=str(quota_id), limit=limit)
        )
    return get_quota(connection, cloud_id, quota_id)


def check_quotas(connection: sa.Connection, folder_id: str, added: Mapping[QuotaId, int]) -> None:
    """See that what this transaction has `added` to a folder is within its cloud's quotas.

    Call it in the transaction that holds the database's one write lock, after the insert.

    Raises:
        QuotaExceededError: it is not; names the quota, its limit and what would be needed.
    """
    for row in _LIMITS_OF_FOLDER.all(connection, folder_id=folder_id):
        if row.quota_id not in _KNOWN:
            continue
        cloud_id, quota_id, limit = row.cloud_id, QuotaId(row.quota_id), row.limit
        if not added.get(quota_id):
            continue
        used = _measure(connection, cloud_id, quota_id)
        if used > limit:
            raise _exceeded(cloud_id, quota_id, limit=limit, used=used, added=added[quota_id])


def check_plan(connection: sa.Connection, operation_id: str) -> None:
    """See that the size which a copy's plan has just reserved is within its cloud's quota.

    Raises:
        QuotaExceededError: it is not.
    """
    planned = connection.execute(
        sa.select(operations.c.folder_id, operations.c.bytes_total).where(
            operations.c.id == operation_id
        )
    ).one()
    check_quotas(connection, planned.folder_id, {QuotaId.IMAGES_SIZE: planned.bytes_total})


def _find_limits(connection: sa.Connection, cloud_id: str) -> dict[QuotaId, int]:
    rows = connection.execute(
        sa.select(quota_limits.c.quota_id, quota_limits.c.limit).where(
            quota_limits.c.cloud_id == cloud_id
        )
    )
    return {QuotaId(row.quota_id): row.limit for row in rows if row.quota_id in _KNOWN}


def _measure(connection: sa.Connection, cloud_id: str, quota_id: QuotaId) -> int:
    if quota_id is QuotaId.IMAGES_COUNT:
        return _sum(connection, cloud_id, folder_usage.c.image_count)
    reserved = (
        sa.select(sa.func.sum(operations.c.bytes_total))
        .join(images, operations.c.resource_id == images.c.id)
        .join(folders, images.c.folder_id == folders.c.id)
        .where(operations.c.done.is_(False), folders.c.cloud_id == cloud_id)
    )
    stored = _sum(connection, cloud_id, folder_usage.c.storage_size)
    return stored + int(connection.scalar(reserved) or 0)


def _sum(connection: sa.Connection, cloud_id: str, what: sa.Column[int]) -> int:
    query = (
        sa.select(sa.func.sum(what))
        .join(folders, folder_usage.c.folder_id == folders.c.id)
        .where(folders.c.cloud_id == cloud_id)
    )
    return int(connection.scalar(query) or 0)


def _exceeded(
    cloud_id: str, quota_id: QuotaId, *, limit: int, used: int, added: int
) -> QuotaExceededError:
    return QuotaExceededError(
        f"Quota limit {quota_id} exceeded",
        remedy="Delete what is not needed, or have an administrator raise the limit:"
        f" `clouddesktop quota set {quota_id} LIMIT`.",
        facts={
            "quota_id": str(quota_id),
            "cloud_id": cloud_id,
            "limit": str(limit),
            "usage": str(used - added),
            "required": str(used),
        },
    )
