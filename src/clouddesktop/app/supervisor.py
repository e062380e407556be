"""Tells systemd what this process does, where systemd asks for it: sd_notify(3), a datagram each.

The socket is read from NOTIFY_SOCKET. Where there is none, or nobody reads it, nothing happens.
"""

from __future__ import annotations

import socket
from enum import StrEnum

import structlog

from clouddesktop.config import find_notify_socket

_log = structlog.get_logger(__name__)


class State(StrEnum):
    """What systemd understands of what a process says."""

    READY = "READY=1"
    STOPPING = "STOPPING=1"
    ALIVE = "WATCHDOG=1"


def tell_supervisor(state: State) -> None:
    """Send one state; never waits, and a state that does not arrive is no reason to fail."""
    address = find_notify_socket()
    if address is None:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # a name that is not in the file system
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            sender.sendto(state.encode(), address)
    except OSError as error:
        _log.warning("systemd was not told", state=state, why=error.strerror)
