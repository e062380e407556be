"""`clouddesktop doctor` on installations that lack something, have too much, or were restored."""

from __future__ import annotations

import json
import logging
import shutil
import struct
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from typer.testing import CliRunner

from clouddesktop.catalog import tables
from clouddesktop.cli.main import app
from parts.inspection import Inspection
from parts.server import ServerProcess
from parts.vault import Vault
from parts.waiting import wait_for

LATER = "e3oafterthebackup000"
"""An operation that no database here knows."""


@pytest.fixture(autouse=True)
def _unchanged_logging() -> Iterator[None]:
    """The command sends the log to the standard error that it has, which is gone afterwards."""
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers
    structlog.reset_defaults()


def examine(vault: Vault, *options: str) -> tuple[int, dict[str, Any]]:
    """Give the exit status and what was found."""
    done = CliRunner().invoke(
        app,
        [
            *("doctor", "--data-dir", str(vault.data_dir), "--format", "json"),
            *("--source", f"images={vault.sources.as_uri()}", *options),
        ],
    )
    assert done.stdout, done.output
    return done.exit_code, json.loads(done.stdout)


def kinds(found: dict[str, Any], *states: str) -> set[str]:
    return {each["kind"] for each in found["findings"] if each["state"] in states}


def subjects(found: dict[str, Any], kind: str) -> set[str]:
    return {each["subject"] for each in found["findings"] if each["kind"] == kind}


def change(vault: Vault, query: Callable[[sa.Connection], object]) -> None:
    inspection = Inspection.of(vault.data_dir)
    try:
        inspection.database.write(query)
    finally:
        inspection.close()


def check_images(vault: Vault, names: Collection[str] = ()) -> None:
    inspection = Inspection.of(vault.data_dir)
    try:
        for name in names or vault.images:
            inspection.check_image(vault.images[name], vault.disks[name])
    finally:
        inspection.close()


def largest_pack(vault: Vault) -> Path:
    return max(vault.packs(), key=lambda path: path.stat().st_size)


def test_nothing_is_wrong(vault: Vault) -> None:
    """And nothing is written: every file of the store and the database are as they were."""
    before = {path: path.stat().st_mtime_ns for path in vault.store.rglob("*") if path.is_file()}
    status, found = examine(vault)
    assert (status, found["findings"]) == (0, [])
    assert before == {path: path.stat().st_mtime_ns for path in before}
    status, found = examine(vault, "--mend")
    assert (status, found["findings"]) == (0, [])
    check_images(vault)


def test_a_pack_that_is_gone_and_comes_back(vault: Vault, tmp_path: Path) -> None:
    """Looking changes nothing; mending quarantines; once it is back, all is as it was."""
    pack = largest_pack(vault)
    backup = tmp_path / "pack"
    shutil.move(pack, backup)
    _, found = examine(vault)
    status, again = examine(vault)
    assert (status, again) == (1, found)
    assert kinds(found, "wrong") == {"missing_pack", "damaged_image"}
    hurt = subjects(found, "damaged_image")
    assert hurt
    status, found = examine(vault, "--mend")
    assert status == 1
    assert kinds(found, "mended") == {"missing_pack"}
    assert kinds(found, "wrong") == {"damaged_image"}
    assert subjects(found, "damaged_image") == hurt
    check_images(vault, [name for name, image in vault.images.items() if image not in hurt])
    status, found = examine(vault)
    assert kinds(found, "wrong") == {"damaged_image"}
    pack.parent.mkdir(exist_ok=True)
    shutil.copy(backup, pack)
    status, found = examine(vault, "--mend")
    assert (status, kinds(found, "wrong")) == (0, set())
    assert subjects(found, "damaged_image") == hurt
    status, found = examine(vault)
    assert (status, found["findings"]) == (0, [])
    check_images(vault)


def test_images_that_lost_bytes_are_deleted_and_all_is_well(vault: Vault) -> None:
    """What nobody needs any more is released; a server then copies the image anew."""
    largest_pack(vault).unlink()
    status, found = examine(vault, "--mend")
    hurt = subjects(found, "damaged_image")
    images = tables.images
    change(vault, lambda each: each.execute(sa.delete(images).where(images.c.id.in_(hurt))))
    status, found = examine(vault, "--mend")
    assert (status, kinds(found, "wrong")) == (0, set())
    status, found = examine(vault)
    assert (status, found["findings"]) == (0, [])


