"""An NBD server in this process that shows qemu-nbd a file which has no descriptor to pass on.

    qemu-nbd ---- socket pair ---- one thread that takes requests ---- threads that read the file

One export, read-only, one client: fixed newstyle negotiation and simple replies of the NBD protocol
(https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md). What the client sends is not
trusted: it parses hostile files.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import threading
import time
from queue import Queue
from types import TracebackType
from typing import Final, Self

from clouddesktop.disk.file import DiskFile

MAX_REQUEST_SIZE = 2 << 20
"""Bytes of one read; the client is told, and cuts larger ones. Memory: this times the readers."""

_SECTOR_SIZE = 512
_READERS = 8
_WAITING = 16  # requests that are taken before they are served: as many as QEMU has in flight
_CLOSE_SECONDS = 10.0
_MAX_OPTION_SIZE = 4 << 10

_GREETING: Final = b"NBDMAGICIHAVEOPT"
_OPTION_MAGIC: Final = b"IHAVEOPT"
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_OPTION = struct.Struct(">8sII")  # magic, option, length
_OPTION_REPLY = struct.Struct(">QIII")  # magic, option, kind, length
_OPTION_REPLY_MAGIC = 0x3E889045565A9
_ABORT, _INFO, _GO = 2, 6, 7
_ACKNOWLEDGE, _INFORM = 1, 3
_UNSUPPORTED = (1 << 31) | 1
_EXPORT_INFO = struct.Struct(">HQH")  # kind 0, size, flags
_BLOCK_INFO = struct.Struct(">HIII")  # kind 3, smallest, preferred and largest request
_FLAGS = 1 | 2  # flags are given; read-only

_REQUEST = struct.Struct(">IHHQQI")  # magic, flags, kind, cookie, offset, length
_REQUEST_MAGIC = 0x25609513
_READ, _DISCONNECT = 0, 2
_REPLY = struct.Struct(">IIQ")  # magic, error, cookie
_REPLY_MAGIC = 0x67446698

_Request = tuple[int, int, int]


class _ProtocolError(Exception):
    """The client does not keep to the protocol, so it is hung up on."""


class NbdBridge:
    """Serves one file to one client until it is closed; a context manager.

    `client` is the client's end of the connection, to be inherited by its process. A read that
    fails is answered with EIO, and what the file raised is kept in `failure`.
    """

    def __init__(self, file: DiskFile) -> None:
        self._file = file
        # QEMU reads whole sectors. From a server whose size is none, it asks for less than it then
        # waits for (7.2, simple replies, the last sector), so the file gets a tail of zeros.
        self._size = -(-file.size // _SECTOR_SIZE) * _SECTOR_SIZE
        self._ours, self.client = socket.socketpair()
        self._requests: Queue[_Request | None] = Queue(_WAITING)
        self._sending = threading.Lock()
        self._counting = threading.Lock()
        self._failures = 0
        self._answers = 0
        self._failure: Exception | None = None
        self._threads = [
            threading.Thread(target=target, name="nbd-bridge", daemon=True)
            for target in (self._take, *[self._serve] * _READERS)
        ]
        for each in self._threads:
            each.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def failures(self) -> int:
        """How many reads of the file have failed so far."""
        return self._failures

    @property
    def answers(self) -> int:
        """How many reads of the file have come back so far, well or not."""
        return self._answers

    @property
    def failure(self) -> Exception | None:
        """What the file raised last."""
        return self._failure

    def close(self) -> None:
        """Hang up and end the threads; a second call does nothing.

        A thread whose read of the file does not come back within 10 s is left to end when it does:
        its bytes go nowhere then.
        """
        with contextlib.suppress(OSError):  # the client may have hung up
            self._ours.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _CLOSE_SECONDS
        for each in self._threads:
            each.join(max(0.0, deadline - time.monotonic()))
        self._ours.close()
        self.client.close()

    def _take(self) -> None:
        try:
            if _negotiate(self._ours, size=self._size):
                while (request := _receive_request(self._ours)) is not None:
                    self._requests.put(request)
        except (OSError, _ProtocolError):
            pass
        finally:
            # Nobody waits for answers any more, so a reader that is sending one must not, either.
            with contextlib.suppress(OSError):
                self._ours.shutdown(socket.SHUT_RDWR)
            for _ in range(_READERS):
                self._requests.put(None)

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            cookie, offset, length = request
            buffer = bytearray(length)
            error = self._fill(offset, memoryview(buffer))
            with contextlib.suppress(OSError), self._sending:
                self._ours.sendall(_REPLY.pack(_REPLY_MAGIC, error, cookie))
                if not error:
                    self._ours.sendall(buffer)

    def _fill(self, offset: int, buffer: memoryview) -> int:
        if not buffer or offset + len(buffer) > self._size:
            return errno.EINVAL
        in_file = max(0, min(len(buffer), self._file.size - offset))
        try:
            if in_file:
                self._file.read_into(offset, buffer[:in_file])
        except Exception as error:  # noqa: BLE001  (raised again where the disk is read)
            with self._counting:
                self._failure = error
                self._failures += 1
            return errno.EIO
        finally:
            with self._counting:
                self._answers += 1
        return 0


def _negotiate(client: socket.socket, *, size: int) -> bool:
    """Tell whether the client goes on to reading."""
    client.sendall(_GREETING + struct.pack(">H", _FIXED_NEWSTYLE | _NO_ZEROES))
    (flags,) = struct.unpack(">I", _receive(client, 4))
    if flags & ~(_FIXED_NEWSTYLE | _NO_ZEROES):
        raise _ProtocolError("Unknown flags of the client.")
    while True:
        magic, option, length = _OPTION.unpack(_receive(client, _OPTION.size))
        if magic != _OPTION_MAGIC or length > _MAX_OPTION_SIZE:
            raise _ProtocolError("An option that is none.")
        _receive(client, length)  # the export's name does not matter: there is one
        if option == _ABORT:
            _answer(client, option, _ACKNOWLEDGE)
            return False
        if option not in (_INFO, _GO):
            _answer(client, option, _UNSUPPORTED)
            continue
        _answer(client, option, _INFORM, _EXPORT_INFO.pack(0, size, _FLAGS))
        _answer(client, option, _INFORM, _BLOCK_INFO.pack(3, 1, 4096, MAX_REQUEST_SIZE))
        _answer(client, option, _ACKNOWLEDGE)
        if option == _GO:
            return True


def _answer(client: socket.socket, option: int, kind: int, data: bytes = b"") -> None:
    client.sendall(_OPTION_REPLY.pack(_OPTION_REPLY_MAGIC, option, kind, len(data)) + data)


def _receive_request(client: socket.socket) -> _Request | None:
    """Give the next request's cookie, offset and length; None when the client takes its leave."""
    raw = _receive(client, _REQUEST.size)
    magic, _, kind, cookie, offset, length = _REQUEST.unpack(raw)
    if magic != _REQUEST_MAGIC:
        raise _ProtocolError("A request that is none.")
    if kind == _DISCONNECT:
        return None
    if kind != _READ or length > MAX_REQUEST_SIZE:
        # Nothing else was offered, and what a write sends along would be taken for requests.
        raise _ProtocolError("A request for what is not offered.")
    return cookie, offset, length


def _receive(client: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = client.recv(size - len(data))
        if not piece:
            raise _ProtocolError("The client hung up.")
        data += piece
    return bytes(data)
