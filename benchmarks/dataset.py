"""Makes the disks that the benchmarks copy: a Debian desktop, and two patched copies of it.

python benchmarks/dataset.py [FOLDER]    # needs mmdebstrap; some minutes, 10 GiB

    base.raw    Debian 12 as it was released, with a desktop and an office, in ext4 on 8 GiB
    large.raw   after a dist-upgrade with all updates and security updates
    small.raw   after a reinstall of six packages

A disk that is there stays as it is. Making them needs root: they are mounted by a loop device.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path.home() / ".cache/clouddesktop/bench"
MIRROR = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"
PACKAGES = "xfce4,xrdp,firefox-esr,libreoffice,gimp,fonts-noto-core,build-essential"
REINSTALLED = ("xrdp", "tzdata", "bash", "coreutils", "perl-base", "xfce4-terminal")
UPDATED_SOURCES = f"""\
deb {MIRROR} bookworm main
deb {MIRROR} bookworm-updates main
deb {SECURITY} bookworm-security main
"""


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    folder = parser.parse_args().folder
    base, large, small = (folder / f"{name}.raw" for name in ("base", "large", "small"))
    if all(each.exists() for each in (base, large, small)):
        return
    if os.getuid() != 0:
        sys.exit(f"dataset: the disks in {folder} are made by root, who can mount them: use sudo.")
    folder.mkdir(parents=True, exist_ok=True)
    if not base.exists():
        make(base, None, install)
    if not large.exists():
        make(large, base, upgrade)
    if not small.exists():
        make(small, large, reinstall)


def make(target: Path, source: Path | None, change: Callable[[Path], None]) -> None:
    """Copy a disk or make a new one, change it, and give it its name at last."""
    draft = target.with_suffix(".draft")
    if source is None:
        draft.unlink(missing_ok=True)
        run("mke2fs", "-q", "-t", "ext4", str(draft), "8G")
    else:
        run("cp", "--sparse=always", str(source), str(draft))
    with mounted(draft) as root:
        change(root)
    draft.rename(target)
    print(f"{target}: {target.stat().st_blocks * 512 >> 20} MiB of data", flush=True)


def install(root: Path) -> None:
    """Install the desktop as of the release, without updates."""
    options = ["--variant=important", "--skip=check/empty", f"--include={PACKAGES}"]
    run("mmdebstrap", "--quiet", *options, "bookworm", str(root), f"deb {MIRROR} bookworm main")


def upgrade(root: Path) -> None:
    """Install every update."""
    (root / "etc/apt/sources.list").write_text(UPDATED_SOURCES)
    apt(root, "update")
    apt(root, "dist-upgrade")


def reinstall(root: Path) -> None:
    """Install six packages again."""
    apt(root, "install", "--reinstall", *REINSTALLED)


def apt(root: Path, *words: str) -> None:
    """Run apt-get in the disk, which reaches its servers as this machine does."""
    settings = subprocess.run(
        ["apt-config", "dump", "Acquire"], check=True, capture_output=True, text=True
    ).stdout
    own = root / "etc/apt/apt.conf.d/99benchmark"
    own.write_text(settings)
    resolver = root / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    resolver.write_text(Path("/etc/resolv.conf").read_text())
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")  # no service starts in a disk that is being made
    policy.chmod(0o755)
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
    command = ["chroot", str(root), "apt-get", "--yes", "--quiet=2", *words]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    own.unlink()


@contextmanager
def mounted(disk: Path) -> Iterator[Path]:
    """Mount a disk's file system, with what programs in it need of the kernel."""
    with tempfile.TemporaryDirectory(prefix="clouddesktop-disk-") as name:
        root = Path(name)
        run("mount", "-o", "loop", str(disk), name)
        try:
            for each in ("proc", "dev"):
                (root / each).mkdir(exist_ok=True)
            yield root
        finally:
            run("fstrim", name)
            run("umount", name)


def run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
