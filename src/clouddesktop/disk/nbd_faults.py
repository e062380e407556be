"""How the ends and faults of a qemu-nbd process are told: as errors of ours, in its own words."""

from __future__ import annotations

import re
import signal

from clouddesktop.disk.errors import (
    DamagedDiskError,
    DiskBombError,
    DiskInUseError,
    DiskStalledError,
    DiskUnreadableError,
    UnsafeDiskError,
    UnsupportedDiskError,
)
from clouddesktop.disk.qemu import QemuNbd
from clouddesktop.errors import CloudDesktopError, UnavailableError

_PREFIX = re.compile(r"^qemu-nbd: (Failed to blk_new_open '.*?': )?", re.DOTALL)
_OTHER_FILE = re.compile(r"Could not open '(?!/proc/self/fd/\d+')")
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})


def bomb_of(name: str, *, most_data: int, ratio: int) -> DiskBombError:
    return DiskBombError(
        f"The disk {name} holds more than {most_data >> 30} GiB of data, which is more than "
        f"{ratio} times the size of its file.",
        remedy="If it is what it should be, convert it with `qemu-img convert -O qcow2 OLD NEW` "
        "and copy that.",
        facts={"file": name, "most_data": str(most_data)},
    )


def stall_of(server: QemuNbd, name: str) -> DiskStalledError:
    server.wait_ended()
    return DiskStalledError(
        f"The disk {name} cannot be read: the program that reads it gave nothing for too long"
        f"{words_of(server)}.",
        remedy="Look at the health and the load of the file's storage, then try again.",
        facts={"file": name},
    )


def unsafe_of(name: str) -> UnsafeDiskError:
    return UnsafeDiskError(
        f"The disk {name} is unsafe to read: it was changed while it was opened, "
        "and refers to another file now.",
        remedy="Find out who writes to the file.",
        facts={"file": name},
    )


def end_of(server: QemuNbd, name: str) -> CloudDesktopError:
    """Word the end of the process, which may be on its way still."""
    server.kill()
    server.wait_ended()
    status = server.exit_status or 0
    text = server.messages
    facts = {"file": name, "exit_status": str(status), "qemu": text}
    words = words_of(server)
    if _OTHER_FILE.search(text):
        return unsafe_of(name)
    if "Failed to get" in text and "lock" in text:
        return DiskInUseError(
            f"The disk {name} is in use: another program has it open for writing{words}.",
            remedy="Stop the virtual machine or program that uses it, or copy a snapshot of it.",
            facts=facts,
        )
    if "log that needs to be replayed" in text:
        return UnsupportedDiskError(
            f"The disk {name} was not closed cleanly: its log has to be replayed first.",
            remedy="Open and close it once with the program that made it, or replay the log with "
            "`qemu-img check -r all`, and copy that.",
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


def words_of(server: QemuNbd) -> str:
    first = _PREFIX.sub("", server.messages).split("\n", 1)[0].rstrip(". ")
    return f": {first}" if first else ""
