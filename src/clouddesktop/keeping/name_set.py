"""A set of very many names in little memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable

from blake3 import blake3

_SIZE = 8


class NameSet:
    """Names by 64 bits of their digest: eight bytes for each, whatever its length.

    Of two million names, one that is missing counts as there with a chance of 2e6 / 2^64.
    """

    def __init__(self, names: Iterable[str | bytes]) -> None:
        """Take the names, which may come as a stream."""
        self._numbers = array("Q", sorted(array("Q", map(_number_of, names))))

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, name: str | bytes) -> bool:
        number = _number_of(name)
        place = bisect_left(self._numbers, number)
        return place < len(self._numbers) and self._numbers[place] == number


def _number_of(name: str | bytes) -> int:
    plain = name.encode() if isinstance(name, str) else name
    return int.from_bytes(blake3(plain).digest(_SIZE))
