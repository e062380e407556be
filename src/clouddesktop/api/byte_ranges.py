"""The Range header: one range of bytes (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from clouddesktop.errors import CloudDesktopError, Code

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.IGNORECASE | re.ASCII)


class RangeNotSatisfiableError(CloudDesktopError):
    """The range asked for begins past the end."""

    code = Code.OUT_OF_RANGE
    reason = "RANGE_NOT_SATISFIABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """Bytes `start` to `end - 1`."""

    start: int
    end: int


def find_range(header: str | None, *, size: int) -> ByteRange | None:
    """Read a Range header for something of `size` bytes.

    None stands for all of it: without a header, with several ranges, and with one that makes no
    sense, as the RFC allows and wants.

    Raises:
        RangeNotSatisfiableError: it begins past the end.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    first, last = match.groups()
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    elif last:
        start, end = max(size - int(last), 0), size
    else:
        return None
    if start >= end:
        raise RangeNotSatisfiableError(
            f"The range begins at byte {start}, and there are {size}.",
            remedy="Ask for a range that begins before the end.",
            facts={"size": str(size)},
        )
    return ByteRange(start=start, end=end)
