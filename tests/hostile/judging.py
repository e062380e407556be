"""Reads every file of a folder as the server does, and notes what came of it.

    python judging.py FOLDER REPORT     one JSON object a line: how it ended, and what it cost

Started by `hostile.verdicts` under strace; a look for a name that is not there marks in the trace
where a file's turn begins.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clouddesktop.disk.file import DiskFile, LocalFile
from clouddesktop.disk.reader import open_disk
from clouddesktop.disk.spool import Spool
from clouddesktop.errors import CloudDesktopError

PIECE_SIZE = 64 << 10
SPOOL = Spool(Path("/tmp/clouddesktop-spool"), most_bytes=1 << 30)  # the name is in verdicts.py
MOST_READ = 128 << 20
"""Bytes of a disk that are looked at, zeros aside: each sample that is read has fewer."""


def digest_of(pieces: Iterable[tuple[int, bytes]]) -> str:
    """Give a digest of a sparse content: aligned pieces of 64 KiB, those of zeros left out."""
    digest = hashlib.sha256()
    for offset, piece in pieces:
        if piece.strip(b"\0"):
            digest.update(offset.to_bytes(8) + piece.ljust(PIECE_SIZE, b"\0"))
    return digest.hexdigest()


def pieces_of(content: bytes) -> Iterator[tuple[int, bytes]]:
    for offset in range(0, len(content), PIECE_SIZE):
        yield offset, content[offset : offset + PIECE_SIZE]


def _read(disk: Any) -> Iterator[tuple[int, bytes]]:
    done, found = -1, 0
    for extent in list(disk.iter_extents()):  # a copy, too, looks at the whole map first
        first = max(done, extent.offset // PIECE_SIZE * PIECE_SIZE)
        for offset in range(first, extent.offset + extent.length, PIECE_SIZE):
            piece = bytearray(min(PIECE_SIZE, disk.size - offset))
            disk.read_into(offset, memoryview(piece))
            yield offset, bytes(piece)
            done = offset + PIECE_SIZE
            found += bool(piece.strip(b"\0")) * PIECE_SIZE
            if found > MOST_READ:
                raise RuntimeError("The sample holds more data than samples do.")


def outcome_of(file: DiskFile) -> dict[str, Any]:
    """Open and read one disk; errors of ours are an answer, others end the program."""
    try:
        with open_disk(file, readers=2, spool=SPOOL) as disk:
            return {"size": disk.size, "digest": digest_of(_read(disk))}
    except CloudDesktopError as error:
        return {"reason": error.reason, "message": error.message}


def judge(path: Path) -> dict[str, Any]:
    """Do that with a file of this machine, and note the time that it takes."""
    began = time.monotonic()
    with path.open("rb") as file:
        outcome = outcome_of(LocalFile(file.fileno()))
    return {"name": path.name, "seconds": time.monotonic() - began, **outcome}


def main(folder: Path, report: Path) -> None:
    tempfile.gettempdir()  # tries folders out, once
    with report.open("w") as lines:
        for path in sorted(folder.iterdir()):
            Path(f"/begin/{path.name}").exists()
            lines.write(json.dumps(judge(path)) + "\n")
            lines.flush()
        Path("/end").exists()
        usage = {
            "own_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            "child_kib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
        }
        lines.write(json.dumps(usage) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
