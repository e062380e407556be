"""The sandbox: what qemu-nbd can do in it, as the kernel tells, and what happens without one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clouddesktop.disk import sandbox
from clouddesktop.disk.errors import UnsafeDiskError
from clouddesktop.disk.file import LocalFile
from clouddesktop.disk.nbd import NbdDisk, open_nbd_disk
from clouddesktop.disk.sandbox import (
    SandboxPolicy,
    SandboxUnavailableError,
    choose_sandbox,
    explain_missing_sandbox,
)
from clouddesktop.disk.seccomp import build_filter
from parts.children import own_children
from parts.disk_files import MemoryFile
from parts.disks import MIB, convert, write_raw

pytestmark = pytest.mark.qemu

NOBODY = 65534


@pytest.fixture
def disk_file(tmp_path: Path) -> Path:
    """A qcow2 file of 64 MiB with data at the start."""
    raw = tmp_path / "disk.raw"
    write_raw(raw, size=64 * MIB, data={0: b"data" * 1000})
    path = tmp_path / "disk.qcow2"
    convert(raw, path, "-O", "qcow2", source_format="raw")
    return path


@pytest.fixture
def without_bwrap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that has the QEMU tools and no bubblewrap."""
    find = sandbox._find
    monkeypatch.setattr(sandbox, "_find", lambda name: None if name == "bwrap" else find(name))
    sandbox._try_out.cache_clear()
    yield
    sandbox._try_out.cache_clear()


@contextmanager
def opened_disk(
    path: Path, *, policy: SandboxPolicy = SandboxPolicy.REQUIRED
) -> Iterator[tuple[NbdDisk, Path]]:
    """Give the disk and the /proc folder of the program that reads it."""
    with (
        path.open("rb") as file,
        open_nbd_disk(
            LocalFile(file.fileno()), driver="qcow2", readers=2, size_hint=64 * MIB, sandbox=policy
        ) as disk,
    ):
        yield disk, Path(f"/proc/{own_children()[-1].pid}")


def read_head(disk: NbdDisk) -> bytes:
    buffer = bytearray(4000)
    disk.read_into(0, memoryview(buffer))
    return bytes(buffer)


def fields(path: Path) -> dict[str, str]:
    """Read a file of /proc that has a name and a value in each line."""
    lines = (line.partition(":") for line in path.read_text().splitlines())
    return {name: value.strip() for name, _, value in lines}


def test_it_has_no_rights_and_a_filter(disk_file: Path) -> None:
    """No capability, none to gain, the filter on, and not root although the tests may be."""
    with opened_disk(disk_file) as (disk, proc):
        status = fields(proc / "status")
        assert (proc / "comm").read_text() == "qemu-nbd\n"
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0
        assert set(status["Uid"].split()) == {str(os.geteuid() or NOBODY)}
        assert set(status["Gid"].split()) == {str(os.getegid() or NOBODY)}
        assert read_head(disk) == b"data" * 1000


def test_it_lives_in_name_spaces_of_its_own(disk_file: Path) -> None:
    """No network, no other processes, and files that are a handful."""
    with opened_disk(disk_file) as (_, proc):
        for kind in ("user", "net", "pid", "mnt", "ipc", "uts"):
            assert (proc / "ns" / kind).readlink() != Path(f"/proc/self/ns/{kind}").readlink()
        interfaces = (proc / "net" / "dev").read_text().splitlines()[2:]
        assert [each.split(":")[0].strip() for each in interfaces] == ["lo"]
        view = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
        points = {each[4]: each[5].split(",") for each in view}
        points = {point: flags for point, flags in points.items() if "/proc" not in point}
        assert "ro" in points["/"]
        assert "ro" in points["/usr/bin/qemu-nbd"]
        others = set(points) - {"/", "/dev/null", "/usr/bin/qemu-nbd"}
        assert all(".so" in each for each in others)
        assert all("ro" in points[each] for each in others)
        found = {each.name for each in (proc / "root").iterdir()}
        assert found <= {"proc", "dev", "usr", "lib", "lib64"}


def test_it_is_limited(disk_file: Path) -> None:
    """In memory, time and files; what it would write is 0 bytes long."""
    with opened_disk(disk_file) as (_, proc):
        limits = {
            line[:26].strip(): line[26:].split()[0]
            for line in (proc / "limits").read_text().splitlines()
        }
        assert int(limits["Max address space"]) <= 1 << 30
        assert 0 < int(limits["Max cpu time"]) <= 3700
        assert limits["Max file size"] == "0"
        assert limits["Max core file size"] == "0"
        assert int(limits["Max open files"]) <= 64
        assert "--read-only" in (proc / "cmdline").read_text()
        assert Path(proc / "fd" / "1").readlink() == Path("/dev/null")


def test_a_file_that_others_may_not_read_is_read(disk_file: Path) -> None:
    """By its owner, still without capabilities."""
    disk_file.chmod(0o600)
    with opened_disk(disk_file) as (disk, proc):
        assert read_head(disk) == b"data" * 1000
        assert set(fields(proc / "status")["Uid"].split()) == {str(os.geteuid())}
        assert int(fields(proc / "status")["CapEff"], 16) == 0


