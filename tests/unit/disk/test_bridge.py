"""The bridge: qemu-nbd reads files that no other process can open."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from clouddesktop.disk.bridge import MAX_REQUEST_SIZE, NbdBridge
from clouddesktop.disk.file import DiskFile, FileWindow, LocalFile
from clouddesktop.disk.nbd import NbdDisk, open_nbd_disk
from clouddesktop.errors import UnavailableError
from parts.children import own_children
from parts.disk_files import MemoryFile
from parts.disks import MIB, convert, random_bytes, write_raw
from parts.waiting import wait_for

CONTENT = random_bytes(4 * MIB, seed=11)
DISK_SIZE = 64 * MIB
CLUSTER_SIZE = 64 << 10
READ = struct.Struct(">IHHQQI")
GO = b"IHAVEOPT" + struct.pack(">IIIH", 7, 6, 0, 0)


@pytest.fixture(scope="module")
def qcow2(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A qcow2 file of 64 MiB with 4 MiB of data at the start."""
    folder = tmp_path_factory.mktemp("bridge")
    raw, path = folder / "disk.raw", folder / "disk.qcow2"
    write_raw(raw, size=DISK_SIZE, data={0: CONTENT})
    convert(raw, path, "-O", "qcow2", source_format="raw")
    return path.read_bytes()


@contextmanager
def opened_disk(file: DiskFile, *, readers: int = 4) -> Iterator[NbdDisk]:
    with open_nbd_disk(file, driver="qcow2", readers=readers, size_hint=DISK_SIZE) as disk:
        yield disk


def read(disk: NbdDisk, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    disk.read_into(offset, memoryview(buffer))
    return bytes(buffer)


def bridge_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "nbd-bridge"]


class AwayError(UnavailableError):
    """What a source raises in these tests."""


@pytest.mark.qemu
def test_a_file_without_a_descriptor_is_read_exactly(qcow2: bytes) -> None:
    """The whole disk, its map too, by many threads; nothing is left behind."""
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  (names only)
    with opened_disk(MemoryFile(qcow2)) as disk, ThreadPoolExecutor(8) as pool:
        assert sum(each.length for each in disk.iter_extents()) == len(CONTENT)
        offsets = [number * 7919 % (len(CONTENT) - 5000) for number in range(300)]
        reads = pool.map(lambda offset: read(disk, offset, 5000), offsets)
        for offset, found in zip(offsets, reads, strict=True):
            assert found == CONTENT[offset : offset + 5000]
        assert read(disk, 0, DISK_SIZE) == CONTENT.ljust(DISK_SIZE, b"\0")
    assert bridge_threads() == []
    assert own_children() == []
    # Fewer, when something of an earlier test was collected in between.
    assert len(os.listdir("/proc/self/fd")) <= descriptors  # noqa: PTH208  (names only)


@pytest.mark.qemu
def test_several_reads_are_in_flight(qcow2: bytes) -> None:
    """A slow file is asked for the next bytes before it has given the last."""
    file = MemoryFile(qcow2)
    with opened_disk(file, readers=3) as disk, ThreadPoolExecutor(3) as pool:
        read(disk, 0, 512)  # the tables are known from here on
        together = threading.Barrier(3)

        def meet(_offset: int, _length: int) -> None:
            together.wait(timeout=30)

        file.before_read = meet
        offsets = (0, MIB, 2 * MIB)
        found = list(pool.map(lambda offset: read(disk, offset, CLUSTER_SIZE), offsets))
        assert found == [CONTENT[each : each + CLUSTER_SIZE] for each in offsets]
        assert file.most_at_once == 3


@pytest.mark.qemu
def test_what_the_file_raises_reaches_the_reader(qcow2: bytes) -> None:
    """The file's own error, not QEMU's words for it; once the file gives bytes, reading goes on."""
    file = MemoryFile(qcow2)
    with opened_disk(file) as disk:
        assert read(disk, 0, 512) == CONTENT[:512]
        error = AwayError("The storage is away.")

        def fail(_offset: int, _length: int) -> None:
            raise error

        file.before_read = fail
        with pytest.raises(AwayError) as caught:
            read(disk, MIB, 512)
        assert caught.value is error
        file.before_read = None
        assert read(disk, MIB, 512) == CONTENT[MIB : MIB + 512]