def test_chunks_that_lie_in_packs_of_later_are_found(vault: Vault) -> None:
    """A collection has written packs anew since the backup of the database."""
    for number, pack in enumerate(vault.packs()):
        later = vault.store / "packs" / LATER / f"{number}-1"
        later.parent.mkdir(exist_ok=True)
        shutil.move(pack, later)
    status, found = examine(vault)
    assert status == 1
    assert kinds(found, "note") == {"unknown_packs"}
    assert subjects(found, "damaged_image") == set(vault.images.values())
    status, found = examine(vault, "--mend")
    assert status == 0, found
    assert "lost_chunks" in kinds(found, "mended")
    status, found = examine(vault)
    assert (status, found["findings"]) == (0, [])
    check_images(vault)
    inspection = Inspection.of(vault.data_dir)
    inspection.check_store()
    inspection.close()


def test_an_index_that_has_lost_rows(vault: Vault) -> None:
    """They are read from the packs again."""
    change(vault, lambda each: each.execute(sa.delete(tables.chunks)))
    status, found = examine(vault)
    assert kinds(found, "wrong") == {"damaged_image"}
    status, found = examine(vault, "--mend")
    assert status == 0, found
    assert examine(vault) == (0, examine(vault)[1])
    check_images(vault)


def test_a_manifest_that_is_gone(vault: Vault) -> None:
    """Its image is named, and marked."""
    for path in vault.manifests():
        path.unlink()
    status, found = examine(vault, "--mend")
    assert status == 1
    assert subjects(found, "damaged_image") == set(vault.images.values())
    inspection = Inspection.of(vault.data_dir)
    assert None not in inspection.column(tables.manifests.c.damage)
    inspection.close()


def test_an_image_made_after_the_backup(vault: Vault) -> None:
    """The content is named, with who made it; nothing is deleted."""
    manifest = vault.manifests()[0]
    digest = manifest.name.partition("-")[0]
    shutil.move(manifest, manifest.with_name(f"{digest}-{LATER}-1"))

    def forget(connection: sa.Connection) -> None:
        mine = bytes.fromhex(digest)
        for table in (tables.images, tables.known_contents, tables.manifest_packs):
            connection.execute(sa.delete(table).where(table.c.manifest == mine))
        connection.execute(sa.delete(tables.manifests).where(tables.manifests.c.digest == mine))

    change(vault, forget)
    for options in ((), ("--mend",)):
        status, found = examine(vault, *options)
        assert status == 1
        assert subjects(found, "unknown_content") == {digest}
        assert LATER in str(found)


def add_operation(connection: sa.Connection, operation_id: str, **values: Any) -> None:
    """Put in a copy that is not done, made of one that is."""
    row = connection.execute(sa.select(tables.operations).limit(1)).mappings().one()
    connection.execute(
        sa.insert(tables.operations).values(
            {**row, "id": operation_id, "done": False, "result": None, "manifest": None, **values}
        )
    )


def test_a_run_whose_names_are_taken(vault: Vault) -> None:
    """A copy that ran on after the backup has written packs: its next run takes later numbers."""
    left = "e3oleft0000000000000"
    change(vault, lambda each: add_operation(each, left, workflow_id=f"{left}-1", epoch=2))
    written = vault.store / "packs" / left
    written.mkdir()
    for name in ("000000-7-1", "000001-6-3-e3whelper00000000000"):
        shutil.copy(largest_pack(vault), written / name)
    status, found = examine(vault)
    assert status == 1
    assert subjects(found, "run_behind") == {left}
    status, found = examine(vault, "--mend")
    assert kinds(found, "mended") == {"run_behind", "operation_without_workflow"}
    inspection = Inspection.of(vault.data_dir)
    operations = tables.operations
    assert (left, 7) in inspection.rows(operations.c.id, operations.c.epoch)
    inspection.close()


def test_a_running_copy_that_has_lost_chunks(vault: Vault) -> None:
    """It must not make an image of them: it fails."""
    left = "e3oleft0000000000000"

    def spoil(connection: sa.Connection) -> None:
        add_operation(connection, left, workflow_id=f"{left}-1", resource_id="e3vleft")
        chunks = struct.pack("<Q32s", 0, b"gone".ljust(32))
        connection.execute(
            sa.insert(tables.copy_ranges).values(operation_id=left, index=0, chunks=chunks)
        )

    change(vault, spoil)
    status, found = examine(vault)
    assert subjects(found, "copy_lacks_chunks") == {left}
    assert examine(vault, "--mend")[0] == 0
    status, found = examine(vault)
    assert (status, subjects(found, "copy_lacks_chunks")) == (0, set())
    inspection = Inspection.of(vault.data_dir)
    failures = dict(inspection.rows(tables.operations.c.id, tables.operations.c.failure))
    inspection.close()
    assert failures[left]["reason"] == "CONTENT_LOST"


