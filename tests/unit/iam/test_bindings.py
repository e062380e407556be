"""Which subjects bindings may name."""

from __future__ import annotations

import pytest

from clouddesktop.errors import InvalidArgumentError
from clouddesktop.iam.bindings import check_bindings
from clouddesktop.model.access import AccessBinding


def a_binding(subject_type: str, subject_id: str) -> AccessBinding:
    return AccessBinding(role_id="viewer", subject_type=subject_type, subject_id=subject_id)


@pytest.mark.parametrize(
    ("subject_type", "subject_id"),
    [
        ("serviceAccount", "ajeone"),
        ("userAccount", "ajeone"),
        ("federatedUser", "corp:alice"),
        ("federatedUser", "ci:repo:team/images"),
        ("system", "allAuthenticatedUsers"),
    ],
)
def test_each_type_has_ids_of_its_form(subject_type: str, subject_id: str) -> None:
    """A role may be bound to whoever could come."""
    check_bindings([a_binding(subject_type, subject_id)], field="x[{}]")


@pytest.mark.parametrize(
    ("subject_type", "subject_id"),
    [
        ("federatedUser", "alice@example.org"),
        ("federatedUser", "ajeone"),
        ("federatedUser", ":alice"),
        ("serviceAccount", "corp:alice"),
        ("userAccount", "corp:alice"),
        ("system", "corp:alice"),
        ("federatedUser", "allAuthenticatedUsers"),
    ],
)
def test_a_role_is_not_bound_to_nobody(subject_type: str, subject_id: str) -> None:
    """What was meant for somebody of an issuer, and names no issuer, is refused in time."""
    with pytest.raises(InvalidArgumentError) as caught:
        check_bindings([a_binding(subject_type, subject_id)], field="x[{}]")
    assert [each.field for each in caught.value.violations] == ["x[0].subject.id"]
