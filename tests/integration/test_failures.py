"""Copies that cannot succeed end as the API says, with an error that a person understands."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import ListDesktopImagesRequest
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.catalog import tables
from clouddesktop.errors import Code
from parts.disks import MIB, convert, random_bytes, write_raw
from parts.faults import PausedServer
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.server import ServerProcess
from parts.waiting import wait_for


def check_failed(
    server: ServerProcess, operation: Operation, *, code: Code, reason: str, words: list[str]
) -> None:
    """The error is as expected, in plain words, and neither image nor chunk is left."""
    assert operation.done
    assert operation.WhichOneof("result") == "error", operation
    assert operation.error.code == code, operation.error
    info = ErrorInfo()
    assert any(each.Unpack(info) for each in operation.error.details)
    assert info.reason == reason
    for word in words:
        assert word in operation.error.message
    client = OfficialClient(server.profile)
    assert not client.images.List(
        ListDesktopImagesRequest(folder_id=client.folder_id)
    ).desktop_images


def check_empty(server: ServerProcess, *, store: Path | None = None) -> None:
    """Once the server has stopped: nothing of the failed copies is in catalogue or store."""
    assert server.stop() == 0
    inspection = Inspection.of(server.data_dir, store=store)
    try:
        for table in (tables.images, tables.chunks, tables.packs, tables.copy_ranges):
            assert inspection.count(table) == 0, table.name
        assert list(inspection.chunks.iter_packs()) == []
    finally:
        inspection.close()


@pytest.fixture
def sample(sources_dir: Path) -> Path:
    """A raw disk beside the source's folder, to make bad images from."""
    raw = sources_dir.parent / "sample.raw"
    write_raw(raw, size=8 * MIB, data={0: random_bytes(3 * MIB, seed=3)})
    return raw


@pytest.mark.parametrize("kind", ["backing file", "data file"])
def test_an_image_that_points_at_another_file_is_unsafe(
    server: ServerProcess, sources_dir: Path, sample: Path, kind: str
) -> None:
    """A qcow2 that would make the reader open a file of its choice is refused."""
    bad = sources_dir / "bad.qcow2"
    secret = sources_dir.parent / "secret"
    if kind == "backing file":
        command = ["create", "-f", "qcow2", "-b", str(sample), "-F", "raw", str(bad)]
    else:
        command = ["create", "-f", "qcow2", "-o", f"data_file={secret}", str(bad), "8M"]
    subprocess.run(["qemu-img", *command], check=True, capture_output=True)
    client = OfficialClient(server.profile)
    operation = client.wait(client.copy("bad", "bad").id)
    check_failed(
        server,
        operation,
        code=Code.FAILED_PRECONDITION,
        reason="UNSAFE_DISK",
        words=["bad.qcow2", kind],
    )
    check_empty(server)


@pytest.mark.proves("copy.failed")
def test_a_truncated_image_is_refused(
    server: ServerProcess, sources_dir: Path, sample: Path
) -> None:
    """A qcow2 that ends before its clusters do is an error, never a copy with zeros in it."""
    whole = sources_dir / "short.qcow2"
    convert(sample, whole, "-O", "qcow2", source_format="raw")
    with whole.open("r+b") as file:
        file.truncate(whole.stat().st_size - MIB)
    client = OfficialClient(server.profile)
    operation = client.wait(client.copy("short", "short").id)
    check_failed(
        server,
        operation,
        code=Code.FAILED_PRECONDITION,
        reason="DAMAGED_DISK",
        words=["truncated"],
    )
    check_empty(server)


@pytest.mark.parametrize("change", ["written", "replaced", "shortened"])
def test_a_source_that_changes_during_the_copy_is_noticed(
    make_server: Callable[..., ServerProcess], sources_dir: Path, tmp_path: Path, change: str
) -> None:
    """ABORTED, and nothing is published, whatever way the file was changed."""
    moving = sources_dir / "moving.raw"
    data = {index * 8 * MIB: random_bytes(MIB, seed=index) for index in range(6)}
    write_raw(moving, size=48 * MIB, data=data)
    paused = PausedServer(make_server, tmp_path, failpoint="range-recorded:0")
    client = OfficialClient(paused.server.profile)
    operation = client.copy("moving", "moving")
    paused.wait_paused()
    if change == "written":
        with moving.open("r+b") as file:
            file.seek(5 * MIB)
            file.write(b"changed")
    elif change == "shortened":
        os.truncate(moving, 40 * MIB)
    else:
        other = tmp_path / "other.raw"
        write_raw(other, size=48 * MIB, data=data)
        other.replace(moving)
    paused.go_on()
    check_failed(
        paused.server,
        client.wait(operation.id),
        code=Code.ABORTED,
        reason="SOURCE_CHANGED",
        words=["moving.raw", "changed"],
    )
    check_empty(paused.server)


