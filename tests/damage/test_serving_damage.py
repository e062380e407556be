"""A real server on a damaged store: nothing wrong is handed out, and what is repaired is served."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage

from clouddesktop.catalog import scrubbing, tables
from clouddesktop.catalog.scrubbing import Damage, Finding, ScrubPack
from clouddesktop.cli.main import app
from clouddesktop.errors import CloudDesktopError, Code
from clouddesktop.ids import PackId
from parts.disks import MIB, is_same, random_bytes, write_raw
from parts.faults import PausedServer
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.server import ServerProcess
from parts.vault import Vault


class Desk:
    """A server on the vault, and the command line pointed at it."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.server = ServerProcess(data_dir=vault.data_dir, sources={"images": vault.sources})

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(app, ["--profile", str(self.server.profile), *words])

    def export(self, image: str) -> tuple[Path, Result]:
        output = self.vault.root / f"{image}.out"
        output.unlink(missing_ok=True)
        return output, self.run("image", "export", image, "--output", str(output))

    def check_export(self, image: str, disk: str) -> None:
        output, done = self.export(image)
        assert done.exit_code == 0, done
        assert is_same(output, self.vault.disks[disk])

    def check_refused(self, image: str) -> CloudDesktopError:
        output, refused = self.export(image)
        assert isinstance(refused.exception, CloudDesktopError)
        assert not output.exists()
        return refused.exception


@pytest.fixture
def desk(vault: Vault) -> Iterator[Desk]:
    """A desk whose server is not started yet; it must drain cleanly at the end."""
    made = Desk(vault)
    yield made
    if made.server.process is not None:
        assert made.server.stop() == 0


def damage(vault: Vault) -> None:
    """Flip a bit in the chunks of every pack that is not of the small image."""
    for pack in vault.packs():
        data = bytearray(pack.read_bytes())
        if len(data) > 2000:
            data[1000] ^= 8
            pack.write_bytes(data)


def test_damage_is_refused_named_and_healed_by_the_next_copy(desk: Desk) -> None:
    """The export fails, the scrub says why, a new copy of the disk mends the old image too."""
    damage(desk.vault)
    desk.server.start()
    assert desk.check_refused("base").reason in {"DAMAGED_CHUNK", "DATA_LOSS", "EXPORT_FAILED"}
    desk.check_export("small", "small")
    assert "verified_at: never" in desk.run("image", "get", "base").stdout
    looked = desk.run("store", "scrub", "--no-repair", "--rate", "0")
    assert looked.exit_code == 1
    assert "base (" in looked.stderr
    assert "small (" not in looked.stderr
    assert "copy the same disks into new images" in looked.stderr
    assert desk.vault.images["base"] in desk.check_refused("base").message
    client = OfficialClient(desk.server.profile)
    operation = client.wait(client.copy("base", "again").id)
    assert operation.response.Unpack(DesktopImage()), operation
    desk.check_export("again", "base")
    desk.check_export("base", "base")
    repaired = desk.run("store", "scrub", "--rate", "0")
    assert repaired.exit_code == 0, repaired.stderr
    stats = json.loads(desk.run("store", "stats", "--format", "json").stdout)
    assert [each["name"] for each in stats["images"] if not each["verified_at"]] == []
    for name in desk.vault.images:
        desk.check_export(name, name)
        assert 'verified_at: "20' in desk.run("image", "get", name).stdout
    again = desk.run("store", "scrub", "--verify-older-than", "1")
    assert "passed over" in again.stderr
    assert "all is right" in again.stderr


def test_a_scrub_goes_on_after_a_crash(desk: Desk) -> None:
    """A slow one is killed with its server; the next start ends it, and repairs."""
    damage(desk.vault)
    desk.server.start()
    started = desk.run("store", "scrub", "--rate", "2000000", "--async", "--format", "json")
    run_id = json.loads(started.stdout)["id"]
    desk.server.kill()
    desk.server.start()
    ended = desk.run("store", "wait", run_id, "--format", "json")
    assert ended.exit_code == 0, ended.stderr
    run = json.loads(ended.stdout)
    assert run["state"] == "done"
    assert run["report"]["chunks_repaired_from_sources"] > 0
    desk.check_export("base", "base")


def test_a_copy_whose_chunk_was_quarantined_is_not_published(
    make_server: Callable[..., ServerProcess], sources_dir: Path, tmp_path: Path
) -> None:
    """Between recording and sealing; copied again, it is whole."""
    write_raw(sources_dir / "disk.raw", size=MIB, data={0: random_bytes(MIB, seed=9)})
    paused = PausedServer(make_server, tmp_path, failpoint="seal-begin")
    client = OfficialClient(paused.server.profile)
    operation = client.copy("disk", "disk")
    paused.wait_paused()
    inspection = Inspection.of(paused.server.data_dir)
    (number,) = inspection.column(tables.packs.c.number)
    (pack_id,) = inspection.column(tables.packs.c.id)
    pack = ScrubPack(int(str(number)), PackId(str(pack_id)), MIB, None, None)
    entries = inspection.database.read(scrubbing.indexed_entries, pack.number)
    finding = Finding(pack=pack, damage="It is.", whole=(), damaged=[Damage(entries[0], "It is.")])
    inspection.database.write(scrubbing.record_finding, finding, now=datetime.now(tz=UTC))
    inspection.close()
    paused.go_on()
    failed = client.wait(operation.id)
    assert failed.error.code == Code.ABORTED
    assert "1 chunks were found damaged" in failed.error.message
    assert client.wait(client.copy("disk", "disk").id).WhichOneof("result") == "response"
