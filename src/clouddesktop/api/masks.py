"""Field masks: which fields an update is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clouddesktop.errors import FieldViolation, InvalidArgumentError


def masked(request: Any, updatable: Sequence[str]) -> dict[str, Any]:
    """Give the fields that the request's `update_mask` lists, as they are in it; all without one.

    A field that is listed and absent has its default, to which it is to be reset. Fields that are
    left alone are None.

    Raises:
        InvalidArgumentError: the mask lists another field.
    """
    paths = set(request.update_mask.paths) or set(updatable)
    violations = [
        FieldViolation(
            field="update_mask", description=f"{path!r} is none of {', '.join(updatable)}"
        )
        for path in sorted(paths.difference(updatable))
    ]
    if violations:
        raise InvalidArgumentError.of_fields(violations)
    return {name: _plain(getattr(request, name)) if name in paths else None for name in updatable}


def _plain(value: Any) -> Any:
    return dict(value) if hasattr(value, "items") else value
