"""The process that reads for us: what it may do, how its ends are told, and that none is left."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from clouddesktop.disk import nbd, sandbox
from clouddesktop.disk.errors import (
    DamagedDiskError,
    DiskBombError,
    DiskInUseError,
    DiskStalledError,
    DiskUnreadableError,
    MissingProgramError,
    UnsafeDiskError,
)
from clouddesktop.disk.file import LocalFile
from clouddesktop.disk.nbd import NbdDisk, open_nbd_disk
from clouddesktop.disk.qemu import QemuNbd
from clouddesktop.disk.reader import open_disk
from clouddesktop.errors import UnavailableError
from clouddesktop.model.manifest import Extent
from hostile.qcow2_files import COPIED, Qcow2File
from parts.children import own_children
from parts.disk_files import MemoryFile
from parts.disks import MIB, convert, random_bytes, write_raw
from parts.waiting import wait_for

pytestmark = pytest.mark.qemu

CONTENT = random_bytes(2 * MIB, seed=7)
NOBODY = 65534
BACKWARDS = Qcow2File(
    cluster_bits=12,
    disk_size=MIB,
    data=[b"\1" * 4096] * 12,
    l2={index: COPIED | (16 - index) * 4096 for index in range(12)},
)
"""Twelve clusters, each of which QEMU has to read by itself."""


@pytest.fixture
def disk_file(tmp_path: Path) -> Path:
    """A qcow2 file of 64 MiB with data at the start."""
    raw = tmp_path / "disk.raw"
    write_raw(raw, size=64 * MIB, data={0: CONTENT})
    path = tmp_path / "disk.qcow2"
    convert(raw, path, "-O", "qcow2", source_format="raw")
    return path


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that anybody may read: what root starts becomes nobody."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def opened_disk(path: Path, *, readers: int = 2) -> Iterator[NbdDisk]:
    """Open without looking at the file first."""
    with (
        opened(path) as fd,
        open_nbd_disk(LocalFile(fd), driver="qcow2", readers=readers, size_hint=64 * MIB) as disk,
    ):
        yield disk


def read(disk: NbdDisk, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    disk.read_into(offset, memoryview(buffer))
    return bytes(buffer)


def fds() -> set[str]:
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208  (names only)


def test_a_program_that_survives_its_sandbox_is_not_waited_for_in_vain(
    disk_file: Path, open_folder: Path
) -> None:
    """Bwrap may be killed before it has tied the program's life to its own."""
    tied = sandbox.choose_sandbox(sandbox.SandboxPolicy.REQUIRED)
    assert tied is not None
    untied = open_folder / "bwrap"
    untied.write_text(
        "#!/bin/bash\n"
        'for word; do [ "$word" = --die-with-parent ] || words+=("$word"); done\n'
        f'exec {tied.bwrap} "${{words[@]}}"\n'
    )
    untied.chmod(0o755)

    def open_and_close() -> None:
        with (
            opened(disk_file) as fd,
            QemuNbd(
                LocalFile(fd),
                driver="qcow2",
                options={},
                readers=1,
                cpu_seconds=60,
                sandbox=replace(tied, bwrap=str(untied)),
            ) as server,
        ):
            assert server.clients[0].recv(8) == b"NBDMAGIC"
            orphans.append(server.pid)

    orphans: list[int] = []
    thread = threading.Thread(target=open_and_close, daemon=True)
    thread.start()
    thread.join(30)
    is_stuck = thread.is_alive()
    if is_stuck:
        os.kill(orphans[0], signal.SIGKILL)
    assert not is_stuck


def test_nothing_is_left_behind(disk_file: Path, tmp_path: Path) -> None:
    """Neither process, thread, descriptor nor file, also when the caller fails."""
    temporary, threads = set(tmp_path.parent.iterdir()), threading.active_count()
    before = fds()
    for error in (None, RuntimeError("The caller failed.")):
        with ExitStack() as stack:
            if error is not None:
                stack.enter_context(pytest.raises(RuntimeError, match="caller failed"))
            disk = stack.enter_context(opened_disk(disk_file))
            assert [each.name() for each in own_children()] == ["bwrap", "qemu-nbd"]
            assert read(disk, 0, len(CONTENT)) == CONTENT
            if error is not None:
                raise error
        assert own_children() == []
        assert fds() == before
        assert threading.active_count() == threads
        assert set(tmp_path.parent.iterdir()) == temporary


