"""A call and its answer, as both go over the wire, and how to word them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from golden.prepared import ANY, INSTANT, Json

OPERATION = "yandex.cloud.operation"
ENDPOINT = "yandex.cloud.endpoint"
IAM = "yandex.cloud.iam.v1"
COMPUTE = "yandex.cloud.compute.v1"
QUOTAS = "yandex.cloud.quotamanager.v1"
ACCESS = "yandex.cloud.access"

ID = re.compile(r"[a-z0-9]{20}")
TOKEN = re.compile(r"t1\.[A-Za-z0-9_-]+={0,2}\.[A-Za-z0-9_-]{86}={0,2}")
PAGE_TOKEN = re.compile(r".{1,100}")


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A call and its answer; `rest` is how REST says it: verb, path with query, body."""

    name: str
    method: str
    request: tuple[str, Json]
    answer: tuple[str, Json]
    rest: tuple[str, str, Json] = ("", "", None)
    copies_done: bool = False


def filled(expected: Json, actual: Json) -> Json:
    """Put what came where a pattern stands that it fits; everything else stays as expected."""
    if isinstance(expected, re.Pattern):
        assert isinstance(actual, str)
        assert expected.fullmatch(actual), f"{actual!r} is no {expected.pattern!r}"
        return actual
    if isinstance(expected, dict) and isinstance(actual, dict):
        return {name: filled(value, actual.get(name)) for name, value in expected.items()}
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        return [filled(*each) for each in zip(expected, actual, strict=True)]
    return expected


def finished(description: str, metadata_type: str, metadata: Json, response: Json) -> Json:
    """Word an operation that this call made, and that is done; `response` has its `@type`."""
    return begun(description, metadata_type, metadata, done=True, response=response)


def begun(description: str, metadata_type: str, metadata: Json, **rest: Json) -> Json:
    """Word an operation that this call made."""
    return {
        "id": ID,
        "description": description,
        "createdAt": INSTANT,
        "createdBy": "ajeadmin",
        "modifiedAt": INSTANT,
        "metadata": {"@type": f"{ANY}{metadata_type}", **metadata},
        **rest,
    }
