"""What systemd is told of a process with Type=notify, by a socket like its own."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clouddesktop.app.supervisor import State, tell_supervisor
from parts.cluster import Cluster
from parts.server import ServerProcess

_WAIT_SECONDS = 60


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """Be systemd at a path, or at a name that begins with NUL."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.settimeout(_WAIT_SECONDS)
        ear.bind(address)
        yield ear


@pytest.mark.parametrize("is_abstract", [False, True])
def test_a_state_is_one_datagram(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_abstract: bool
) -> None:
    """In the file system or, written with an @, outside of it."""
    name = f"clouddesktop-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if is_abstract else name)
    with listening(f"\0{name}" if is_abstract else name) as ear:
        tell_supervisor(State.READY)
        assert ear.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/missing/notify", "@nobody-listens-here"])
def test_nobody_has_to_listen(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """A program that runs under nothing, or whose supervisor is gone, goes on."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    tell_supervisor(State.READY)


def test_a_server_tells_what_it_does(
    make_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    """It is ready when it takes calls, alive again and again, and says when it stops."""
    address = str(tmp_path / "notify")
    with listening(address) as ear:
        server = make_server(variables={"NOTIFY_SOCKET": address})
        server.start()
        assert ear.recv(100) == b"READY=1"
        assert [ear.recv(100), ear.recv(100)] == [b"WATCHDOG=1"] * 2
        assert server.stop() == 0
        assert _read_to_end(ear)[-1] == b"STOPPING=1"


def test_a_worker_tells_what_it_does_and_a_server_speaks_for_its_own(
    cluster: Cluster, tmp_path: Path
) -> None:
    """One READY of each process that systemd knows, none of a child."""
    address = str(tmp_path / "notify")
    with listening(address) as ear:
        worker = cluster.make_worker(NOTIFY_SOCKET=address)
        worker.start()
        assert [ear.recv(100), ear.recv(100)] == [b"READY=1", b"WATCHDOG=1"]
        assert worker.stop() == 0
        assert _read_to_end(ear)[-1] == b"STOPPING=1"
        server = cluster.make_server(workers=1)
        server.variables["NOTIFY_SOCKET"] = address
        server.start()
        heard = [ear.recv(100) for _ in range(3)]
        assert server.stop() == 0
        heard += _read_to_end(ear)
        assert heard.count(b"READY=1") == heard.count(b"STOPPING=1") == 1


def _read_to_end(ear: socket.socket) -> list[bytes]:
    ear.settimeout(0)
    heard: list[bytes] = []
    try:
        while True:
            heard.append(ear.recv(100))
    except BlockingIOError:
        ear.settimeout(_WAIT_SECONDS)
        return heard