def test_the_map_shows_the_data_only(disk_file: Path) -> None:
    """What was never written is left out."""
    with opened_disk(disk_file) as disk:
        assert disk.size == 64 * MIB
        assert list(disk.iter_extents()) == [Extent(offset=0, length=len(CONTENT))]


def test_more_threads_than_connections_take_turns(disk_file: Path) -> None:
    """Reads of many threads do not mix, while the map is walked beside them."""
    with opened_disk(disk_file, readers=3) as disk, ThreadPoolExecutor(8) as pool:
        offsets = [number * 7919 % (len(CONTENT) - 5000) for number in range(300)]
        reads = pool.map(lambda offset: read(disk, offset, 5000), offsets)
        assert sum(each.length for each in disk.iter_extents()) == len(CONTENT)
        for offset, found in zip(offsets, reads, strict=True):
            assert found == CONTENT[offset : offset + 5000]


def test_the_thread_that_opens_may_end(disk_file: Path) -> None:
    """The process belongs to us, not to one of our threads."""
    with ExitStack() as stack:

        def open_it() -> NbdDisk:
            return stack.enter_context(opened_disk(disk_file))

        with ThreadPoolExecutor(1) as pool:
            disk = pool.submit(open_it).result()
        assert read(disk, MIB, 4096) == CONTENT[MIB : MIB + 4096]


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (64 * MIB, 1), (64 * MIB - 1, 2)])
def test_reads_off_the_disk_are_mistakes(disk_file: Path, offset: int, length: int) -> None:
    """They raise ValueError."""
    with opened_disk(disk_file) as disk, pytest.raises(ValueError, match="not on a disk"):
        read(disk, offset, length)


def test_reading_a_closed_disk_is_a_mistake(disk_file: Path) -> None:
    """It is told at once, from any thread."""
    with opened_disk(disk_file) as disk:
        pass
    for _ in range(2):
        with pytest.raises(RuntimeError, match="closed"):
            read(disk, 0, 512)


def test_a_process_that_is_killed_makes_reads_fail(disk_file: Path) -> None:
    """UNAVAILABLE: the disk itself is not to blame. Closing works as ever."""
    with opened_disk(disk_file) as disk:
        assert read(disk, 0, 512) == CONTENT[:512]
        program = own_children()[-1]
        program.kill()
        wait_for(lambda: not program.is_running(), "it has ended")
        with pytest.raises(UnavailableError, match=r"disk\.qcow2"):
            read(disk, 0, 512)
    assert own_children() == []


def test_it_dies_with_us(disk_file: Path) -> None:
    """Even when the server is killed, no process goes on reading."""
    code = (
        "import os, sys, psutil\n"
        "from clouddesktop.disk.file import LocalFile\n"
        "from clouddesktop.disk.reader import open_disk\n"
        "with open_disk(LocalFile(os.open(sys.argv[1], os.O_RDONLY)), readers=2) as disk:\n"
        "    print(psutil.Process().children(recursive=True)[1].pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(disk_file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        reader = os.pidfd_open(int(server.stdout.readline()))
        try:
            server.send_signal(signal.SIGKILL)
            ended, _, _ = select.select([reader], [], [], 20)
            assert ended
        finally:
            os.close(reader)


def test_a_backing_file_is_not_opened_in_any_case(tmp_path: Path, disk_file: Path) -> None:
    """Were it added after the file was probed, it would play no part."""
    top = tmp_path / "top.qcow2"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(disk_file), "-F", "qcow2"]
    subprocess.run([*create, str(top)], check=True)
    with opened_disk(top) as disk:
        assert read(disk, 0, 4096) == bytes(4096)
        assert list(disk.iter_extents()) == []


def test_a_data_file_that_appears_after_the_probe_is_noticed(tmp_path: Path) -> None:
    """Nothing is read from a process that has opened another file."""
    secret = tmp_path / "secret"
    path = tmp_path / "disk.qcow2"
    options = ["-o", f"data_file={secret},data_file_raw=on"]
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "1M"], check=True
    )
    with pytest.raises(UnsafeDiskError, match="another file"), opened_disk(path):
        pass
    assert own_children() == []


def test_what_was_opened_is_read_whatever_the_name_means_later(
    disk_file: Path, tmp_path: Path
) -> None:
    """The process gets the open file, not its name."""
    other = tmp_path / "other.raw"
    write_raw(other, size=MIB, data={0: b"other"})
    with opened(disk_file) as fd:
        convert(other, tmp_path / "other.qcow2", "-O", "qcow2", source_format="raw")
        (tmp_path / "other.qcow2").replace(disk_file)
        with open_nbd_disk(LocalFile(fd), driver="qcow2", readers=1, size_hint=0) as disk:
            assert disk.size == 64 * MIB
            assert read(disk, 0, 4096) == CONTENT[:4096]


