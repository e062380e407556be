"""What stands between a hostile disk and the machine: how qemu-nbd is started.

    prlimit    memory, CPU time, open files, no file written, no core dump
    setpriv    no new privileges, killed with us, the user nobody where we are root
    bwrap      own user, network, process and mount name spaces; the only files in its view are
               the program, its libraries, /dev/null and a /proc that shows itself alone
    seccomp    `disk.seccomp`: no sockets to open, no processes, no files to write

Where bwrap cannot work, a setting decides whether disks that need QEMU are refused or read with
what is left: the limits, no new privileges, and a look at what the program has opened.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from clouddesktop.disk.errors import MissingProgramError
from clouddesktop.disk.seccomp import SeccompError, build_filter
from clouddesktop.errors import FailedPreconditionError

_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"LC_ALL": "C", "MALLOC_ARENA_MAX": "2"}
_MEMORY_LIMIT = 1 << 30  # bytes of address space
_STACK_SIZE = 1 << 20  # of each of QEMU's threads, up to 64: they count as address space
_OPEN_FILES = 64
_FIRST_FREE_FD = 10  # socket activation wants the listener as descriptor 3
_NOBODY = 65534
_TRIAL_SECONDS = 30.0
_LIBRARY = re.compile(r"(?:^|=>)\s*(/\S+) \(0x", re.MULTILINE)  # a line of ldd
_ACTIVATE = (
    # Only from here on would the death of our process be noticed: it may have happened before.
    'test "$PPID" = "$1" || exit 1; shift; '
    'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@" 3<&0 0</dev/null'
)


class SandboxPolicy(StrEnum):
    """What to do where no sandbox can be had."""

    REQUIRED = "required"
    PREFERRED = "preferred"


class SandboxUnavailableError(FailedPreconditionError):
    """The disk needs QEMU, and QEMU cannot be locked in on this machine."""

    reason = "SANDBOX_UNAVAILABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A view of the file system and a filter of system calls that work on this machine."""

    bwrap: str
    libraries: tuple[str, ...]
    filter: bytes

    def wrap(self, program: str, *, filter_fd: int) -> list[str]:
        """Give the command that starts `program`, whose arguments follow.

        It keeps the descriptors that it inherits: what has none is not there.
        """
        binds = [each for path in (program, *self.libraries) for each in ("--ro-bind", path, path)]
        variables = {**_ENVIRONMENT, "LISTEN_FDS": "1", "LISTEN_PID": "1"}
        return [
            self.bwrap,
            *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net"),
            *("--unshare-uts", "--unshare-cgroup-try", "--as-pid-1", "--die-with-parent"),
            *("--uid", str(_NOBODY), "--gid", str(_NOBODY), "--cap-drop", "ALL"),
            *binds,
            *("--proc", "/proc", "--dev-bind", "/dev/null", "/dev/null", "--remount-ro", "/"),
            *("--chdir", "/", "--clearenv"),
            *(word for name, value in variables.items() for word in ("--setenv", name, value)),
            *("--seccomp", str(filter_fd), "--", program),
        ]


def keep_fd(fd: int) -> int:
    """Give a descriptor another number that the program leaves alone; the caller's to close."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD)


def open_filter(sandbox: Sandbox) -> int:
    """Give a descriptor that the filter can be read from once; the caller's to close."""
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        os.pwrite(fd, sandbox.filter, 0)
        return keep_fd(fd)
    finally:
        os.close(fd)


def choose_sandbox(policy: SandboxPolicy) -> Sandbox | None:
    """Give the sandbox to use; None: there is none, and that is accepted.

    Raises:
        SandboxUnavailableError: there is none, and one is required.
        MissingProgramError: qemu-nbd is not installed.
    """
    found = _try_out(find_qemu_nbd())
    if isinstance(found, Sandbox):
        return found
    if policy is SandboxPolicy.REQUIRED:
        raise SandboxUnavailableError(
            f"Disks that need QEMU are not read: it cannot be locked in here ({found}).",
            remedy="Install bubblewrap and libseccomp2 and allow user namespaces; or set"
            " sandbox=preferred, if all disk images come from people you trust.",
            facts={"why": found},
        )
    return None


