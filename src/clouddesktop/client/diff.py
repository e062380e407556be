"""Compare two images: what changed, and what they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from clouddesktop.client.connection import Connection
from clouddesktop.client.http import Response, open_http, read_json
from clouddesktop.errors import DataLossError
from clouddesktop.model.diff import Change, ChangeKind, DiffTotals


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDiff:
    """The ranges in which two disks differ, ascending, in whole chunks, and the sums (bytes)."""

    chunk_size: int
    ranges: Sequence[Change]
    totals: DiffTotals

    def to_record(self) -> dict[str, Any]:
        """JSON-ready values: 64-bit integers are texts, as in the API's JSON."""
        ranges = [
            {"offset": str(each.offset), "length": str(each.length), "kind": each.kind.value}
            for each in self.ranges
        ]
        totals = self.totals.to_record()
        return {"chunk_size": str(self.chunk_size), "totals": totals, "ranges": ranges}


async def diff_images(connection: Connection, old_id: str, new_id: str) -> ImageDiff:
    """Compare the disks of two images by their chunks' digests; the server reads no data for it.

    Raises:
        CallError: one of them is unknown or not ready, or the server was out of reach.
        DataLossError: the server's answer makes no sense.
    """
    path = f"/delivery/v1/images/{quote(old_id, safe='')}/diff/{quote(new_id, safe='')}"
    with open_http(connection, readers=1) as http:
        return await http.get(path, _read_diff)


def _read_diff(response: Response) -> ImageDiff:
    try:
        answer = read_json(response)
        return ImageDiff(
            chunk_size=int(answer["chunk_size"]),
            ranges=[
                Change(
                    offset=int(each["offset"]),
                    length=int(each["length"]),
                    kind=ChangeKind(each["kind"]),
                )
                for each in answer["ranges"]
            ],
            totals=DiffTotals.from_record(answer["totals"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataLossError("The server's comparison of the images makes no sense.") from error
