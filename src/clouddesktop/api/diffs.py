"""The answer of GET /delivery/v1/images/{image_id}/diff/{new_image_id}, written as it is made.

{"old_image_id": "…", "new_image_id": "…", "chunk_size": "…",
 "ranges": [{"offset": "…", "length": "…", "kind": "changed | added | removed"}, …],
 "totals": {…, of model.diff.DiffTotals}}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

from clouddesktop.delivery.diff import Comparison

_RANGES_AT_ONCE = 1000


def diff_to_json(
    comparison: Comparison, *, old_id: str, new_id: str, chunk_size: int
) -> Iterator[str]:
    """Write piece by piece: images may differ in hundreds of thousands of ranges."""
    head = {"old_image_id": old_id, "new_image_id": new_id, "chunk_size": str(chunk_size)}
    yield json.dumps(head)[:-1] + ', "ranges": ['
    changes = comparison.iter_changes()
    comma = ""
    while batch := list(islice(changes, _RANGES_AT_ONCE)):
        yield comma + ",".join(
            f'{{"offset":"{each.offset}","length":"{each.length}","kind":"{each.kind}"}}'
            for each in batch
        )
        comma = ","
    comparison.count_shared()
    yield f'], "totals": {json.dumps(comparison.totals.to_record())}}}'
