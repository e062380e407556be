"""Which method answers a path: the descriptors' `google.api.http` options, made into patterns.

The option's language (google/api/http.proto): `{name}` is one segment of the path, `{name=**}` all
that is left, `{name=a/*}` a pattern of its own; a `:verb` may end the path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from google.api import (  # type: ignore[import-untyped, unused-ignore]  # ships no types
    annotations_pb2,
    http_pb2,
)
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from clouddesktop.errors import NotFoundError, UnimplementedError

_VERBS = ("get", "put", "post", "delete", "patch")
_PART = re.compile(r"\{(?P<name>[\w.]+)(?:=(?P<inner>[^}]+))?\}|(?P<many>\*\*)|(?P<one>\*)")
_SEGMENT, _SEGMENTS = r"[^/:]+", r"[^:]+"  # a colon in an id is written %3A

FURTHER: Mapping[str, tuple[http_pb2.HttpRule, ...]] = {
    # The descriptor binds it to GET, the API's design guide to POST.
    "yandex.cloud.operation.OperationService.Cancel": (
        http_pb2.HttpRule(post="/operations/{operation_id}:cancel", body="*"),
    ),
}
"""Bindings that the descriptors lack."""


class RouteNotFoundError(NotFoundError):
    """No method of the API and no other page has this path."""

    reason = "ROUTE_NOT_FOUND"


class VerbNotAllowedError(UnimplementedError):
    """The path is known, and takes other HTTP methods."""

    reason = "METHOD_NOT_ALLOWED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One way to call a method: an HTTP verb and a path.

    `body` names the field that the body is, `*` means the whole request, empty means no body.
    """

    method: MethodDescriptor
    verb: str
    template: str
    body: str
    pattern: re.Pattern[str]
    variables: Sequence[str]

    @property
    def path(self) -> str:
        """The method's path in gRPC."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"


class BindingTable:
    """Finds bindings by verb and path; where many fit, by the one with the fewest variables."""

    def __init__(self, services: Sequence[ServiceDescriptor]) -> None:
        bindings = [
            binding
            for service in services
            for method in service.methods
            for binding in iter_bindings(method)
        ]
        # `quotaLimits/services` is a method of its own, not the quota of that name.
        self.bindings = sorted(bindings, key=lambda each: len(each.variables))

    def find(self, verb: str, raw_path: str) -> tuple[Binding, Mapping[str, str]]:
        """Find the binding of a request, and the values of its variables, decoded.

        Raises:
            RouteNotFoundError: no method has this path.
            VerbNotAllowedError: it has, by other verbs, which the fact `allow` lists.
        """
        allowed: list[str] = []
        for binding in self.bindings:
            match = binding.pattern.fullmatch(raw_path)
            if match is None:
                continue
            if binding.verb == verb:
                values = map(unquote, match.groups())
                return binding, dict(zip(binding.variables, values, strict=True))
            allowed.append(binding.verb)
        if not allowed:
            raise RouteNotFoundError(
                f"There is nothing at {verb} {unquote(raw_path)[:200]}.",
                remedy="GET /openapi.json lists every path.",
            )
        allow = ", ".join(dict.fromkeys(allowed))
        raise VerbNotAllowedError(
            f"{unquote(raw_path)[:200]} does not take {verb}.",
            remedy=f"It takes {allow}.",
            facts={"allow": allow},
        )


def iter_bindings(method: MethodDescriptor) -> Iterator[Binding]:
    """Go through the bindings of a method; there may be none."""
    main = method.GetOptions().Extensions[annotations_pb2.http]
    for rule in (main, *main.additional_bindings, *FURTHER.get(method.full_name, ())):
        verb = next((each for each in _VERBS if getattr(rule, each)), None)
        if verb is None:
            continue
        template = getattr(rule, verb)
        pattern, variables = _compile(template)
        yield Binding(
            method=method,
            verb=verb.upper(),
            template=template,
            body=rule.body,
            pattern=pattern,
            variables=variables,
        )


def _compile(template: str) -> tuple[re.Pattern[str], Sequence[str]]:
    pattern, variables, position = "", [], 0
    for part in _PART.finditer(template):
        pattern += re.escape(template[position : part.start()])
        position = part.end()
        if part["name"]:
            variables.append(part["name"])
            pattern += f"({_inner(part['inner'] or '*')})"
        else:
            pattern += _SEGMENTS if part["many"] else _SEGMENT
    return re.compile(pattern + re.escape(template[position:])), variables


def _inner(template: str) -> str:
    parts = (
        _SEGMENTS if each == "**" else _SEGMENT if each == "*" else re.escape(each)
        for each in template.split("/")
    )
    return "/".join(parts)
