"""What changed between two images: two manifests side by side, no bytes read."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import replace

from clouddesktop.errors import FailedPreconditionError
from clouddesktop.ids import Digest
from clouddesktop.model.diff import Change, ChangeKind, DiffTotals
from clouddesktop.model.manifest import Manifest

_MOST_DIGESTS = 200_000
"""Digests held at a time, of each image: some 30 MiB. More are compared in several passes."""


class IncomparableImagesError(FailedPreconditionError):
    """The images have chunks of different sizes, so their digests say nothing about each other."""

    reason = "INCOMPARABLE_IMAGES"


class Comparison:
    """Compares two contents lazily, in one pass over their chunks.

    `totals` are complete once `iter_changes` has ended and `count_shared` was called.
    """

    def __init__(self, old: Manifest, new: Manifest) -> None:
        if old.chunk_size != new.chunk_size:
            raise IncomparableImagesError(
                f"The images have chunks of {old.chunk_size} and of {new.chunk_size} bytes.",
                remedy="Export both, and compare the files.",
            )
        self._old = old
        self._new = new
        self.totals = DiffTotals(old_disk_size=old.size, new_disk_size=new.size)

    def iter_changes(self) -> Iterator[Change]:
        """Go through the ranges that changed, ascending; neighbours of one kind are one range.

        A chunk that both disks end in at different places has changed, unless it is zero in both.
        """
        old_data = new_data = same = 0
        sums = dict.fromkeys(ChangeKind, 0)
        run: Change | None = None
        for number in self._iter_numbers():
            before, after = self._old.chunks.get(number), self._new.chunks.get(number)
            old_length = 0 if before is None else self._old.length_of(number)
            new_length = 0 if after is None else self._new.length_of(number)
            old_data, new_data = old_data + old_length, new_data + new_length
            if before == after:
                same += old_length
                continue
            change = Change(
                offset=number * self._old.chunk_size,
                length=max(old_length, new_length),
                kind=_kind_of(before, after),
            )
            sums[change.kind] += change.length
            if run is None:
                run = change
            elif run.kind is change.kind and run.offset + run.length == change.offset:
                run = replace(run, length=run.length + change.length)
            else:
                yield run
                run = change
        if run is not None:
            yield run
        self.totals = replace(
            self.totals,
            old_data_bytes=old_data,
            new_data_bytes=new_data,
            same_bytes=same,
            changed_bytes=sums[ChangeKind.CHANGED],
            added_bytes=sums[ChangeKind.ADDED],
            removed_bytes=sums[ChangeKind.REMOVED],
        )

    def count_shared(self) -> None:
        """Add up the chunks that both have, wherever they stand, and the distinct ones of each."""
        old_distinct = new_distinct = shared = 0
        most = max(len(self._old.chunks), len(self._new.chunks))
        passes = -(-most // _MOST_DIGESTS) or 1
        for remainder in range(passes):
            old = _lengths(self._old, passes, remainder)
            new = _lengths(self._new, passes, remainder)
            old_distinct += sum(old.values())
            new_distinct += sum(new.values())
            shared += sum(length for digest, length in new.items() if digest in old)
        self.totals = replace(
            self.totals,
            old_distinct_bytes=old_distinct,
            new_distinct_bytes=new_distinct,
            shared_bytes=shared,
        )

    def _iter_numbers(self) -> Iterator[int]:
        before = -1
        for number in heapq.merge(self._old.chunks, self._new.chunks):
            if number != before:
                yield number
                before = number


def _kind_of(before: Digest | None, after: Digest | None) -> ChangeKind:
    if before is None:
        return ChangeKind.ADDED
    return ChangeKind.REMOVED if after is None else ChangeKind.CHANGED


def _lengths(manifest: Manifest, passes: int, remainder: int) -> dict[Digest, int]:
    """Map the distinct digests of one pass to their chunks' plain bytes."""
    return {
        digest: manifest.length_of(number)
        for number, digest in manifest.chunks.items()
        if passes == 1 or int.from_bytes(digest[:4], "little") % passes == remainder
    }
