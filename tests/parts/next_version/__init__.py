"""A version of clouddesktop that comes after this one, made of it for tests of upgrades.

    python -m parts.next_version {adding|breaking} VERB …

It has one more revision of the tables, and another order of steps as far as workflows can tell.
`adding` lets programs of today's version go on beside it, `breaking` does not.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
VARIABLES = {"PYTHONPATH": str(TESTS)}
WORKFLOWS = "2"


def program(kind: str) -> tuple[str, ...]:
    """Give the command of the next version; run it with VARIABLES."""
    return (sys.executable, "-m", "parts.next_version", kind)


def become(kind: str) -> None:
    """Make this process one of the next version, before it does anything."""
    from clouddesktop.catalog import migrating  # noqa: PLC0415  (only where it is wanted)
    from clouddesktop.workflow import queue  # noqa: PLC0415  (only where it is wanted)

    migrating.VERSION_FOLDERS.append(Path(__file__).parent / kind)
    queue.APPLICATION_VERSION = WORKFLOWS


def find_head() -> str:
    """Name the last revision of today's version."""
    folder = Path(__file__).parents[3] / "src/clouddesktop/catalog/migrations/versions"
    return max(each.name[:4] for each in folder.glob("[0-9]*.py"))


def take_kind() -> str:
    """Take the first argument; children of a server find it in their environment."""
    name = "TEST_NEXT_VERSION"
    if name not in os.environ:  # noqa: TID251  (for children that are spawned)
        os.environ[name] = sys.argv.pop(1)  # noqa: TID251  (for children that are spawned)
    elif len(sys.argv) > 1 and sys.argv[1] == os.environ[name]:  # noqa: TID251  (the same)
        sys.argv.pop(1)
    return os.environ[name]  # noqa: TID251  (for children that are spawned)
