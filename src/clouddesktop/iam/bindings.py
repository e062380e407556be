"""Changing who has which role where; one transaction, so operations come back done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from clouddesktop.catalog.bindings import add_binding, list_bindings, remove_binding
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.operations import add_done_operation, find_earlier_operation
from clouddesktop.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError
from clouddesktop.iam.access import Access, Caller
from clouddesktop.model.access import (
    ALL_AUTHENTICATED_USERS,
    AccessBinding,
    Resource,
    ResourceKind,
)
from clouddesktop.model.federation import issuer_name_of
from clouddesktop.model.operation import IdempotencyKey, Operation, OperationKind
from clouddesktop.model.roles import ROLES, Permission

_FEDERATED = "federatedUser"
_SUBJECT_TYPES = ("userAccount", "serviceAccount", _FEDERATED, "system")
_ADMIN = "admin"

_Change = Callable[[sa.Connection], Operation]


class LastAdminError(FailedPreconditionError):
    """The change would leave a cloud without anybody who could change it back."""

    reason = "LAST_ADMIN"


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingDelta:
    """One binding to add, or to remove."""

    is_added: bool
    binding: AccessBinding


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingRules:
    """How bindings on one kind of resource are read and changed."""

    list_permission: Permission
    update_permission: Permission
    set_kind: OperationKind
    update_kind: OperationKind


RULES: Mapping[ResourceKind, BindingRules] = {
    ResourceKind.CLOUD: BindingRules(
        list_permission=Permission.CLOUDS_LIST_BINDINGS,
        update_permission=Permission.CLOUDS_UPDATE_BINDINGS,
        set_kind=OperationKind.SET_CLOUD_BINDINGS,
        update_kind=OperationKind.UPDATE_CLOUD_BINDINGS,
    ),
    ResourceKind.FOLDER: BindingRules(
        list_permission=Permission.FOLDERS_LIST_BINDINGS,
        update_permission=Permission.FOLDERS_UPDATE_BINDINGS,
        set_kind=OperationKind.SET_FOLDER_BINDINGS,
        update_kind=OperationKind.UPDATE_FOLDER_BINDINGS,
    ),
    ResourceKind.SERVICE_ACCOUNT: BindingRules(
        list_permission=Permission.SERVICE_ACCOUNTS_LIST_BINDINGS,
        update_permission=Permission.SERVICE_ACCOUNTS_UPDATE_BINDINGS,
        set_kind=OperationKind.SET_SERVICE_ACCOUNT_BINDINGS,
        update_kind=OperationKind.UPDATE_SERVICE_ACCOUNT_BINDINGS,
    ),
    ResourceKind.COMPUTE_IMAGE: BindingRules(
        list_permission=Permission.COMPUTE_IMAGES_LIST_BINDINGS,
        update_permission=Permission.COMPUTE_IMAGES_UPDATE_BINDINGS,
        set_kind=OperationKind.SET_COMPUTE_IMAGE_BINDINGS,
        update_kind=OperationKind.UPDATE_COMPUTE_IMAGE_BINDINGS,
    ),
}


class Bindings:
    """Reads and changes bindings; what is changed counts at once in this process."""

    def __init__(self, *, database: Database, access: Access) -> None:
        self._database = database
        self._access = access

    async def list_on(self, resource: Resource, *, caller: Caller) -> list[AccessBinding]:
        """List what is bound on the resource itself.

        Raises:
            NotFoundError: the caller may not see the resource, or it does not exist.
            PermissionDeniedError: the caller may not see who has which role on it.
        """
        caller.require(RULES[resource.kind].list_permission, resource)
        return await self._database.aread(list_bindings, resource)

    async def set_on(
        self,
        resource: Resource,
        bindings: Sequence[AccessBinding],
        *,
        caller: Caller,
        idempotency: IdempotencyKey | None,
    ) -> Operation:
        """Let exactly these be bound on the resource.

        Raises:
            NotFoundError: the caller may not see the resource, or it does not exist.
            PermissionDeniedError: the caller may not change who has which role on it.
            InvalidArgumentError: a role or a type of subject is unknown.
            LastAdminError: a cloud would have no administrator left.
        """
        check_bindings(bindings, field="access_bindings[{}]")

        def change(connection: sa.Connection) -> Operation:
            kept, now = set(bindings), set(list_bindings(connection, resource))
            deltas = [BindingDelta(is_added=False, binding=each) for each in sorted(now - kept)]
            deltas += [BindingDelta(is_added=True, binding=each) for each in sorted(kept - now)]
            return _apply(
                connection,
                resource,
                deltas,
                kind=RULES[resource.kind].set_kind,
                caller=caller,
                idempotency=idempotency,
            )

        return await self._change(change)

    async def update_on(
        self,
        resource: Resource,
        deltas: Sequence[BindingDelta],
        *,
        caller: Caller,
        idempotency: IdempotencyKey | None,
    ) -> Operation:
        """Add and remove bindings, in their order; what is so already is left out of the result.

        Raises:
            CloudDesktopError: as `set_on` says.
        """
        check_bindings(
            [each.binding for each in deltas], field="access_binding_deltas[{}].access_binding"
        )

        def change(connection: sa.Connection) -> Operation:
            return _apply(
                connection,
                resource,
                deltas,
                kind=RULES[resource.kind].update_kind,
                caller=caller,
                idempotency=idempotency,
            )

        return await self._change(change)

    async def _change(self, change: _Change) -> Operation:
        operation = await self._database.awrite(change)
        self._access.forget()
        return operation


def check_bindings(bindings: Sequence[AccessBinding], *, field: str) -> None:
    """See that roles and types of subjects are known; `field` is a path with `{}` for the index.

    Raises:
        InvalidArgumentError: names every one that is not.
    """
    violations = []
    for index, each in enumerate(bindings):
        path = field.format(index)
        if each.role_id not in ROLES:
            violations.append(
                FieldViolation(
                    field=f"{path}.role_id",
                    description=f"There is no role {each.role_id}; RoleService.List lists them all",
                )
            )
        if each.subject_type not in _SUBJECT_TYPES:
            violations.append(
                FieldViolation(
                    field=f"{path}.subject.type",
                    description=f"Value must be one of {', '.join(_SUBJECT_TYPES)}",
                )
            )
        elif (each.subject_type == "system") != (each.subject_id == ALL_AUTHENTICATED_USERS):
            violations.append(
                FieldViolation(
                    field=f"{path}.subject.id",
                    description=f"The type system goes with {ALL_AUTHENTICATED_USERS}, and only so",
                )
            )
        elif (each.subject_type == _FEDERATED) != bool(issuer_name_of(each.subject_id)):
            violations.append(
                FieldViolation(
                    field=f"{path}.subject.id",
                    description=f"The type {_FEDERATED} goes with ISSUER:SUBJECT, and only so",
                )
            )
    if violations:
        raise InvalidArgumentError.of_fields(violations)


def _apply(
    connection: sa.Connection,
    resource: Resource,
    deltas: Sequence[BindingDelta],
    *,
    kind: OperationKind,
    caller: Caller,
    idempotency: IdempotencyKey | None,
) -> Operation:
    earlier = find_earlier_operation(connection, subject_id=caller.id, idempotency=idempotency)
    if earlier is not None:
        return earlier
    caller.require(RULES[resource.kind].update_permission, resource)
    effective = [
        each
        for each in deltas
        if (add_binding if each.is_added else remove_binding)(connection, resource, each.binding)
    ]
    check_admin_left(connection, resource)
    return add_done_operation(
        connection,
        kind=kind,
        description="Set access bindings" if "set" in kind else "Update access bindings",
        subject_id=caller.id,
        resource_id=resource.id,
        folder_id=resource.folder_id or "",
        result={
            "effective_deltas": [
                {"is_added": each.is_added, **asdict(each.binding)} for each in effective
            ]
        },
        idempotency=idempotency,
    )


def check_admin_left(connection: sa.Connection, resource: Resource) -> None:
    """See that a cloud has an administrator; other resources need none.

    Raises:
        LastAdminError: it has none.
    """
    if resource.kind is not ResourceKind.CLOUD:
        return
    if not any(each.role_id == _ADMIN for each in list_bindings(connection, resource)):
        raise LastAdminError(
            f"Nobody would have the role {_ADMIN} on the cloud {resource.id} any more.",
            remedy="Give it to somebody else first.",
            facts={"resource_type": "Cloud", "resource_id": resource.id},
        )
