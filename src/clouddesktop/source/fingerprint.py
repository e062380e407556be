"""How a file's content is recognised without reading it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

SETTLED_SECONDS = 0.1
"""Age from which on a later write must show as another change time: kernels take it from a clock
that ticks every 1 to 10 ms."""

_SETTLED_NS = int(SETTLED_SECONDS * 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The identity and state of a file: equal ones have the same content, as far as is known.

    `settled` tells that any write after the fingerprint was taken shows as another fingerprint.
    Where it is false, the content must not be taken as known later.
    """

    size: int
    modified_ns: int
    changed_ns: int
    inode: int
    device: int
    settled: bool = field(compare=False)

    @classmethod
    def of_status(cls, status: os.stat_result) -> Fingerprint:
        return cls(
            size=status.st_size,
            modified_ns=status.st_mtime_ns,
            changed_ns=status.st_ctime_ns,
            inode=status.st_ino,
            device=status.st_dev,
            settled=status.st_ctime_ns + _SETTLED_NS <= time.time_ns(),
        )

    def to_text(self) -> str:
        """Give the compared fields as a text, equal exactly if the fingerprints are equal."""
        values = (self.size, self.modified_ns, self.changed_ns, self.inode, self.device)
        return ":".join(["file-1", *map(str, values)])
