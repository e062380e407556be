"""The systemd units as systemd reads them, and programs run under what they restrict.

No systemd runs in tests. What the kernel does for it is asked of the kernel here in the same terms:
a mount name space of its own for the file system, a filter of the same system calls.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
DEPLOY = CHECKOUT / "deploy"
UNITS = DEPLOY / "systemd"
COMMON = UNITS / "clouddesktop-.service.d" / "10-common.conf"
NAMES = ("clouddesktop-server.service", "clouddesktop-api.service", "clouddesktop-worker@1.service")

_DEVICES = "null zero full random urandom tty"
_KEEP_WRITABLE = "/proc|/proc/*|/sys|/sys/*|/dev|/dev/*"  # ProtectSystem=strict, in its manual


def install_units(root: Path) -> None:
    """Lay the units and a program under `root` as on a machine."""
    folder = root / "etc/systemd/system"
    shutil.copytree(UNITS, folder)
    program = root / "opt/clouddesktop/bin/clouddesktop"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)


def read_directives(path: Path) -> dict[str, list[str]]:
    """Give each directive's values, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in path.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", ";")):
            found[name].append(value)
    return found


def expand_calls(filters: Sequence[str]) -> set[str]:
    """Give the names of system calls that SystemCallFilter= lines allow."""
    allowed: set[str] = set()
    for line in filters:
        for word in line.removeprefix("~").split():
            calls = _list_group(word) if word.startswith("@") else {word}
            allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def _list_group(name: str) -> set[str]:
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout
    calls: set[str] = set()
    for line in listed.splitlines()[1:]:
        word = line.split("#")[0].strip()
        calls |= _list_group(word) if word.startswith("@") else {word} - {""}
    return calls


def read_profile() -> set[str]:
    """Give the names of system calls that the profile for container engines allows."""
    profile = json.loads((DEPLOY / "seccomp.json").read_text())
    [rule] = profile["syscalls"]
    return set(rule["names"])


def confine(
    state: Path, *, further: str = "", calls: Collection[str] | None = None
) -> tuple[str, ...]:
    """Give the words that run a command as the units do, with `state` as the one folder to write.

    `further` are commands of a shell, run before the rest is locked; `calls`
    are allowed instead of those of the units.
    """
    directives = read_directives(COMMON)
    families = [
        int(getattr(socket, name)) for name in directives["RestrictAddressFamilies"][-1].split()
    ]
    filter_file = state / "filter.json"
    rules = {
        "calls": sorted(calls or expand_calls(directives["SystemCallFilter"])),
        "families": families,
        "is_code_fixed": "yes" in directives["MemoryDenyWriteExecute"],
    }
    filter_file.write_text(json.dumps(rules))
    is_root = os.geteuid() == 0
    steps = f"""
        set -eu
        exec 8<{CHECKOUT} 9<{state}
        mount -t tmpfs tmpfs /tmp
        mkdir -p {state}; mount -c --bind /proc/self/fd/9 {state}
        if ! test -e {CHECKOUT}; then  # it lies in /tmp itself; an installation does not
          mkdir -p {CHECKOUT}; mount -c --bind /proc/self/fd/8 {CHECKOUT}; fi
        exec 8<&- 9<&-
        mkdir /tmp/dev /tmp/dev/shm; for each in {_DEVICES}; do
          touch /tmp/dev/$each; mount --bind /dev/$each /tmp/dev/$each; done
        mount --rbind /tmp/dev /dev
        {"mount -t proc -o hidepid=invisible proc /proc" if is_root else ":"}
        {further or ":"}
        while read -r _ _ _ _ where _; do case $where in
          /sys/fs/cgroup*) mount -o remount,bind,ro $where ;;
          {_KEEP_WRITABLE}|/tmp|/tmp/*|{state}) ;;
          *) mount -o remount,bind,ro $where ;; esac; done </proc/self/mountinfo
        exec unshare --user --map-user=1000 --map-group=1000 setpriv --no-new-privs "$@"
    """
    unshare = ("unshare", "--mount") if is_root else ("unshare", "--map-root-user", "--mount")
    load = str(Path(__file__).with_name("load_filter.py"))
    return (*unshare, "sh", "-c", steps, "sh", sys.executable, load, str(filter_file))
