"""Queries on access bindings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from clouddesktop.catalog.tables import access_bindings
from clouddesktop.model.access import AccessBinding, Resource, ResourceKind

Grant = tuple[ResourceKind, str, str]
"""A resource's kind and id, and the role that somebody has on it."""


def list_grants(connection: sa.Connection, subject_ids: Sequence[str]) -> list[Grant]:
    """List what is bound to any of these subjects."""
    rows = connection.execute(
        sa.select(
            access_bindings.c.resource_type,
            access_bindings.c.resource_id,
            access_bindings.c.role_id,
        ).where(access_bindings.c.subject_id.in_(subject_ids))
    )
    return [(ResourceKind(row.resource_type), row.resource_id, row.role_id) for row in rows]


def list_bindings(connection: sa.Connection, resource: Resource) -> list[AccessBinding]:
    """List what is bound on a resource itself, in the order of roles and subjects."""
    rows = connection.execute(
        sa.select(
            access_bindings.c.role_id,
            access_bindings.c.subject_id,
            access_bindings.c.subject_type,
        ).where(*_is_on(resource))
    )
    return sorted(
        AccessBinding(role_id=row.role_id, subject_id=row.subject_id, subject_type=row.subject_type)
        for row in rows
    )


def add_binding(connection: sa.Connection, resource: Resource, binding: AccessBinding) -> bool:
    """Bind a role; False if it is bound already."""
    if binding in list_bindings(connection, resource):
        return False
    connection.execute(
        sa.insert(access_bindings).values(
            resource_type=str(resource.kind),
            resource_id=resource.id,
            role_id=binding.role_id,
            subject_id=binding.subject_id,
            subject_type=binding.subject_type,
            created_at=datetime.now(tz=UTC),
        )
    )
    return True


def remove_binding(connection: sa.Connection, resource: Resource, binding: AccessBinding) -> bool:
    """Take a role away; False if it is not bound."""
    removed = connection.execute(
        sa.delete(access_bindings).where(
            *_is_on(resource),
            access_bindings.c.role_id == binding.role_id,
            access_bindings.c.subject_id == binding.subject_id,
            access_bindings.c.subject_type == binding.subject_type,
        )
    )
    return removed.rowcount > 0


def remove_all_bindings(connection: sa.Connection, resources: Iterable[Resource]) -> None:
    """Forget what was bound on resources that are gone."""
    for resource in resources:
        connection.execute(sa.delete(access_bindings).where(*_is_on(resource)))


def remove_bindings_of(connection: sa.Connection, subject_id: str) -> None:
    """Forget what was bound to a subject that is gone."""
    connection.execute(sa.delete(access_bindings).where(access_bindings.c.subject_id == subject_id))


def _is_on(resource: Resource) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return (
        access_bindings.c.resource_type == str(resource.kind),
        access_bindings.c.resource_id == resource.id,
    )
