"""A qemu-nbd process that reads one file for us, from its start to its certain end.

    this process                                   qemu-nbd
      client sockets x readers ---- accepted by --- listener, inherited (socket activation)
      the image's descriptor ------ reopened as --- /proc/self/fd/N   (a local file)
      or `disk.bridge` ------------ inherited ----- a socket that speaks NBD   (any other)
      stderr, read to its end <------------------- stderr

The clients connect before the program starts: their first answer comes when it is ready, and an
error when it has ended, so nothing is polled. The socket's name is gone before the program starts.
The program ends by itself when the last client hangs up, and is killed when this process dies.
What it is locked in by: `disk.sandbox`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from clouddesktop.disk.bridge import NbdBridge
from clouddesktop.disk.file import DiskFile, FileWindow
from clouddesktop.disk.sandbox import Sandbox, find_qemu_nbd, keep_fd, make_command, open_filter
from clouddesktop.errors import UnavailableError

_SECTOR_SIZE = 512
_STDERR_SIZE = 8 << 10
_KILLED = 128  # and the signal's number: how bwrap tells of it


class QemuNbd:
    """A running qemu-nbd and the sockets that are connected to it; a context manager."""

    def __init__(
        self,
        file: DiskFile,
        *,
        driver: str,
        options: Mapping[str, str],
        readers: int,
        cpu_seconds: int,
        sandbox: Sandbox | None,
    ) -> None:
        """Start it on an open file of the format `driver`; `clients` then has a socket per reader.

        Raises:
            MissingProgramError: it is not installed.
            UnavailableError: there is no room for another process.
        """
        with ExitStack() as stack:
            self._image = _share(file, stack)
            self._filter_fd = None if sandbox is None else open_filter(sandbox)
            if self._filter_fd is not None:
                stack.callback(os.close, self._filter_fd)
            # The format is named, and so is "no backing file", whatever the header says.
            node = {**options, "driver": driver, "backing": None, "file": self._image.node}
            self._command, self._environment = make_command(
                find_qemu_nbd(),
                ["--read-only", f"--shared={readers}", f"json:{json.dumps(node)}"],
                sandbox=sandbox,
                image_fd=self._image.fd if self._image.bridge is None else None,
                filter_fd=self._filter_fd,
                cpu_seconds=cpu_seconds,
            )
            self._listener, self.clients = _connect(readers)
            for each in (self._listener, *self.clients):
                stack.callback(each.close)
            self._process: subprocess.Popen[bytes] | None = None
            self._failure: OSError | None = None
            self._stderr = b""
            self._stderr_fd: int | None = None
            self._stderr_lock = threading.Lock()
            self._started = threading.Event()
            # The kernel kills the program when the *thread* that started it ends, as asked for by
            # --pdeathsig: that thread has to last as long, so it waits for the program's end.
            self._keeper = threading.Thread(target=self._keep, name="qemu-nbd", daemon=True)
            self._keeper.start()
            self._started.wait()
            if self._failure is not None:
                raise UnavailableError(
                    f"The program qemu-nbd cannot be started: {self._failure.strerror}.",
                    remedy="Look for the server's limits on processes and memory.",
                ) from self._failure
            self._resources = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it if it runs, and wait until it is gone."""
        self.kill()
        self.wait_ended()
        self._resources.close()

    @property
    def bridge(self) -> NbdBridge | None:
        """What it reads the file through, where that is no local one."""
        return self._image.bridge

    @property
    def pid(self) -> int:
        """The program's own, once it answers; in a sandbox it is a child of what was started."""
        pid = self._running.pid
        if self._filter_fd is None:
            return pid
        [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child)

    @property
    def exit_status(self) -> int | None:
        """None while it runs, as far as is known; negative: the signal that ended it."""
        status = self._running.returncode
        if status is not None and status > _KILLED:
            return _KILLED - status
        return status

    @property
    def messages(self) -> str:
        """What it has written to its standard error by now, shortened."""
        self._collect()
        return self._stderr.decode(errors="replace").strip()

    def kill(self) -> None:
        """Make it end at once: it only reads, so nothing is lost. Thread-safe."""
        if self._filter_fd is not None:
            _kill_children(self._running)
        self._running.kill()

    def wait_ended(self) -> None:
        """Wait until it has ended and its messages are complete."""
        self._keeper.join()

    def is_confined(self) -> bool:
        """Tell whether it has no file open but the image, and no connection but ours."""
        image = os.fstat(self._image.fd)
        sockets = 0
        for each in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                status = each.stat()
            except FileNotFoundError:  # closed since it was listed
                continue
            if stat.S_ISSOCK(status.st_mode):
                sockets += 1
            elif stat.S_ISBLK(status.st_mode) or (
                stat.S_ISREG(status.st_mode) and not os.path.samestat(status, image)
            ):
                return False
        return sockets <= len((self._listener, *self.clients)) + (self.bridge is not None)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("qemu-nbd has not been started.")
        return self._process

    def _keep(self) -> None:
        try:
            with self._listener:
                self._process = subprocess.Popen(  # noqa: S603  (a fixed program; the shell runs fixed text)
                    self._command,
                    stdin=self._listener.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=[
                        each for each in (self._image.fd, self._filter_fd) if each is not None
                    ],
                    env=self._environment,
                    cwd="/",
                )
            assert self._process.stderr is not None  # noqa: S101  (a pipe was asked for)
            self._stderr_fd = self._process.stderr.fileno()
            os.set_blocking(self._stderr_fd, False)
        except OSError as error:
            self._failure = error
            return
        finally:
            self._started.set()
        poll = select.poll()
        poll.register(self._stderr_fd, select.POLLIN)
        with self._process:
            while self._collect():
                poll.poll()
            with self._stderr_lock:
                self._stderr_fd = None

    def _collect(self) -> bool:
        """Take what it has written so far; tell whether more may come.

        A message that explains a failed read is written before the read's answer, so whoever got
        that answer finds the message, too.
        """
        with self._stderr_lock:
            if self._stderr_fd is None:
                return False
            try:
                piece = os.read(self._stderr_fd, _STDERR_SIZE)
            except BlockingIOError:
                return True
            self._stderr = (self._stderr + piece)[:_STDERR_SIZE]
            return bool(piece)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """A file as another process gets it: an inherited descriptor, and QEMU's words for it."""

    fd: int
    node: dict[str, Any]
    bridge: NbdBridge | None


