"""Says any of the API's requests as REST does, from the methods' published `google.api.http`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from google.api import (  # type: ignore[import-untyped, unused-ignore]  # ships no types
    annotations_pb2,
)
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class RestRequest:
    """A request as HTTP has it; `body` is None where the method takes none."""

    verb: str
    path: str
    parameters: dict[str, Any] = field(default_factory=dict)
    body: Any = None


def to_rest(method: MethodDescriptor, request: Message) -> RestRequest:
    """Put the fields where the binding wants them: into the path, and then the query or the body.

    Names are camelCase in the query and the body, as the mapping of proto3 has them.
    """
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    left = MessageToDict(request)
    path = getattr(rule, verb)
    for name in variables_of(method):
        json_name = request.DESCRIPTOR.fields_by_name[name].json_name
        path = path.replace(f"{{{name}}}", quote(str(left.pop(json_name, "")), safe=""))
    if rule.body:
        assert rule.body == "*"
        return RestRequest(verb=verb.upper(), path=path, body=left)
    return RestRequest(verb=verb.upper(), path=path, parameters=dict(_flat(left)))


def variables_of(method: MethodDescriptor) -> list[str]:
    """Give the names of the fields that stand in a method's path."""
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    return re.findall(r"\{(\w+)\}", getattr(rule, rule.WhichOneof("pattern")))


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, each in value.items():
        if isinstance(each, dict):
            yield from _flat(each, f"{prefix}{name}.")
        else:
            yield prefix + name, each