def test_a_file_behind_the_bridge_is_read_by_nobody(disk_file: Path) -> None:
    """The program has no file at all then."""
    disk_file.chmod(0o600)
    file = MemoryFile(disk_file.read_bytes())
    with open_nbd_disk(file, driver="qcow2", readers=2, size_hint=0) as disk:
        [_, child] = own_children()
        assert read_head(disk) == b"data" * 1000
        assert set(child.uids()) == {os.geteuid() or NOBODY}


SYSCALLS = """
import ctypes, errno, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
program = sys.stdin.buffer.read()
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
buffer = ctypes.create_string_buffer(program)
filter_ = Program(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
fd = os.open(sys.argv[1], os.O_RDWR)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(filter_), 0, 0) == 0
def result_of(name, *arguments):
    ctypes.set_errno(0)
    value = getattr(libc, name)(*arguments)
    return errno.errorcode.get(ctypes.get_errno(), "?") if value in (-1, 2**64 - 1) else "ok"
path = sys.argv[1].encode()
for name, arguments in {
    "socket": (1, 1, 0),
    "fork": (),
    "unlink": (path,),
    "rename": (path, path + b"2"),
    "mkdir": (path + b"d", 0o700),
    "chmod": (path, 0),
    "ftruncate": (fd, 0),
    "pwrite": (fd, b"evil", 4, 0),
    "ptrace": (0, 0, 0, 0),
    "unshare": (0x10000000,),
    "mount": (b"a", b"/", b"tmpfs", 0, 0),
    "kill": (os.getppid(), 0),
    "io_uring_setup": (8, 0),
    "ioctl": (fd, 0x5401, 0),
}.items():
    print(name, result_of(name, *arguments) if hasattr(libc, name) else "ENOSYS")
print("open to write", result_of("open", path, os.O_WRONLY))
print("open to create", result_of("open", path + b"3", os.O_RDWR | os.O_CREAT, 0o600))
libc.mmap.restype = ctypes.c_size_t
print("mmap shared", result_of("mmap", 0, 4096, 3, mmap.MAP_SHARED, fd, 0))
print("open to read", result_of("open", path, os.O_RDONLY))
sys.stdout.flush()
os._exit(0)
"""


def test_the_filter_stops_what_reading_does_not_need(tmp_path: Path) -> None:
    """Tried in a process of its own, call by call; reading goes through."""
    path = tmp_path / "victim"
    path.write_bytes(b"precious")
    ended = subprocess.run(
        [sys.executable, "-c", SYSCALLS, str(path)],
        input=build_filter(),
        capture_output=True,
        check=True,
    )
    results = dict(line.rsplit(" ", 1) for line in ended.stdout.decode().splitlines())
    assert results.pop("open to read") == "ok"
    assert len(results) == 17
    assert set(results.values()) == {"ENOSYS"}
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("without_bwrap")
def test_without_a_sandbox_disks_are_refused(disk_file: Path) -> None:
    """The error says what is missing and what to do; nothing was started."""
    with pytest.raises(SandboxUnavailableError, match="bubblewrap is not installed") as caught:
        opened_disk(disk_file).__enter__()
    assert "sandbox=preferred" in caught.value.remedy
    assert own_children() == []
    assert explain_missing_sandbox() == "bubblewrap is not installed"


@pytest.mark.usefixtures("without_bwrap")
def test_a_sandbox_that_is_preferred_may_be_missing(disk_file: Path, tmp_path: Path) -> None:
    """The disk is read with what is left of the confinement, and a foreign file is noticed."""
    assert choose_sandbox(SandboxPolicy.PREFERRED) is None
    with opened_disk(disk_file, policy=SandboxPolicy.PREFERRED) as (disk, proc):
        assert (proc / "comm").read_text() == "qemu-nbd\n"
        assert fields(proc / "status")["NoNewPrivs"] == "1"
        assert read_head(disk) == b"data" * 1000
    path = tmp_path / "external.qcow2"
    options = ["-o", f"data_file={tmp_path / 'secret'},data_file_raw=on"]
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "1M"], check=True
    )
    (tmp_path / "secret").chmod(0o644)
    tmp_path.chmod(0o755)
    with pytest.raises(UnsafeDiskError, match="another file"):
        opened_disk(path, policy=SandboxPolicy.PREFERRED).__enter__()


def test_a_sandbox_that_does_not_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bwrap's own words: often it is the kernel's settings."""
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create namespace' >&2; exit 1\n")
    broken.chmod(0o755)
    find = sandbox._find
    monkeypatch.setattr(
        sandbox, "_find", lambda name: str(broken) if name == "bwrap" else find(name)
    )
    monkeypatch.setattr(sandbox, "_can_be_nobody", lambda _fd: False)
    sandbox._try_out.cache_clear()
    try:
        assert explain_missing_sandbox() == "bwrap: No permissions to create namespace"
    finally:
        sandbox._try_out.cache_clear()