def test_operations_that_nobody_runs(vault: Vault) -> None:
    """One without a workflow fails and is rolled back, one whose workflow is gone goes on."""
    lost, left = "e3olost0000000000000", "e3oleft0000000000000"
    strays = ("e3vstray000000000000", "stray")

    def spoil(connection: sa.Connection) -> None:
        add_operation(connection, lost, workflow_id=None, resource_id="e3vlost0000000000000")
        add_operation(connection, left, workflow_id=f"{left}-1", resource_id="e3vleft")
        image = connection.execute(sa.select(tables.images).limit(1)).mappings().one()
        for image_id, name in (strays, ("e3vlost0000000000000", "lost"), ("e3vleft", "left")):
            connection.execute(
                sa.insert(tables.images).values(
                    {**image, "id": image_id, "name": name, "status": 1, "manifest": None}
                )
            )

    change(vault, spoil)
    status, found = examine(vault)
    assert status == 1
    assert kinds(found, "wrong") == {
        "lost_operation",
        "operation_without_workflow",
        "image_without_operation",
    }
    assert subjects(found, "image_without_operation") == {strays[0]}
    status, found = examine(vault, "--mend")
    assert status == 0, found
    assert examine(vault)[0] == 0
    server = ServerProcess(data_dir=vault.data_dir, sources={"images": vault.sources})
    server.start()
    try:
        wait_for(lambda: not unfinished(vault), "the operations have ended")
        assert examine(vault)[1]["findings"] == []
    finally:
        assert server.stop() == 0
    inspection = Inspection.of(vault.data_dir)
    images = inspection.rows(tables.images.c.id, tables.images.c.status)
    inspection.close()
    assert ("e3vleft", 2) in images
    assert not {strays[0], "e3vlost0000000000000"} & {each for each, _ in images}


def unfinished(vault: Vault) -> list[tuple[Any, ...]]:
    inspection = Inspection.of(vault.data_dir)
    try:
        rows = inspection.rows(tables.operations.c.id, tables.operations.c.done)
        return [row for row in rows if not row[1]]
    finally:
        inspection.close()


def test_beside_a_server_it_looks_and_does_not_mend(vault: Vault) -> None:
    """To mend, the server has to be stopped."""
    server = ServerProcess(data_dir=vault.data_dir, sources={"images": vault.sources})
    server.start()
    try:
        assert examine(vault)[0] == 0
        done = CliRunner().invoke(app, ["doctor", "--data-dir", str(vault.data_dir), "--mend"])
        assert done.exit_code == 1
        assert "Another clouddesktop server works in" in str(done.exception)
    finally:
        assert server.stop() == 0


def test_what_it_stands_on_is_missing(vault: Vault, tmp_path: Path) -> None:
    """A folder, a database, a store, a source: each is named, and nothing is made."""
    done = CliRunner().invoke(app, ["doctor", "--data-dir", str(tmp_path / "none")])
    assert done.exit_code == 1
    assert "There is no database" in done.stdout
    assert not (tmp_path / "none").exists()
    status, found = examine(vault, "--store", (tmp_path / "other").as_uri())
    assert (status, kinds(found, "wrong")) == (1, {"store"})
    assert not (tmp_path / "other").exists()
    shutil.rmtree(vault.sources) if not vault.sources.is_symlink() else vault.sources.unlink()
    status, found = examine(vault)
    assert (status, kinds(found, "wrong")) == (1, {"sources"})


def test_text_says_what_why_and_how(vault: Vault) -> None:
    """A paragraph for each finding, then the sum."""
    done = CliRunner().invoke(app, ["doctor", "--data-dir", str(vault.data_dir)])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "Nothing is wrong."
    largest_pack(vault).unlink()
    done = CliRunner().invoke(app, ["doctor", "--data-dir", str(vault.data_dir)])
    assert done.exit_code == 1
    assert "wrong: The pack" in done.stdout
    assert "things are wrong" in done.stdout.splitlines()[-1]
