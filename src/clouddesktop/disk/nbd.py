"""A disk in any format that QEMU knows, read through qemu-nbd by several connections at a time."""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import LifoQueue

from clouddesktop.disk.errors import (
    DamagedDiskError,
    DiskInUseError,
    DiskUnreadableError,
    UnsafeDiskError,
)
from clouddesktop.disk.file import DiskFile
from clouddesktop.disk.libnbd import STATE_ZERO, NbdConnection, NbdFaultError
from clouddesktop.disk.qemu import QemuNbd
from clouddesktop.disk.sandbox import SandboxPolicy, choose_sandbox
from clouddesktop.errors import CloudDesktopError, UnavailableError
from clouddesktop.model.manifest import Extent

_START_SECONDS = 60.0
_MAP_STEP = 1 << 30  # bytes of disk in one question for the map, so that no answer takes long
_BASE_CPU_SECONDS = 3600
_DISK_BYTES_PER_CPU_SECOND = (
    1 << 20
)  # a hundredth of what unpacking takes: ends what runs wild, no more
_PREFIX = re.compile(r"^qemu-nbd: (Failed to blk_new_open '.*?': )?", re.DOTALL)
_OTHER_FILE = re.compile(r"Could not open '(?!/proc/self/fd/\d+')")
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})
_HUNG_UP = frozenset({errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE, errno.ESHUTDOWN, 0})


class NbdDisk:
    """A disk that a qemu-nbd process serves. Thread-safe: threads beyond the connections wait."""

    def __init__(self, connections: list[NbdConnection], *, server: QemuNbd, name: str) -> None:
        self._server = server
        self._name = name
        self._size = connections[0].size
        self._free: LifoQueue[NbdConnection | None] = LifoQueue()
        self._connections = len(connections)
        for each in connections:
            self._free.put(each)

    @property
    def size(self) -> int:
        return self._size

    def iter_extents(self) -> Iterator[Extent]:
        position = 0
        while position < self._size:
            step = min(_MAP_STEP, self._size - position)
            with self._borrow(position) as connection:
                states = connection.get_states(position, step)
            for length, flags in states:
                # The last area of an answer may reach past what was asked for.
                end = min(position + length, self._size)
                if end > position and not flags & STATE_ZERO:
                    yield Extent(offset=position, length=end - position)
                position = end

    def read_into(self, offset: int, buffer: memoryview) -> None:
        end = offset + len(buffer)
        if offset < 0 or end > self._size:
            raise ValueError(f"Bytes {offset} to {end} are not on a disk of {self._size} bytes.")
        if buffer:
            with self._borrow(offset) as connection:
                connection.read_into(offset, buffer)

    def close(self) -> None:
        """Hang up. Reads that are under way in other threads fail; nobody may read afterwards."""
        self._server.kill()
        for _ in range(self._connections):
            connection = self._free.get()
            if connection is not None:
                connection.close()
        self._free.put(None)

    @contextmanager
    def _borrow(self, offset: int) -> Iterator[NbdConnection]:
        connection = self._free.get()
        failures = _count_failures(self._server)
        try:
            if connection is None:
                raise RuntimeError(f"The disk {self._name} is closed.")
            yield connection
        except NbdFaultError as fault:
            _raise_failure(self._server, since=failures, fault=fault)
            if fault.errno in _HUNG_UP:
                raise _ended(self._server, self._name) from fault
            raise DamagedDiskError(
                f"The disk {self._name} is damaged: QEMU cannot read it at byte {offset}"
                f" ({os.strerror(fault.errno)}){_in_words(self._server)}.",
                remedy="Look at it with `qemu-img check`, and at the health of its storage.",
                facts={"file": self._name, "offset": str(offset)},
            ) from fault
        finally:
            self._free.put(connection)