@pytest.mark.qemu
@pytest.mark.parametrize("count", range(4))
def test_a_file_that_fails_while_it_is_opened_says_so(qcow2: bytes, count: int) -> None:
    """At the header or at any table: the file's own error, and nothing is left behind."""
    file = MemoryFile(qcow2)

    def fail(_offset: int, _length: int) -> None:
        if len(file.reads) > count:
            raise AwayError("The storage is away.")

    file.before_read = fail
    with pytest.raises(AwayError), opened_disk(file) as disk:
        read(disk, 0, MIB)
    assert bridge_threads() == []
    assert own_children() == []


@pytest.mark.qemu
def test_a_stuck_file_does_not_hold_up_the_end(qcow2: bytes) -> None:
    """The disk can be closed while a read waits; the read fails, the threads end."""
    file = MemoryFile(qcow2)
    waiting, go_on = threading.Event(), threading.Event()

    def wait(_offset: int, _length: int) -> None:
        waiting.set()
        go_on.wait(timeout=60)

    with ThreadPoolExecutor(1) as pool, opened_disk(file) as disk:
        read(disk, 0, 512)
        file.before_read = wait
        stuck = pool.submit(read, disk, MIB, 512)
        assert waiting.wait(timeout=30)
        own_children()[0].kill()
        with pytest.raises(UnavailableError, match="ended before its time"):
            stuck.result(timeout=30)
        go_on.set()
    wait_for(lambda: not bridge_threads(), "the bridge's threads have ended")


@pytest.mark.qemu
@pytest.mark.parametrize("offset", [512, 700])
@pytest.mark.parametrize("rest", [b"", b"\0" * 100], ids=["whole sectors", "more"])
def test_a_window_shows_its_part_only(
    qcow2: bytes, tmp_path: Path, offset: int, rest: bytes
) -> None:
    """A member of an archive is read in place, wherever it begins and ends."""
    path = tmp_path / "archive"
    path.write_bytes(bytes(offset) + qcow2 + rest + b"secret" * 1000)
    with path.open("rb") as opened:
        whole = LocalFile(opened.fileno())
        outer = FileWindow(whole, name="outer", offset=offset - 100, size=len(qcow2) + 300)
        window = FileWindow(outer, name="inner", offset=100, size=len(qcow2) + len(rest))
        with opened_disk(window) as disk:
            assert read(disk, 0, DISK_SIZE) == CONTENT.ljust(DISK_SIZE, b"\0")
            is_bridged = bool(bridge_threads())
    assert is_bridged == bool(offset % 512 or window.size % 512)


def test_a_window_ends_where_it_ends() -> None:
    """Reads, extents and windows past its end give nothing of what follows."""
    window = FileWindow(MemoryFile(b"head" + b"body" + b"tail"), name="body", offset=4, size=4)
    assert (window.size, window.fd) == (4, None)
    assert window.read_at(0, 100) == b"body"
    assert window.read_at(3, 1) == b"y"
    assert window.read_at(4, 1) == window.read_at(99, 1) == b""
    assert [(each.offset, each.length) for each in window.iter_extents()] == [(0, 4)]
    for offset, length in ((0, 5), (-1, 1), (4, 1)):
        with pytest.raises(ValueError, match="not all in body"):
            window.read_into(offset, memoryview(bytearray(length)))
    for offset, size in ((0, 13), (12, 1), (-1, 1), (5, -1)):
        with pytest.raises(ValueError, match="not all in"):
            FileWindow(MemoryFile(bytes(12)), name="none", offset=offset, size=size)


