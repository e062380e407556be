"""A TCP proxy that tests cut, silence and heal: what a network does to two that talk over it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

_PIECE = 1 << 16
_RESET = struct.pack("ii", 1, 0)


class Line(Enum):
    """What becomes of bytes."""

    WHOLE = "whole"
    CUT = "cut"
    """Connections are reset, those there are and new ones."""

    SILENT = "silent"
    """Connections are accepted and stay open; no byte comes through."""

    HALF = "half"
    """What clients send comes through, what they are answered does not."""


class TcpProxy:
    """Listens on a free port of this machine, and passes on to a port or to a socket's path."""

    def __init__(self, target: int | Path) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._changed = threading.Condition()
        self._line = Line.WHOLE
        self._open: set[socket.socket] = set()
        self._dead: set[socket.socket] = set()
        self._closing = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closing = True
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._reset_all()
        for each in self._threads:
            each.join(10)

    def break_line(self, line: Line) -> None:
        """Do this to all bytes from now on."""
        with self._changed:
            self._line = line
        if line is Line.CUT:
            self._reset_all()

    def heal(self, *, forget: bool = False) -> None:
        """Let bytes through again.

        With `forget`, connections that are open now stay silent for ever, as if the other end had
        forgotten them; else they go on, and what was held comes through.
        """
        with self._changed:
            if forget:
                self._dead |= self._open
            self._line = Line.WHOLE
            self._changed.notify_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self._line is Line.CUT:
                _reset(client)
                continue
            with self._changed:
                self._open.add(client)
            self._begin(partial(self._serve, client))

    def _begin(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        if not self._wait_passing(client, is_answer=False):
            return
        is_path = isinstance(self._target, Path)
        server = socket.socket(socket.AF_UNIX if is_path else socket.AF_INET)
        try:
            server.connect(str(self._target) if is_path else ("127.0.0.1", self._target))
        except OSError:
            server.close()
            self._drop(client)
            return
        with self._changed:
            self._open.add(server)
            if client in self._dead:
                self._dead.add(server)
        self._begin(partial(self._pass, server, client, is_answer=True))
        self._pass(client, server, is_answer=False)

    def _pass(self, source: socket.socket, target: socket.socket, *, is_answer: bool) -> None:
        try:
            while data := source.recv(_PIECE):
                if not self._wait_passing(source, is_answer=is_answer):
                    break
                target.sendall(data)
        except OSError:
            pass
        self._drop(source)
        self._drop(target)

    def _wait_passing(self, held: socket.socket, *, is_answer: bool) -> bool:
        """Wait until bytes of a connection may pass; False when it is closed meanwhile."""
        holding = {Line.SILENT, Line.HALF} if is_answer else {Line.SILENT}
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    held not in self._open or (self._line not in holding and held not in self._dead)
                )
            )
            return held in self._open

    def _reset_all(self) -> None:
        with self._changed:
            dropped = list(self._open)
        for each in dropped:
            self._drop(each)

    def _drop(self, each: socket.socket) -> None:
        with self._changed:
            if each not in self._open:
                return
            self._open.discard(each)
            self._dead.discard(each)
            self._changed.notify_all()
        _reset(each)


def _reset(each: socket.socket) -> None:
    with suppress(OSError):
        if each.family == socket.AF_INET:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        # A thread may be waiting in it: that is what wakes it up.
        each.shutdown(socket.SHUT_RDWR)
    each.close()
