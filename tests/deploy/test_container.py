"""The container file: linted, and its steps taken without a container engine.

No image is built in tests: that takes a base image, which has to be fetched. What can go wrong of
ours is in the wheel (migrations, pages) and in the list of packages of Debian.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.units import DEPLOY
from parts.disks import MIB, convert, random_bytes, write_raw
from parts.official import OfficialClient
from parts.server import ServerProcess

FILE = DEPLOY / "Containerfile"
ROOT = DEPLOY.parent


def test_the_linter_finds_no_fault() -> None:
    """By hadolint, which has shellcheck look at the commands."""
    found = subprocess.run(["hadolint", FILE], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_it_runs_as_nobody_special_and_holds_no_secret() -> None:
    """A user by number, as Kubernetes wants it; nothing is copied but sources and the lock file."""
    text = FILE.read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    copied = re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
    assert copied == ["pyproject.toml uv.lock README.md LICENSE ./", "src src"]
    ignored = (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()
    assert ignored[0] == "*"


def test_it_installs_what_the_set_up_installs_for_a_server() -> None:
    """The first list of scripts/setup is what the server and the tests need, by its packages."""
    [packages] = re.findall(r"recommends \\\n +(bubblewrap.*) \\\n", FILE.read_text())
    [known] = re.findall(r"^packages=\((.*)\)$", (ROOT / "scripts/setup").read_text(), re.MULTILINE)
    needed = {"qemu-utils", "libnbd0", "bubblewrap", "libseccomp2"}
    assert needed <= set(packages.split())
    assert needed <= set(known.split())


@pytest.mark.qemu
@pytest.mark.slow
def test_the_wheel_alone_makes_a_server(
    make_server: Callable[..., ServerProcess], sources_dir: Path, tmp_path: Path
) -> None:
    """Installed as the container file does it, away from the checkout: a copy succeeds."""
    environment = tmp_path / "installed"
    # The command of the file, but for what depends on the image: where, and whether files are kept.
    [command] = re.findall(r"^RUN /uv/bin/uv (.*)$", FILE.read_text(), re.MULTILINE)
    words = [each for each in command.split() if each not in ("--no-cache", "--compile-bytecode")]
    subprocess.run(
        [ROOT / "scripts/uv", *words],
        cwd=ROOT,
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(environment)},  # noqa: TID251  (a child inherits it)
        check=True,
        capture_output=True,
    )
    places = subprocess.run(
        [environment / "bin/python", "-c", "import clouddesktop as it; print(it.__file__)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    ).stdout
    assert places.startswith(str(environment))
    assert not (environment / "bin/pytest").exists()
    write_raw(tmp_path / "plain.raw", size=4 * MIB, data={MIB: random_bytes(MIB, seed=1)})
    convert(tmp_path / "plain.raw", sources_dir / "disk.qcow2", "-O", "qcow2")
    server = make_server(command=(str(environment / "bin/clouddesktop"), "serve"))
    server.start()
    client = OfficialClient(server.profile)
    done = client.wait(client.copy("disk", "disk").id)
    assert done.WhichOneof("result") == "response", done.error.message
    _check_health(server, FILE.read_text())
    assert server.stop() == 0


def _check_health(server: ServerProcess, text: str) -> None:
    """Run the file's own health check, at this server's address and authority."""
    [code] = re.findall(r'"(import ssl.*)"\]', text)
    code = code.replace("/var/lib/clouddesktop", str(server.data_dir))
    there = code.replace("localhost:8080", server.http)
    subprocess.run(["python3", "-c", there], check=True, capture_output=True)
    nowhere = subprocess.run(
        ["python3", "-c", code.replace("localhost:8080", "127.0.0.1:1")],
        check=False,
        capture_output=True,
    )
    assert nowhere.returncode != 0