@contextmanager
def connected(file: DiskFile) -> Iterator[socket.socket]:
    """Speak with a bridge, negotiation done."""
    with NbdBridge(file) as bridge:
        bridge.client.settimeout(30)
        bridge.client.sendall(struct.pack(">I", 3) + GO)
        expected = 18 + (20 + 12) + (20 + 14) + 20
        answer = receive(bridge.client, expected)
        assert answer.startswith(b"NBDMAGICIHAVEOPT")
        assert struct.unpack_from(">HQH", answer, 18 + 20) == (0, -(-file.size // 512) * 512, 3)
        yield bridge.client


def receive(client: socket.socket, size: int) -> bytes:
    """Give so many bytes, or what comes before the other end hangs up."""
    received = b""
    while len(received) < size and (piece := client.recv(size - len(received))):
        received += piece
    return received


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 0), (512, 1), (0, 513), (2**63, 1), (2**64 - 1, 2), (4, 2**20)]
)
def test_reads_off_the_file_are_refused(offset: int, length: int) -> None:
    """The answer is EINVAL, and the next request is served."""
    with connected(MemoryFile(b"8 bytes.")) as client:
        client.sendall(READ.pack(0x25609513, 0, 0, 77, offset, length))
        assert struct.unpack(">IIQ", receive(client, 16)) == (0x67446698, 22, 77)
        client.sendall(READ.pack(0x25609513, 0, 0, 78, 2, 5))
        assert receive(client, 21) == struct.pack(">IIQ", 0x67446698, 0, 78) + b"bytes"


def test_the_last_sector_ends_in_zeros() -> None:
    """A file that ends within a sector is shown as whole ones, as QEMU shows local files."""
    with connected(MemoryFile(b"8 bytes.")) as client:
        client.sendall(READ.pack(0x25609513, 0, 0, 5, 6, 506))
        header = struct.pack(">IIQ", 0x67446698, 0, 5)
        assert receive(client, 16 + 506) == header + b"s.".ljust(506, b"\0")
        client.sendall(READ.pack(0x25609513, 0, 0, 6, 100, 3))
        assert receive(client, 19)[16:] == bytes(3)


@pytest.mark.parametrize(
    "request_bytes",
    [
        READ.pack(0x25609514, 0, 0, 1, 0, 1),
        READ.pack(0x25609513, 0, 1, 1, 0, 4) + b"evil",
        READ.pack(0x25609513, 0, 4, 1, 0, 4),
        READ.pack(0x25609513, 0, 0, 1, 0, MAX_REQUEST_SIZE + 1),
        READ.pack(0x25609513, 0, 2, 1, 0, 0),
    ],
    ids=["no request", "a write", "a trim", "more than is offered", "good-bye"],
)
def test_a_client_that_asks_for_anything_else_is_hung_up_on(request_bytes: bytes) -> None:
    """No answer, no memory spent, the file is as it was."""
    file = MemoryFile(b"8 bytes.")
    with connected(file) as client:
        client.sendall(request_bytes)
        assert receive(client, 1) == b""
    assert file.content == b"8 bytes."
    assert file.reads == []
    assert bridge_threads() == []


@pytest.mark.parametrize(
    "hello",
    [
        struct.pack(">I", 0xFFFFFFFF),
        struct.pack(">I", 3) + b"IHAVEOPX" + bytes(8),
        struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 7, 0xFFFFFFFF),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["unknown flags", "no option", "gigabytes", "HTTP"],
)
def test_a_client_that_does_not_speak_nbd_is_hung_up_on(hello: bytes) -> None:
    """Also one that announces gigabytes."""
    with NbdBridge(MemoryFile(b"8 bytes.")) as bridge:
        bridge.client.settimeout(30)
        bridge.client.sendall(hello)
        assert len(receive(bridge.client, 1000)) == 18
    assert bridge_threads() == []


def test_options_that_are_not_offered_are_declined() -> None:
    """One after the other, and the client goes on to those that are."""
    with NbdBridge(MemoryFile(b"8 bytes.")) as bridge:
        client = bridge.client
        client.settimeout(30)
        client.sendall(struct.pack(">I", 3))
        assert len(receive(client, 18)) == 18
        for option in (1, 3, 5, 8, 10, 99):
            client.sendall(b"IHAVEOPT" + struct.pack(">II", option, 3) + b"abc")
            answer = struct.unpack(">QIII", receive(client, 20))
            assert answer == (0x3E889045565A9, option, (1 << 31) | 1, 0)
        client.sendall(GO)
        assert len(receive(client, 20 + 12 + 20 + 14 + 20)) == 86
