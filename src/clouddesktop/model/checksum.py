"""Checksums that somebody gave for a source's file: an algorithm and a digest."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LENGTHS = {"sha512": 128, "sha256": 64, "md5": 32}
"""Hexadecimal digits of each algorithm that is known, the best one first."""

_HEX = re.compile(r"[0-9a-f]+")

ALGORITHMS = tuple(_LENGTHS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksum:
    """What the bytes of a whole file should come to; `digest` is lower-case hexadecimal."""

    algorithm: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Checksum:
        """Read `sha256:<hex>`, `sha512:<hex>` or `md5:<hex>`, in capitals or not.

        Raises:
            ValueError: it is none of these; the text says what is wrong.
        """
        algorithm, colon, digest = text.strip().lower().partition(":")
        if not colon or algorithm not in _LENGTHS:
            raise ValueError(f"Value must be ALGORITHM:HEX, with one of {', '.join(ALGORITHMS)}")
        if len(digest) != _LENGTHS[algorithm] or not _HEX.fullmatch(digest):
            raise ValueError(f"A {algorithm} has {_LENGTHS[algorithm]} hexadecimal digits")
        return cls(algorithm=algorithm, digest=digest)

    @classmethod
    def of_digest(cls, digest: str) -> Checksum | None:
        """Take a digest by its length; None if no algorithm has digests of that length."""
        digest = digest.lower()
        for algorithm, length in _LENGTHS.items():
            if len(digest) == length and _HEX.fullmatch(digest):
                return cls(algorithm=algorithm, digest=digest)
        return None

    def to_text(self) -> str:
        """Give the form that `parse` reads."""
        return f"{self.algorithm}:{self.digest}"
