"""A disk in any format that QEMU knows, read through qemu-nbd by several connections at a time."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from queue import LifoQueue

from clouddesktop.disk.errors import (
    DamagedDiskError,
)
from clouddesktop.disk.file import DiskFile
from clouddesktop.disk.libnbd import STATE_ZERO, NbdConnection, NbdFaultError
from clouddesktop.disk.nbd_faults import bomb_of, end_of, stall_of, unsafe_of, words_of
from clouddesktop.disk.qemu import QemuNbd
from clouddesktop.disk.sandbox import SandboxPolicy, choose_sandbox
from clouddesktop.disk.watchdog import Watchdog
from clouddesktop.errors import UnavailableError
from clouddesktop.model.manifest import Extent

_OPEN_SECONDS = 300.0
_PATIENCE_SECONDS = 120.0
_MAP_STEP = 1 << 30  # bytes of disk in one question for the map, so that no answer takes long
_BASE_CPU_SECONDS = 600
_DATA_PER_CPU_SECOND = 10 << 20  # bytes; unpacking is some thirty times as fast
_USUAL_DATA = 64 << 30
_MOST_DATA_PER_BYTE = 1000
"""A file may hold the usual bytes of data, or so many times its own: deflate cannot do better."""
_HUNG_UP = frozenset({errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE, errno.ESHUTDOWN, 0})


class NbdDisk:
    """A disk that a qemu-nbd process serves. Thread-safe: threads beyond the connections wait."""

    def __init__(
        self,
        connections: list[NbdConnection],
        *,
        server: QemuNbd,
        watchdog: Watchdog,
        name: str,
        most_data: int,
    ) -> None:
        self._server = server
        self._watchdog = watchdog
        self._name = name
        self._most_data = most_data
        self._size = connections[0].size
        self._free: LifoQueue[NbdConnection | None] = LifoQueue()
        self._connections = len(connections)
        for each in connections:
            self._free.put(each)

    @property
    def size(self) -> int:
        return self._size

    def iter_extents(self) -> Iterator[Extent]:
        position = found = 0
        while position < self._size:
            step = min(_MAP_STEP, self._size - position)
            with self._borrow(position) as connection:
                states = connection.get_states(position, step)
            for length, flags in states:
                # The last area of an answer may reach past what was asked for.
                end = min(position + length, self._size)
                if end > position and not flags & STATE_ZERO:
                    found += end - position
                    if found > self._most_data:
                        raise bomb_of(
                            self._name, most_data=self._most_data, ratio=_MOST_DATA_PER_BYTE
                        )
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
            with self._watchdog.watching():
                yield connection
        except NbdFaultError as fault:
            if self._watchdog.has_barked:
                raise stall_of(self._server, self._name) from fault
            _raise_failure(self._server, since=failures, fault=fault)
            if fault.errno in _HUNG_UP:
                raise end_of(self._server, self._name) from fault
            raise DamagedDiskError(
                f"The disk {self._name} is damaged: QEMU cannot read it at byte {offset}"
                f" ({os.strerror(fault.errno)}){words_of(self._server)}.",
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
    options: Mapping[str, str] | None = None,
    readers: int,
    size_hint: int,
    sandbox: SandboxPolicy = SandboxPolicy.REQUIRED,
    patience_seconds: float = _PATIENCE_SECONDS,
) -> Iterator[NbdDisk]:
    """Open a file of the format `driver` for `readers` threads; `size_hint` is the disk's size.

    `options` are the format's own, in QEMU's words.

    The program is ended, and reads fail, once it has given nothing for `patience_seconds`.

    Raises:
        DamagedDiskError: QEMU can make nothing of it.
        DiskInUseError: another program writes to it.
        DiskUnreadableError: the process may not open the file again.
        UnsafeDiskError: it made QEMU open another file, so it was changed since it was probed.
        MissingProgramError: qemu-nbd or libnbd is not installed.
        SandboxUnavailableError: QEMU cannot be locked in here, and `sandbox` says that it has to.
        DiskStalledError: the process does not answer, then and later.
        DiskBombError: when the map is read, there is too much data for such a file.
        UnavailableError: the process was ended from outside.
        CloudDesktopError: whatever the file raises when it is read, then and later.
    """
    name = file.name
    most_data = max(_USUAL_DATA, file.size * _MOST_DATA_PER_BYTE)
    cpu_seconds = _BASE_CPU_SECONDS + min(size_hint, most_data) // _DATA_PER_CPU_SECOND
    with QemuNbd(
        file,
        driver=driver,
        options=options or {},
        readers=readers,
        cpu_seconds=cpu_seconds,
        sandbox=choose_sandbox(sandbox),
    ) as server:
        watchdog = Watchdog(
            patience_seconds=patience_seconds,
            count_progress=lambda: 0 if server.bridge is None else server.bridge.answers,
            end=server.kill,
        )
        try:
            connections = _negotiate(server, name, watchdog)
            disk = NbdDisk(
                connections, server=server, watchdog=watchdog, name=name, most_data=most_data
            )
            try:
                _check_confined(server, name)
                yield disk
            finally:
                disk.close()
        finally:
            watchdog.close()


def _negotiate(server: QemuNbd, name: str, watchdog: Watchdog) -> list[NbdConnection]:
    connections: list[NbdConnection] = []
    try:
        with watchdog.watching(limit_seconds=_OPEN_SECONDS):
            for each in server.clients:
                connections.append(NbdConnection(each))  # noqa: PERF401  (what is open is closed on a fault)
    except BaseException as error:
        for connection in connections:
            connection.close()
        if isinstance(error, NbdFaultError):
            if watchdog.has_barked:
                raise stall_of(server, name) from error
            _raise_failure(server, since=0, fault=error)
            raise end_of(server, name) from error
        raise
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
        raise unsafe_of(name)