def test_what_qemu_says_is_in_the_error(disk_file: Path) -> None:
    """In its own words, without its command line."""
    with disk_file.open("r+b") as file:
        file.seek(48)  # the offset of the table of reference counts
        file.write(b"\xff" * 8)
    with pytest.raises(DamagedDiskError) as caught, opened_disk(disk_file):
        pass
    assert "Reference count table offset invalid" in caught.value.message
    assert "json:" not in caught.value.message
    assert caught.value.message.endswith(".")
    assert own_children() == []


def test_a_disk_that_a_machine_writes_to_is_in_use(disk_file: Path) -> None:
    """The error says so, and what to do."""
    with subprocess.Popen(
        ["qemu-io", "-f", "qcow2", str(disk_file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as machine:
        assert machine.stdin is not None
        assert machine.stdout is not None
        machine.stdin.write(b"length\n")
        machine.stdin.flush()
        while b"64 MiB" not in machine.stdout.readline():
            assert machine.poll() is None
        with pytest.raises(DiskInUseError, match="in use"), opened_disk(disk_file):
            pass
        machine.communicate(b"quit\n")


@contextmanager
def forbidden(path: Path) -> Iterator[None]:
    """Be a user who may not open the file, for a while."""
    path.chmod(0)
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_a_file_that_may_not_be_opened_again_is_told_apart(disk_file: Path) -> None:
    """Its rights were taken away after it was opened: no damage, and the remedy fits."""
    disk: AbstractContextManager[object]
    with opened(disk_file) as fd, forbidden(disk_file):
        disk = open_disk(LocalFile(fd), readers=1)
        with pytest.raises(DiskUnreadableError, match="may not open") as caught, disk:
            pass
    assert "right to read" in caught.value.remedy


def test_a_missing_program_is_named_with_its_package(
    disk_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People learn what to install."""
    monkeypatch.setattr(sandbox, "_find", lambda _program: None)
    with pytest.raises(MissingProgramError, match="qemu-nbd") as caught, opened_disk(disk_file):
        pass
    assert "qemu-utils" in caught.value.remedy


def test_an_empty_disk_can_be_opened(tmp_path: Path) -> None:
    """A disk of 0 bytes has no data and can be read, all of it."""
    path = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "0"], check=True)
    with opened_disk(path) as disk:
        assert disk.size == 0
        assert list(disk.iter_extents()) == []
        assert read(disk, 0, 0) == b""


def test_a_program_that_gives_nothing_is_ended(disk_file: Path) -> None:
    """The reads that wait for it fail, and may be tried again; nothing is left behind."""
    with (
        disk_file.open("rb") as file,
        open_nbd_disk(
            LocalFile(file.fileno()),
            driver="qcow2",
            readers=2,
            size_hint=64 * MIB,
            patience_seconds=1,
        ) as disk,
    ):
        assert read(disk, 0, 512) == CONTENT[:512]
        os.kill(own_children()[-1].pid, signal.SIGSTOP)
        with pytest.raises(DiskStalledError, match="gave nothing for too long"):
            read(disk, MIB, 512)
        with pytest.raises(DiskStalledError):
            list(disk.iter_extents())
    assert own_children() == []


def test_a_slow_file_that_gets_on_is_waited_for() -> None:
    """What counts is that bytes come, not when the read is over."""
    turn = threading.Lock()

    def take_long(_offset: int, _length: int) -> None:
        with turn:
            time.sleep(0.15)

    slow = MemoryFile(BACKWARDS.build(), before_read=take_long)
    with open_nbd_disk(slow, driver="qcow2", readers=1, size_hint=0, patience_seconds=1.2) as disk:
        began = time.monotonic()
        assert read(disk, 0, 48 << 10) == b"\1" * (48 << 10)
        assert time.monotonic() - began > 1.2


def test_more_data_than_such_a_file_can_hold_is_a_bomb(
    disk_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told from the map, before any of it is read."""
    monkeypatch.setattr(nbd, "_USUAL_DATA", MIB)
    monkeypatch.setattr(nbd, "_MOST_DATA_PER_BYTE", 0)
    with opened_disk(disk_file) as disk, pytest.raises(DiskBombError, match=r"disk\.qcow2"):
        list(disk.iter_extents())