def _share(file: DiskFile, stack: ExitStack) -> _Shared:
    whole: DiskFile = file
    offset = 0
    while isinstance(whole, FileWindow):
        offset += whole.offset
        whole = whole.whole
    # QEMU's windows are of whole sectors.
    if (
        whole.fd is None
        or offset % _SECTOR_SIZE
        or (whole is not file and file.size % _SECTOR_SIZE)
    ):
        bridge = stack.enter_context(NbdBridge(file))
        fd = _inheritable(bridge.client.fileno(), stack)
        server = {"type": "fd", "str": str(fd)}
        return _Shared(fd=fd, node={"driver": "nbd", "server": server}, bridge=bridge)
    fd = _inheritable(whole.fd, stack)
    node: dict[str, Any] = {"driver": "file", "filename": f"/proc/self/fd/{fd}"}
    if whole is not file:
        node = {"driver": "raw", "offset": offset, "size": file.size, "file": node}
    return _Shared(fd=fd, node=node, bridge=None)


def _kill_children(process: subprocess.Popen[bytes]) -> None:
    """Kill what bwrap has started: at its very start it has not tied that life to its own yet.

    It is stopped first, so that it starts nothing while we look.
    """
    process.send_signal(signal.SIGSTOP)
    if process.returncode is not None:
        return
    with suppress(ChildProcessError, FileNotFoundError, ProcessLookupError):  # all mean: it is gone
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)


def _inheritable(fd: int, stack: ExitStack) -> int:
    number = keep_fd(fd)
    stack.callback(os.close, number)
    return number


def _connect(count: int) -> tuple[socket.socket, list[socket.socket]]:
    """Make a listening socket and connect to it, by a name that nobody else ever sees."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="clouddesktop-"))
        folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, folder_fd)
        # By way of the descriptor: a socket's path may have 107 bytes at most.
        address = f"/proc/self/fd/{folder_fd}/socket"
        listener = socket.socket(socket.AF_UNIX)
        sockets = [listener]
        try:
            listener.bind(address)
            listener.listen(count)
            for _ in range(count):
                client = socket.socket(socket.AF_UNIX)
                sockets.append(client)
                client.connect(address)
        except OSError:
            for each in sockets:
                each.close()
            raise
        return listener, sockets[1:]
