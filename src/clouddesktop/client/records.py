"""Messages of the API as plain values: proto3 JSON with the proto's own (snake_case) names."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import empty_pb2  # noqa: F401  (the response of deletions, to be found by name)
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message


def to_record(message: Message) -> dict[str, Any]:
    """Make JSON-ready values: int64 as strings, times as RFC 3339, defaults left out."""
    # Not MessageToDict: it leaves an OrderedDict for every Any.
    record: dict[str, Any] = json.loads(MessageToJson(message, preserving_proto_field_name=True))
    if "labels" in record:  # a map has no order of its own; the same message is to look the same
        record["labels"] = dict(sorted(record["labels"].items()))
    return record
