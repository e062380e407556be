"""Show what clouddesktop does, on a real disk image and a server that is gone afterwards.

python scripts/demo.py [--image /path/to/disk.qcow2]
"""

# ruff: noqa: INP001, S603, T201  (a script that prints, and runs programs found on PATH)

from __future__ import annotations

import argparse
import json
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from demo_image import find_or_make_image

_CACHE = Path.home() / ".cache" / "clouddesktop"
_COMMAND = Path(sys.executable).parent / "clouddesktop"
_START_SECONDS = 120
_STOP_SECONDS = 60
_QCOW2_MAGIC = b"QFI\xfb"


class DemoError(Exception):
    """Something did not go as it must."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Copy and export a disk image, with proof.")
    parser.add_argument("--image", type=Path, help="a raw or qcow2 disk image of yours")
    image = parser.parse_args().image
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if image is None:
            say("A bootable disk image out of Debian's packages; it is made once and kept.")
            image = find_or_make_image(_CACHE)
        with tempfile.TemporaryDirectory(prefix="clouddesktop-demo-") as folder:
            show(image.resolve(), Path(folder))
    except (DemoError, RuntimeError, OSError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: the server is stopped and its folder is gone.", file=sys.stderr)
        return 130
    print("\nThe server is stopped, and its folder is gone. Next: docs/tutorial.md")
    return 0


def show(image: Path, folder: Path) -> None:
    if not image.is_file():
        raise DemoError(f"{image} is no file.")
    disk_format = "qcow2" if image.open("rb").read(4) == _QCOW2_MAGIC else "raw"
    say("`clouddesktop` below is .venv/bin/clouddesktop in this folder.")
    with running_server(folder, images=image.parent) as profile:
        client = (_COMMAND, "--profile", profile)

        say("The first copy: read, checked, split into chunks, stored.")
        run(*client, "image", "copy", "--compute-image-id", image.stem, "--new-image-name", "Demo")

        say("The same disk again, under another name: its content is known.")
        started_at = time.monotonic()
        again = ("--new-image-name", "Demo, once more")
        run(*client, "image", "copy", "--compute-image-id", image.stem, *again)
        say(f"That took {time.monotonic() - started_at:.1f} s, most of it Python's own start.")
        run(*client, "image", "list")

        say("The way back: the disk as a hypervisor would see it.")
        exported, expected = folder / "exported.raw", folder / "expected.raw"
        run(*client, "image", "export", "Demo, once more", "--output", exported)

        say("The proof: byte for byte what qemu-img reads from the original.")
        run("qemu-img", "convert", "-f", disk_format, "-O", "raw", image, expected)
        run("cmp", exported, expected)
        print("The bytes are equal.")


@contextmanager
def running_server(folder: Path, *, images: Path) -> Iterator[Path]:
    """Run a server until the end of the block, then stop it with SIGTERM and expect status 0."""
    command = (
        _COMMAND, "serve", "--data-dir", folder / "data", "--grpc", "127.0.0.1:0",
        "--http", "127.0.0.1:0", "--source", f"demo=file://{images}",
    )  # fmt: skip
    log = folder / "server.log"
    print_command(command, suffix=" &")
    with log.open("wb") as log_file:
        server = subprocess.Popen(
            [str(each) for each in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log_file,
            start_new_session=True,  # Ctrl-C is for us; we stop it
        )
    try:
        yield wait_until_ready(server, log)
        print_command(("kill", str(server.pid)))
        server.terminate()
        if (status := server.wait(_STOP_SECONDS)) != 0:
            raise DemoError(f"The server ended with status {status}:\n{tail(log)}")
        print("The server ended with status 0.")
    except subprocess.TimeoutExpired:
        raise DemoError(f"The server did not stop:\n{tail(log)}") from None
    finally:
        stop(server)


def wait_until_ready(server: subprocess.Popen[bytes], log: Path) -> Path:
    assert server.stdout is not None  # noqa: S101  (asked for by stdout=PIPE)
    readable, _, _ = select.select([server.stdout], [], [], _START_SECONDS)
    line = server.stdout.readline() if readable else b""
    if not line:
        raise DemoError(f"The server did not start:\n{tail(log)}")
    print(line.decode(), end="")
    return Path(json.loads(line)["profile"])


def stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(_STOP_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            server.kill()
            server.wait()
    if server.stdout is not None:
        server.stdout.close()


def run(*command: str | Path) -> None:
    print_command(command)
    status = subprocess.run([str(each) for each in command], check=False).returncode
    if status:
        raise DemoError(f"`{Path(command[0]).name}` ended with status {status}.")


def print_command(command: tuple[str | Path, ...], *, suffix: str = "") -> None:
    words = [Path(command[0]).name, *map(str, command[1:])]
    print(f"\n$ {shlex.join(words)}{suffix}", flush=True)


def say(text: str) -> None:
    print(f"\n# {text}", flush=True)


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    if shutil.which("qemu-img") is None:
        sys.exit("The demo needs qemu-img: install the Debian package qemu-utils.")
    sys.exit(main())