@pytest.mark.proves("operation.early-error")
def test_the_error_shows_before_the_rollback_is_over(
    make_server: Callable[..., ServerProcess], sources_dir: Path, tmp_path: Path
) -> None:
    """`error` is set while `done` is still false; both stay as they are afterwards."""
    (sources_dir / "empty.qcow2").write_bytes(b"QFI\xfb" + bytes(600))
    paused = PausedServer(make_server, tmp_path, failpoint="rollback-begin")
    client = OfficialClient(paused.server.profile)
    operation = client.copy("empty", "empty")
    paused.wait_paused()
    failing = client.get_operation(operation.id)
    assert not failing.done
    assert failing.WhichOneof("result") == "error"
    paused.go_on()
    done = client.wait(operation.id)
    assert done.error == failing.error
    check_empty(paused.server)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB, mounted for one test."""
    folder = tmp_path / "small"
    folder.mkdir()
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    owner = f"size=24m,uid={os.geteuid()},gid={os.getegid()}"
    subprocess.run([*sudo, "mount", "-t", "tmpfs", "-o", owner, "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run([*sudo, "umount", str(folder)], check=True)


def test_a_full_store_fails_the_copy_and_gives_its_space_back(
    small_disk: Path, make_server: Callable[..., ServerProcess], sources_dir: Path
) -> None:
    """RESOURCE_EXHAUSTED; afterwards a copy that fits succeeds in the same store."""
    data = {index * 8 * MIB: random_bytes(6 * MIB, seed=index) for index in range(8)}
    write_raw(sources_dir / "large.raw", size=64 * MIB, data=data)
    write_raw(sources_dir / "fits.raw", size=8 * MIB, data={0: random_bytes(6 * MIB, seed=99)})
    store = small_disk / "store"
    server = make_server(options=("--store", f"file://{store}"))
    server.start()
    client = OfficialClient(server.profile)
    operation = client.wait(client.copy("large", "large").id)
    check_failed(
        server,
        operation,
        code=Code.RESOURCE_EXHAUSTED,
        reason="STORE_FULL",
        words=[str(store), "full"],
    )
    used = sum(each.stat().st_size for each in store.rglob("*") if each.is_file())
    assert used < MIB
    fitting = client.wait(client.copy("fits", "fits").id)
    assert fitting.WhichOneof("result") == "response", fitting


def test_a_full_disk_under_the_database_strands_no_copy(
    small_disk: Path, make_server: Callable[..., ServerProcess], sources_dir: Path, tmp_path: Path
) -> None:
    """Once there is room again, the copy comes to its end without a restart."""
    data = {index * 8 * MIB: random_bytes(MIB, seed=index) for index in range(8)}
    write_raw(sources_dir / "disk.raw", size=64 * MIB, data=data)
    write_raw(sources_dir / "next.raw", size=MIB, data={0: b"next"})
    paused = PausedServer(
        make_server,
        tmp_path,
        failpoint="range-read:0",
        options=("--database", f"sqlite:///{small_disk / 'catalogue.db'}", "--workers", "1"),
    )
    client = OfficialClient(paused.server.profile)
    operation = client.copy("disk", "disk")
    paused.wait_paused()
    ballast = small_disk / "ballast"
    fill_up(ballast)
    paused.go_on()
    full = "database or disk is full"
    wait_for(lambda: full in paused.server.log.read_text(), "the full disk is logged")
    time.sleep(7)  # longer than a write is tried again: the workflow is dropped meanwhile
    ballast.unlink()
    assert client.wait(operation.id).WhichOneof("result") is not None
    done = client.wait(client.copy("next", "next").id)
    assert done.WhichOneof("result") == "response", done


def test_a_source_without_permission_says_whose_it_is(
    make_server: Callable[..., ServerProcess], sources_dir: Path
) -> None:
    """FAILED_PRECONDITION that names the file and the way out."""
    locked = sources_dir / "locked.raw"
    write_raw(locked, size=MIB, data={0: b"x"})
    locked.chmod(0)
    command = ServerProcess.command
    if os.geteuid() == 0:  # root without the right to overlook a file's mode
        command = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", *command)
    server = make_server(command=command)
    server.start()
    client = OfficialClient(server.profile)
    operation = client.wait(client.copy("locked", "locked").id)
    check_failed(
        server,
        operation,
        code=Code.FAILED_PRECONDITION,
        reason="SOURCE_UNREADABLE",
        words=["locked.raw", "read"],
    )


def fill_up(ballast: Path) -> None:
    """Write until the file system has no room left."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
