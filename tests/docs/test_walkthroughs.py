"""The commands of README and tutorial work as they stand, typed one after the other."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_SECONDS = 120


class Typist:
    """Types commands into a shell, as a reader in one folder with a second terminal does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server: subprocess.Popen[str] | None = None
        self._environment = {
            **os.environ,  # noqa: TID251  (children inherit it)
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # noqa: TID251  (the same)
            # The pages' own ports may be taken on this machine.
            "CLOUDDESKTOP_GRPC": "127.0.0.1:0",
            "CLOUDDESKTOP_HTTP": "127.0.0.1:0",
        }
        self._environment.pop("CLOUDDESKTOP_PROFILE", None)

    def type(self, command: str) -> str:
        """Run a command to its end, or start a server and wait until it is ready."""
        if command.startswith("clouddesktop serve"):
            return self._serve(command)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _serve(self, command: str) -> str:
        with (self.folder / "server.log").open("w") as log:
            self.server = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        assert line, (self.folder / "server.log").read_text()
        assert json.loads(line)["event"] == "ready"
        return line

    def leave(self) -> int:
        """Stop the server; give its exit status."""
        assert self.server is not None
        server, self.server = self.server, None
        with server:
            server.terminate()
            try:
                return server.wait(_SECONDS)
            finally:
                server.kill()


@pytest.fixture
def typist(tmp_path: Path) -> Iterator[Typist]:
    """A typist in a folder that has what a clone has; its server is gone at the end."""
    shutil.copytree(_ROOT / "docs", tmp_path / "docs")
    reader = Typist(tmp_path)
    yield reader
    if reader.server is not None:
        reader.leave()


def blocks_of(page: str, language: str) -> list[str]:
    """Find the blocks of one language."""
    text = (_ROOT / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands_of(page: str) -> list[str]:
    """Find what the reader is to type."""
    lines = [line for block in blocks_of(page, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


@pytest.mark.qemu
@pytest.mark.slow
def test_the_tutorial_works(typist: Typist) -> None:
    """Every command, the Python in it, and the end."""
    outputs = [typist.type(command) for command in commands_of("docs/tutorial.md")]
    assert any("Images are identical." in each for each in outputs)
    programs = blocks_of("docs/tutorial.md", "python")
    assert len(programs) == 2
    for number, program in enumerate(programs):
        (typist.folder / f"program{number}.py").write_text(program)
        said = typist.type(f"python program{number}.py")
        assert "From Python" in said
    assert typist.leave() == 0


@pytest.mark.qemu
@pytest.mark.slow
def test_the_first_copy_works(typist: Typist) -> None:
    """The five lines of the README, in a folder of the test's instead of /srv/images."""
    images = typist.folder / "images"
    images.mkdir()
    disk = os.urandom(300_000) + bytes(2_000_000)
    disk += bytes(-len(disk) % 512)
    (typist.folder / "disk.raw").write_bytes(disk)
    typist.type("qemu-img convert -f raw -O qcow2 disk.raw images/debian12.qcow2")

    commands = commands_of("README.md")
    assert len(commands) == 5
    assert commands[0].startswith("make setup")  # whoever runs this test has done it
    for command in commands[1:]:
        typist.type(command.replace("/srv/images", str(images)))
    assert (typist.folder / "debian12.raw").read_bytes() == disk
    assert typist.leave() == 0


def test_the_two_commands_are_there() -> None:
    """The Makefile has every target that the pages name."""
    makefile = (_ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md", "docs/tutorial.md"):
        named = set(
            re.findall(r"(?:^\s+|[`$] ?)make ([a-z]+)", (_ROOT / page).read_text(), re.MULTILINE)
        )
        assert named <= targets, page
