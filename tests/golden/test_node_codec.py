"""The official Node SDK's classes, made from the same definitions by other tools, encode alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from golden.wire import Published
from parts.node_sdk import NodeSdk

PUBLISHED = Published.read()
FIELD_MASK = "google.protobuf.FieldMask"
COMPLETE = ("yandex.cloud.clouddesktop.", "yandex.cloud.operation.", "yandex.cloud.endpoint.")
"""Packages of which the Node SDK has every field."""


def has_any(message_type: str) -> bool:
    """Say whether there is an Any within: the Node SDK has no JSON form of it."""
    kinds = [each.kind for each in PUBLISHED.messages.get(message_type, [])]
    return "google.protobuf.Any" in kinds or any(map(has_any, kinds))


def to_node(message_type: str, value: Any) -> Any:
    """Write a message as the Node SDK's JSON has it: a mask is a list of paths there."""
    written = dict(value)
    for field in PUBLISHED.messages[message_type]:
        if field.kind == FIELD_MASK:
            text = re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", value[field.json_name])
            written[field.json_name] = {"paths": text.split(",")}
    return written


def from_node(message_type: str, value: Any) -> Any:
    """Read what the Node SDK wrote: it writes defaults out, and numbers as such."""
    return dict(_read_fields(message_type, value))


def _read_fields(message_type: str, value: Any) -> Iterator[tuple[str, Any]]:
    for field in PUBLISHED.messages[message_type]:
        read = value.get(field.json_name)
        if not read or (field.kind == "enum" and not field.values):
            continue
        if field.kind == FIELD_MASK:
            read = ",".join(_camel(each) for each in read["paths"])
        elif field.kind in PUBLISHED.messages:
            several = read if field.is_repeated else [read]
            several = [from_node(field.kind, each) for each in several]
            read = several if field.is_repeated else several[0]
        yield field.json_name, read


def _camel(path: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), path)


def test_the_node_sdk_encodes_what_is_published(node_sdk: NodeSdk) -> None:
    """All types that it has, with something in every field that it has."""
    samples = {each: PUBLISHED.sample(each) for each in PUBLISHED.messages if not has_any(each)}
    told = node_sdk.run("codec.js", {each: to_node(each, samples[each]) for each in samples})
    assert len(told) > 80
    assert any(each.startswith("yandex.cloud.iam.v1.") for each in told)
    for message_type, encoded in told.items():
        known = from_node(message_type, encoded["json"])
        assert bytes.fromhex(encoded["hex"]) == PUBLISHED.encode(message_type, known), message_type
        if message_type.startswith(COMPLETE):
            assert bytes.fromhex(encoded["hex"]) == PUBLISHED.encode(
                message_type, samples[message_type]
            )
    missing = [each for each in samples if each.startswith(COMPLETE) and each not in told]
    assert not missing
