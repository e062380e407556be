"""The storage under a compute image fails: the copy ends with a clear error and leaves nothing.

A preloaded library makes reads fail, in the server's process and, since the sandbox lets nothing be
preloaded, in a qemu-nbd outside of it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage

from clouddesktop.catalog import tables
from clouddesktop.errors import Code
from parts.disks import MIB, convert, random_bytes, write_raw
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.server import ServerProcess

SOURCE = Path(__file__).parents[1] / "parts" / "read_faults.c"
CONTENT = random_bytes(20 * MIB, seed=23)
FAULT_FROM = 12 * MIB


@dataclass
class FaultyStorage:
    """Servers whose reads of `disk.*` fail from 12 MiB on while the switch is there."""

    library: Path
    switch: Path
    programs: Path

    def variables(self, kind: str, *, suffix: str) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self.library),
            "FAULT_NAME": f"disk.{suffix}",
            "FAULT_SWITCH": str(self.switch),
            "FAULT_FROM": str(FAULT_FROM),
            "FAULT_KIND": kind,
        }

    def preload_into_qemu(self, kind: str) -> dict[str, str]:
        """Put a qemu-nbd before the real one that preloads; there is no bwrap beside it."""
        lines = [
            f"export {name}='{value}'"
            for name, value in self.variables(kind, suffix="qcow2").items()
        ]
        program = self.programs / "qemu-nbd"
        program.write_text(
            "\n".join(["#!/bin/sh", *lines, f'exec {shutil.which("qemu-nbd")} "$@"'])
        )
        program.chmod(0o755)
        (self.programs / "bwrap").symlink_to("/bin/false")
        return {"PATH": f"{self.programs}:/usr/sbin:/usr/bin:/sbin:/bin"}


@pytest.fixture
def storage(tmp_path: Path) -> FaultyStorage:
    library = tmp_path / "read_faults.so"
    command = ["gcc", "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o", str(library)]
    subprocess.run([*command, str(SOURCE), "-ldl"], check=True)
    switch = tmp_path / "switch"
    switch.touch()
    programs = tmp_path / "programs"
    programs.mkdir()
    return FaultyStorage(library=library, switch=switch, programs=programs)


@pytest.fixture
def raw(sources_dir: Path) -> Path:
    path = sources_dir / "disk.raw"
    write_raw(path, size=24 * MIB, data={0: CONTENT})
    return path


def check_error(server: ServerProcess, *, code: Code, reason: str) -> None:
    """The copy fails so, says that reading failed, and leaves nothing."""
    client = OfficialClient(server.profile)
    operation = client.wait(client.copy("disk", "disk").id)
    assert operation.WhichOneof("result") == "error", operation
    assert operation.error.code == code
    assert "Input/output error" in operation.error.message
    info = ErrorInfo()
    assert any(each.Unpack(info) for each in operation.error.details)
    assert info.reason == reason
    assert info.metadata["remedy"]


def check_nothing_left(server: ServerProcess) -> None:
    assert server.stop() == 0
    inspection = Inspection.of(server.data_dir)
    try:
        for table in (tables.images, tables.chunks, tables.packs, tables.copy_ranges):
            assert inspection.count(table) == 0, table.name
        assert list(inspection.chunks.iter_packs()) == []
    finally:
        inspection.close()


@pytest.mark.usefixtures("raw")
def test_a_raw_disk_that_cannot_be_read_fails_its_copy(
    make_server: Callable[..., ServerProcess], storage: FaultyStorage
) -> None:
    """Nothing is left behind; once the storage is well again, the copy goes through."""
    server = make_server(variables=storage.variables("error", suffix="raw"))
    server.start()
    check_error(server, code=Code.UNAVAILABLE, reason="UNAVAILABLE")
    check_nothing_left(server)
    server.start()
    storage.switch.unlink()
    client = OfficialClient(server.profile)
    assert client.wait(client.copy("disk", "disk").id).WhichOneof("result") == "response"


@pytest.mark.usefixtures("raw")
def test_reads_that_give_less_than_asked_for_are_gone_on_with(
    make_server: Callable[..., ServerProcess], storage: FaultyStorage, tmp_path: Path
) -> None:
    """The copy is byte-exact."""
    server = make_server(variables=storage.variables("short", suffix="raw"))
    server.start()
    client = OfficialClient(server.profile)
    operation = client.wait(client.copy("disk", "disk").id)
    assert operation.WhichOneof("result") == "response", operation
    target = tmp_path / "exported"
    command = [sys.executable, "-m", "clouddesktop", "--profile", str(server.profile)]
    image = DesktopImage()
    assert operation.response.Unpack(image)
    subprocess.run(
        [*command, "image", "export", image.id, "--output", str(target)],
        check=True,
        capture_output=True,
    )
    assert target.read_bytes() == CONTENT.ljust(24 * MIB, b"\0")


@pytest.mark.qemu
def test_a_qcow2_disk_that_qemu_cannot_read_fails_its_copy(
    make_server: Callable[..., ServerProcess], storage: FaultyStorage, raw: Path
) -> None:
    """In QEMU's own words; nothing is left, and no process either."""
    convert(raw, raw.with_suffix(".qcow2"), "-O", "qcow2", source_format="raw")
    raw.unlink()
    raw.with_suffix(".qcow2").chmod(0o600)  # its owner has to read it, who finds that qemu-nbd
    server = make_server(
        variables=storage.preload_into_qemu("error"), options=("--sandbox", "preferred")
    )
    server.start()
    check_error(server, code=Code.FAILED_PRECONDITION, reason="DAMAGED_DISK")
    check_nothing_left(server)