def explain_missing_sandbox() -> str:
    """Tell why there is no sandbox on this machine; an empty text: there is one."""
    found = _try_out(find_qemu_nbd())
    return "" if isinstance(found, Sandbox) else found


def find_qemu_nbd() -> str:
    """Give the program's path.

    Raises:
        MissingProgramError: it is not installed.
    """
    program = _find("qemu-nbd")
    if program is None:
        raise MissingProgramError(
            "The program qemu-nbd, which reads disks that are not raw, is not installed.",
            remedy="Install it: `apt-get install qemu-utils libnbd0` on Debian and Ubuntu.",
            facts={"packages": "qemu-utils, libnbd0"},
        )
    return program


def make_command(
    program: str,
    arguments: Sequence[str],
    *,
    sandbox: Sandbox | None,
    image_fd: int | None,
    filter_fd: int | None,
    cpu_seconds: int,
) -> tuple[list[str], dict[str, str]]:
    """Give the command and the environment that start the program with its listener as stdin.

    `image_fd` is the file that it reads, if it reads one; to be inherited as `filter_fd` is.
    """
    command: list[str] = []
    if prlimit := _find("prlimit"):
        limits = [f"--as={_MEMORY_LIMIT}", f"--stack={_STACK_SIZE}", f"--cpu={cpu_seconds}"]
        command += [prlimit, *limits, f"--nofile={_OPEN_FILES}", "--core=0", "--fsize=0"]
    if setpriv := _find("setpriv"):
        command += [setpriv, "--no-new-privs", "--pdeathsig", "KILL"]
        if _can_be_nobody(image_fd):
            command += [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    command += ["/bin/sh", "-c", _ACTIVATE, "qemu-nbd", str(os.getpid())]
    if sandbox is None or filter_fd is None:
        command.append(program)
    else:
        command += sandbox.wrap(program, filter_fd=filter_fd)
    return [*command, *arguments], {"PATH": _SEARCH_PATH, **_ENVIRONMENT}


def _can_be_nobody(image_fd: int | None) -> bool:
    """Tell whether another user could read the file just as well; only root can become one."""
    if os.geteuid() != 0:
        return False
    return image_fd is None or bool(os.fstat(image_fd).st_mode & stat.S_IROTH)


def _find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=_SEARCH_PATH)


@cache
def _try_out(program: str) -> Sandbox | str:
    """Start the program in a sandbox, once in the life of this process; or say why that fails."""
    bwrap, ldd = _find("bwrap"), _find("ldd")
    if bwrap is None:
        return "bubblewrap is not installed"
    if ldd is None:
        return "ldd, which tells a program's libraries, is not installed"
    try:
        listed = subprocess.run([ldd, program], capture_output=True, text=True, check=False)  # noqa: S603  (fixed programs)
        libraries = tuple(sorted(set(_LIBRARY.findall(listed.stdout))))
        sandbox = Sandbox(bwrap=bwrap, libraries=libraries, filter=build_filter())
        return _start_once(sandbox, program) or sandbox
    except SeccompError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be started: {error.strerror}"
    except subprocess.TimeoutExpired:
        return "it does not start"


def _start_once(sandbox: Sandbox, program: str) -> str:
    """Give an empty text if all went well."""
    filter_fd = open_filter(sandbox)
    try:
        command, environment = make_command(
            program,
            ["--version"],
            sandbox=sandbox,
            image_fd=None,
            filter_fd=filter_fd,
            cpu_seconds=60,
        )
        ended = subprocess.run(  # noqa: S603  (fixed programs)
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            pass_fds=(filter_fd,),
            env=environment,
            cwd="/",
            timeout=_TRIAL_SECONDS,
            check=False,
        )
    finally:
        os.close(filter_fd)
    if ended.returncode == 0 and "qemu-nbd" in ended.stdout:
        return ""
    first = ended.stderr.strip().split("\n", 1)[0]
    return first or f"it ends with status {ended.returncode}"
