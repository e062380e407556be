"""The command as a process of its own: start-up, Ctrl-C, pipes, a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clouddesktop.model.operation import Phase, Progress
from unit.client.scripted_api import OPERATION_ID, ScriptedApi, an_image, an_operation

_COMMAND = (sys.executable, "-m", "clouddesktop")
_COPY = ("image", "copy", "--compute-image-id", "debian12", "--new-image-name", "Debian 12")
_SECONDS = 60


@pytest.mark.parametrize(
    "arguments", [("--version",), ("--help",), ("image", "copy", "--help"), ("serve", "--help")]
)
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    """Help and completion answer at once because gRPC, SQL and the like stay out."""
    program = (
        "import sys; from clouddesktop.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'grpc', 'google.protobuf', 'httpx', 'dbos', 'sqlalchemy', 'cryptography'}\n"
        "found = heavy & sys.modules.keys()\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True)


def test_ctrl_c_tells_how_to_go_on(api: ScriptedApi, profile_file: Path) -> None:
    """The operation goes on at the server; exit status as after SIGINT."""
    api.looks = [(an_operation(), Progress(phase=Phase.COPYING, bytes_total=9, bytes_done=4))]
    with subprocess.Popen(
        [*_COMMAND, "--profile", profile_file, *_COPY],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert api.looked.wait(_SECONDS)
        assert process.stderr is not None
        first_line = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=_SECONDS)
    assert first_line.startswith("copying: 4 B of 9 B")
    assert process.returncode == 130
    assert out == ""
    assert f"`clouddesktop operation wait {OPERATION_ID}` picks it up again" in err
    assert "Traceback" not in err


def test_a_reader_that_goes_away_is_no_crash(api: ScriptedApi, profile_file: Path) -> None:
    """`clouddesktop image list | head -1` prints no traceback."""
    api.images = [an_image(id=f"e3v{number}") for number in range(3)]
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [*_COMMAND, "--profile", profile_file, "image", "list"],
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    finally:
        os.close(write_end)
    assert done.returncode != 0
    assert done.stderr == ""


def test_a_terminal_gets_a_bar(api: ScriptedApi, profile_file: Path) -> None:
    """Share, amount, rate and time left stand in one line that is drawn again."""
    api.let_copy_succeed()
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [*_COMMAND, "--profile", profile_file, *_COPY],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},  # noqa: TID251  (a child inherits it)
        text=True,
    ) as process:
        os.close(theirs)
        seen = _read_all(ours)
        process.communicate(timeout=_SECONDS)
    assert process.returncode == 0
    assert "━" in seen
    assert "100%" in seen
    assert "1.0/1.0 kB" in seen
    assert "Done in" in seen


def _read_all(fd: int) -> str:
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(fd, 4096)
        except OSError:  # how Linux says that the other side of a terminal is closed
            part = b""
        if not part:
            os.close(fd)
            return b"".join(parts).decode()
        parts.append(part)