@contextmanager
def open_nbd_disk(
    file: DiskFile,
    *,
    driver: str,
    readers: int,
    size_hint: int,
    sandbox: SandboxPolicy = SandboxPolicy.REQUIRED,
) -> Iterator[NbdDisk]:
    """Open a file of the format `driver` for `readers` threads; `size_hint` is the disk's size.

    Raises:
        DamagedDiskError: QEMU can make nothing of it.
        DiskInUseError: another program writes to it.
        DiskUnreadableError: the process may not open the file again.
        UnsafeDiskError: it made QEMU open another file, so it was changed since it was probed.
        MissingProgramError: qemu-nbd or libnbd is not installed.
        SandboxUnavailableError: QEMU cannot be locked in here, and `sandbox` says that it has to.
        UnavailableError: the process was ended from outside, or did not answer.
        CloudDesktopError: whatever the file raises when it is read, then and later.
    """
    name = file.name
    cpu_seconds = _BASE_CPU_SECONDS + size_hint // _DISK_BYTES_PER_CPU_SECOND
    with QemuNbd(
        file,
        driver=driver,
        readers=readers,
        cpu_seconds=cpu_seconds,
        sandbox=choose_sandbox(sandbox),
    ) as server:
        disk = NbdDisk(_negotiate(server, name), server=server, name=name)
        try:
            _check_confined(server, name)
            yield disk
        finally:
            disk.close()


def _negotiate(server: QemuNbd, name: str) -> list[NbdConnection]:
    watchdog = threading.Timer(_START_SECONDS, server.kill)
    watchdog.daemon = True
    watchdog.start()
    connections: list[NbdConnection] = []
    try:
        for each in server.clients:
            connections.append(NbdConnection(each))  # noqa: PERF401  (what is open is closed on a fault)
    except BaseException as error:
        for connection in connections:
            connection.close()
        if isinstance(error, NbdFaultError):
            _raise_failure(server, since=0, fault=error)
            raise _ended(server, name) from error
        raise
    finally:
        watchdog.cancel()
    return connections


def _count_failures(server: QemuNbd) -> int:
    return 0 if server.bridge is None else server.bridge.failures


def _raise_failure(server: QemuNbd, *, since: int, fault: NbdFaultError) -> None:
    """Raise what the file itself raised meanwhile: QEMU could only say that reading failed."""
    if server.bridge is not None and server.bridge.failures > since:
        assert server.bridge.failure is not None  # noqa: S101  (counted after it is kept)
        raise server.bridge.failure from fault


def _check_confined(server: QemuNbd, name: str) -> None:
    try:
        is_confined = server.is_confined()
    except OSError as error:
        raise UnavailableError(
            f"What QEMU opened for the disk {name} cannot be seen: {error.strerror}.",
            remedy="Run the server where it may list /proc/PID/fd of its own children.",
            facts={"file": name},
        ) from error
    if not is_confined:
        raise _unsafe(name)


def _unsafe(name: str) -> UnsafeDiskError:
    return UnsafeDiskError(
        f"The disk {name} is unsafe to read: it was changed while it was opened, "
        "and refers to another file now.",
        remedy="Find out who writes to the file.",
        facts={"file": name},
    )


def _ended(server: QemuNbd, name: str) -> CloudDesktopError:
    """Word the end of the process, which may be on its way still."""
    server.kill()
    server.wait_ended()
    status = server.exit_status or 0
    text = server.messages
    facts = {"file": name, "exit_status": str(status), "qemu": text}
    words = _in_words(server)
    if _OTHER_FILE.search(text):
        return _unsafe(name)
    if "Failed to get" in text and "lock" in text:
        return DiskInUseError(
            f"The disk {name} is in use: another program has it open for writing{words}.",
            remedy="Stop the virtual machine or program that uses it, or copy a snapshot of it.",
            facts=facts,
        )
    if "Permission denied" in text:
        return DiskUnreadableError(
            f"The disk {name} cannot be read: the server's user may not open it{words}.",
            remedy="Give the server's user the right to read the file (`chmod`, `setfacl`).",
            facts=facts,
        )
    if text or -status in _CRASHES:
        return DamagedDiskError(
            f"The disk {name} is damaged: QEMU cannot open or read it{words}.",
            remedy="Look at it with `qemu-img check`, or copy or download the file again.",
            facts=facts,
        )
    return UnavailableError(
        f"The program that reads the disk {name} ended before its time (status {status}).",
        remedy="Try again; if it repeats, look for memory and time limits on the server.",
        facts=facts,
    )


def _in_words(server: QemuNbd) -> str:
    first = _PREFIX.sub("", server.messages).split("\n", 1)[0].rstrip(". ")
    return f": {first}" if first else ""
