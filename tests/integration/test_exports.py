"""What comes out of a real server by the real command: exports, sparse or damaged, and diffs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from clouddesktop.client import (
    CallError,
    Change,
    ChangeKind,
    Connection,
    connect,
    diff_images,
    image_id_of,
)
from parts.disks import random_bytes, write_raw
from parts.server import ServerProcess

pytestmark = pytest.mark.slow

MIB = 1 << 20


async def copy(connection: Connection, name: str) -> str:
    """Copy a compute image; gives the new image's id."""
    operation = await connection.copy_image(compute_image_id=name, name=name)
    return image_id_of(await connection.wait_operation(operation.id, poll_seconds=0.02))


def run_image(server: ServerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a verb of `clouddesktop image` as users do."""
    command = [sys.executable, "-m", "clouddesktop", "--profile", str(server.profile)]
    return subprocess.run(
        [*command, "image", *arguments], check=False, capture_output=True, text=True
    )


def run_export(server: ServerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `clouddesktop image export`."""
    return run_image(server, "export", *arguments)


async def run_qemu_img(*arguments: str) -> str:
    """Run it; a difference that `compare` finds is a failure."""
    done = await asyncio.to_thread(
        subprocess.run, ["qemu-img", *arguments], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return str(done.stdout)


def names_in(folder: Path) -> list[str]:
    """Give what exports left in a folder."""
    return sorted(each.name for each in folder.iterdir() if each.name.startswith("out."))


async def test_a_damaged_chunk_fails_the_export_and_nothing_appears(
    server: ServerProcess, sources_dir: Path, tmp_path: Path
) -> None:
    """One flipped bit in one pack: the client notices, the server says which chunk it is."""
    write_raw(sources_dir / "disk.raw", size=8 * MIB, data={MIB: random_bytes(4 * MIB, seed=1)})
    async with connect(server.profile) as connection:
        await copy(connection, "disk")
    output = tmp_path / "out.raw"
    assert run_export(server, "disk", "--output", str(output)).returncode == 0
    assert output.read_bytes() == (sources_dir / "disk.raw").read_bytes()
    assert output.stat().st_blocks * 512 < 6 * MIB
    output.unlink()
    (pack,) = (server.data_dir / "store/packs").glob("*/*")
    damaged = bytearray(pack.read_bytes())
    damaged[2 * MIB] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(damaged)
    failed = run_export(server, "disk", "--output", str(output))
    assert failed.returncode == 1
    assert "is damaged: its bytes have another digest" in failed.stderr
    assert f"pack {pack.parent.name}/{pack.name}" in failed.stderr
    assert names_in(tmp_path) == []
    assert "DamagedChunkError" in server.log.read_text()


async def test_what_changed_is_found_between_disks_of_two_sizes(
    server: ServerProcess, sources_dir: Path
) -> None:
    """By the command, as text and as JSON, and by the client."""
    one, two = random_bytes(2 * MIB, seed=1), random_bytes(MIB, seed=2)
    write_raw(sources_dir / "old.raw", size=8 * MIB, data={0: one, 4 * MIB: two})
    write_raw(
        sources_dir / "new.raw",
        size=16 * MIB,
        data={0: one[:MIB] + b"x", 9 * MIB: two, 5 * MIB: two},
    )
    async with connect(server.profile) as connection:
        old_id, new_id = await copy(connection, "old"), await copy(connection, "new")
        found = await diff_images(connection, old_id, new_id)
        with pytest.raises(CallError, match="Image e3vnone not found"):
            await diff_images(connection, old_id, "e3vnone")
    chunk = found.chunk_size
    assert found.ranges == [
        Change(offset=MIB, length=chunk, kind=ChangeKind.CHANGED),
        Change(offset=MIB + chunk, length=MIB - chunk, kind=ChangeKind.REMOVED),
        Change(offset=4 * MIB, length=MIB, kind=ChangeKind.REMOVED),
        Change(offset=5 * MIB, length=MIB, kind=ChangeKind.ADDED),
        Change(offset=9 * MIB, length=MIB, kind=ChangeKind.ADDED),
    ]
    assert (found.totals.old_disk_size, found.totals.new_disk_size) == (8 * MIB, 16 * MIB)
    assert (found.totals.same_bytes, found.totals.shared_bytes) == (MIB, 2 * MIB)
    printed = run_image(server, "diff", "old", new_id, "--format", "json", "--limit", "1")
    assert json.loads(printed.stdout) == {
        "old_image_id": old_id,
        "new_image_id": new_id,
        **found.to_record(),
    }
    text = run_image(server, "diff", "old", "new", "--limit", "1")
    assert "same     1.05 MB  at the same place: 30.8% of the new one's data" in text.stdout
    assert "4 more ranges" in text.stderr


@pytest.mark.qemu
async def test_every_format_holds_the_disk_and_is_sparse(
    server: ServerProcess, sources_dir: Path, tmp_path: Path
) -> None:
    """The same bytes to qemu-img, the same size, and not much more room than the data takes."""
    source = sources_dir / "disk.raw"
    data = {0: b"boot", 5 * MIB + 100: random_bytes(2 * MIB, seed=3), 64 * MIB - 512: b"e" * 512}
    write_raw(source, size=64 * MIB, data=data)
    async with connect(server.profile) as connection:
        await copy(connection, "disk")
    for suffix, qemu_name in (
        *(("img", "raw"), ("qcow2", "qcow2"), ("vmdk", "vmdk")),
        *(("vdi", "vdi"), ("vhdx", "vhdx"), ("vhd", "vpc")),
    ):
        output = tmp_path / f"out.{suffix}"
        done = run_export(server, "disk", "--output", str(output))
        assert done.returncode == 0, done.stderr
        info = ("info", "--output=json", "-f", qemu_name, str(output))
        assert json.loads(await run_qemu_img(*info))["virtual-size"] == 64 * MIB, suffix
        await run_qemu_img("compare", "-f", "raw", "-F", qemu_name, str(source), str(output))
        assert output.stat().st_blocks * 512 < 20 * MIB, suffix
    assert len(names_in(tmp_path)) == 6
