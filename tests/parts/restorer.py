"""The program that restores images, run as a user does after a disaster."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import clouddesktop.restore_image


class Restorer:
    """The program's one file, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._program = folder / "restore_image.py"
        shutil.copy(clouddesktop.restore_image.__file__, self._program)

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", str(self._program), *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
        )

    def list_digests(self, store: Path, *options: str | Path) -> dict[int, list[str]]:
        """List what is there: digests by the size of the disk."""
        listed = self.run(store, *options)
        assert listed.returncode == 0, listed.stderr
        found: dict[int, list[str]] = {}
        for line in listed.stdout.splitlines()[1:]:
            digest, size, *_ = line.split()
            found.setdefault(int(size), []).append(digest)
        return found

    def restored(self, store: Path, digest: str, *options: str | Path) -> Path:
        output = self.folder / f"{digest[:8]}.raw"
        output.unlink(missing_ok=True)
        done = self.run(store, digest, "--output", output, *options)
        assert done.returncode == 0, done.stderr
        return output
