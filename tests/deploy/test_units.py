"""The systemd units: accepted by systemd's own checkers, and the program works under them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.units import (
    COMMON,
    NAMES,
    UNITS,
    confine,
    install_units,
    read_directives,
    read_profile,
)
from parts.disks import MIB, convert, random_bytes, write_raw
from parts.official import OfficialClient
from parts.server import ServerProcess

_MOST_EXPOSURE = 30  # tenths; what is left is what the sandbox of qemu-nbd needs, and the network


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine's root folder with the units in it."""
    install_units(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_systemd_finds_no_fault_in_a_unit(root: Path, name: str) -> None:
    """No unknown directive, no program that is missing; a warning counts as a fault."""
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"--root={root}", name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_exposes_little(root: Path, name: str) -> None:
    """Every unit takes the common restrictions, by systemd's own measure."""
    subprocess.run(
        [
            *("systemd-analyze", "security", "--no-pager", "--offline=true", f"--root={root}"),
            *(f"--threshold={_MOST_EXPOSURE}", name),
        ],
        capture_output=True,
        check=True,
    )


def test_the_account_and_its_folders_can_be_made(tmp_path: Path) -> None:
    """sysusers.d and tmpfiles.d in an empty root."""
    (tmp_path / "etc").mkdir()
    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", UNITS / "clouddesktop.sysusers.conf"],
        check=True,
        capture_output=True,
    )
    account = (tmp_path / "etc/passwd").read_text()
    assert "clouddesktop image service:/var/lib/clouddesktop:" in account
    if os.geteuid() == 0:  # only root gives folders to others
        subprocess.run(
            [
                *("systemd-tmpfiles", "--create", f"--root={tmp_path}"),
                UNITS / "clouddesktop.tmpfiles.conf",
            ],
            check=True,
            capture_output=True,
        )
        uid = int(account.split(":")[2])
        assert (tmp_path / "var/lib/clouddesktop").stat().st_uid == uid


@pytest.mark.qemu
@pytest.mark.parametrize("calls", [None, read_profile()], ids=["systemd", "container"])
def test_the_program_works_under_the_restrictions(
    make_server: Callable[..., ServerProcess],
    sources_dir: Path,
    tmp_path: Path,
    calls: set[str] | None,
) -> None:
    """A read-only machine, few devices, no rights, a filter: what needs QEMU is copied."""
    write_raw(tmp_path / "plain.raw", size=4 * MIB, data={MIB: random_bytes(MIB, seed=1)})
    convert(tmp_path / "plain.raw", sources_dir / "disk.qcow2", "-O", "qcow2")
    server = make_server(
        command=(*confine(tmp_path, calls=calls), sys.executable, "-m", "clouddesktop", "serve")
    )
    server.start()
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    for fact in ("Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000"):
        assert fact in status
    mounts = Path(f"/proc/{server.process.pid}/mountinfo").read_text().splitlines()
    [whole] = [each for each in mounts if each.split()[4] == "/"]
    assert whole.split()[5].startswith("ro")
    client = OfficialClient(server.profile)
    done = client.wait(client.copy("disk", "disk").id)
    assert done.WhichOneof("result") == "response", done.error.message
    assert "no sandbox" not in server.log.read_text()
    assert server.stop() == 0


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("directive", "further"),
    [
        ("ProtectKernelTunables", "mount --bind /proc/sys /proc/sys"),
        ("ProtectKernelLogs", "mount --bind /dev/null /proc/kmsg"),
    ],
)
def test_what_the_units_leave_out_would_take_the_sandbox_away(
    tmp_path: Path, directive: str, further: str
) -> None:
    """Each of these covers a part of /proc; the kernel then gives no new one to anybody."""
    assert directive not in read_directives(COMMON)
    look = "from clouddesktop.disk.sandbox import explain_missing_sandbox as why; print(why())"
    for commands, words in (("", ""), (further, "Can't mount proc")):
        found = subprocess.run(
            [*confine(tmp_path, further=commands), sys.executable, "-c", look],
            capture_output=True,
            text=True,
            check=True,
        )
        assert words in found.stdout
        assert bool(found.stdout.strip()) == bool(words)
