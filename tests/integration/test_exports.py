"""Exports from a real server by the real command: formats, sparseness, damage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clouddesktop.client import Connection, connect, image_id_of
from parts.disks import random_bytes, write_raw
from parts.server import ServerProcess

pytestmark = pytest.mark.slow

MIB = 1 << 20


async def copy(connection: Connection, name: str) -> str:
    """Copy a compute image; gives the new image's id."""
    operation = await connection.copy_image(compute_image_id=name, name=name)
    return image_id_of(await connection.wait_operation(operation.id, poll_seconds=0.02))


def run_export(server: ServerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `clouddesktop image export` as users do."""
    command = [sys.executable, "-m", "clouddesktop", "--profile", str(server.profile)]
    return subprocess.run(
        [*command, "image", "export", *arguments], check=False, capture_output=True, text=True
    )


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
