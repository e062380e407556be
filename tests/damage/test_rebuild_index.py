"""`clouddesktop store rebuild-index` on the data folder of a server that has stopped."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from clouddesktop.app.bootstrap import DataFolderInUseError
from clouddesktop.app.rebuilding import rebuild_index
from clouddesktop.catalog import tables
from clouddesktop.cli.main import app
from clouddesktop.config import load_settings
from parts.inspection import Inspection
from parts.server import ServerProcess
from parts.vault import Vault


def rebuild(vault: Vault) -> Result:
    command = ["store", "rebuild-index", "--data-dir", str(vault.data_dir)]
    return CliRunner().invoke(app, command)


def check_images(vault: Vault, *names: str) -> None:
    """Every byte of these images is as it was copied."""
    inspection = Inspection.of(vault.data_dir)
    try:
        for name in names or vault.images:
            inspection.check_image(vault.images[name], vault.disks[name])
        inspection.check_store()
    finally:
        inspection.close()


def list_relied_on(inspection: Inspection) -> list[tuple[bytes, str]]:
    """Which packs each content relies on, by their names in the store."""
    names = dict(inspection.rows(tables.packs.c.number, tables.packs.c.id))
    relied_on = inspection.rows(tables.manifest_packs.c.manifest, tables.manifest_packs.c.pack)
    return sorted((manifest, names[number]) for manifest, number in relied_on)


def spoil_rows(vault: Vault, *, seed: int) -> None:
    """Make the index wrong: rows gone, in the wrong pack, with wrong offsets, sizes and codecs."""
    choice = random.Random(seed)  # noqa: S311  (test data)

    def spoil(connection: sa.Connection) -> None:
        numbers = list(connection.scalars(sa.select(tables.packs.c.number)))
        for digest in list(connection.scalars(sa.select(tables.chunks.c.digest))):
            row = tables.chunks.c.digest == digest
            wrong: dict[str, int] = choice.choice(
                [
                    {"pack": choice.choice(numbers)},
                    {"offset": choice.randrange(1 << 20)},
                    {"stored_size": choice.randrange(1, 1 << 18)},
                    {"codec": choice.randrange(2)},
                    {},
                ]
            )
            if wrong:
                connection.execute(sa.update(tables.chunks).where(row).values(**wrong))
            elif choice.randrange(2):
                connection.execute(sa.delete(tables.chunks).where(row))
        for number in numbers:
            if choice.random() < 0.3:
                for column in (
                    tables.manifest_packs.c.pack,
                    tables.chunks.c.pack,
                    tables.packs.c.number,
                ):
                    connection.execute(sa.delete(column.table).where(column == number))

    inspection = Inspection.of(vault.data_dir)
    try:
        inspection.database.write(spoil)
    finally:
        inspection.close()


@settings(max_examples=10)
@given(seed=st.integers(0, 1 << 32))
def test_a_wrong_index_is_made_right(make_copy: Callable[[], Vault], seed: int) -> None:
    """Whatever the rows say; the packs' tables alone decide."""
    vault = make_copy()
    spoil_rows(vault, seed=seed)
    done = rebuild_index(load_settings(data_dir=vault.data_dir), report=lambda _packs: None)
    assert done.is_complete, done
    check_images(vault)


def test_an_empty_index_is_made_anew_and_served(vault: Vault) -> None:
    """Twice is as once; the figures of the images come back, and the server starts on it."""

    def empty(connection: sa.Connection) -> None:
        for table in (tables.manifest_packs, tables.chunks, tables.packs):
            connection.execute(sa.delete(table))
        connection.execute(sa.update(tables.images).values(storage_size=0))

    inspection = Inspection.of(vault.data_dir)
    before = sorted(inspection.rows(tables.images.c.id, tables.images.c.storage_size))
    relied_on = list_relied_on(inspection)
    inspection.database.write(empty)
    inspection.close()
    assert rebuild(vault).exit_code == 0
    assert rebuild(vault).exit_code == 0
    inspection = Inspection.of(vault.data_dir)
    assert sorted(inspection.rows(tables.images.c.id, tables.images.c.storage_size)) == before
    assert list_relied_on(inspection) == relied_on
    inspection.close()
    check_images(vault)
    server = ServerProcess(data_dir=vault.data_dir, sources={"images": vault.sources})
    server.start()
    refused = rebuild(vault)
    assert server.stop() == 0
    assert isinstance(refused.exception, DataFolderInUseError)


def test_what_is_missing_is_named(vault: Vault) -> None:
    """The images that need a lost pack; the others are whole, and so are all once it is back."""
    inspection = Inspection.of(vault.data_dir)
    small = inspection.rows(tables.images.c.manifest, tables.images.c.name)
    (manifest,) = [digest for digest, name in small if name == "small"]
    listed = inspection.rows(tables.manifest_packs.c.manifest, tables.manifest_packs.c.pack)
    (number,) = [pack for each, pack in listed if each == manifest]
    (pack_id,) = [
        name
        for pack, name in inspection.rows(tables.packs.c.number, tables.packs.c.id)
        if pack == number
    ]
    inspection.close()
    pack = vault.store / "packs" / pack_id
    data = pack.read_bytes()
    pack.unlink()
    done = rebuild(vault)
    assert done.exit_code == 1
    assert f"The image small ({vault.images['small']}): lacks 1 chunks, such as " in done.stdout
    assert f"The pack {pack_id} is not in the store any more." in done.stdout
    assert vault.images["base"] not in done.stdout
    check_images(vault, "base", "patched")
    pack.parent.mkdir(exist_ok=True)
    pack.write_bytes(data)
    assert rebuild(vault).exit_code == 0
    check_images(vault)


@pytest.mark.parametrize("place", [0, 10, -1, -50, -100])
def test_a_table_that_cannot_be_read_loses_no_chunk(vault: Vault, place: int) -> None:
    """The old index leads to the chunks, which are verified."""
    for pack in vault.packs():
        data = bytearray(pack.read_bytes())
        data[place] ^= 1
        pack.write_bytes(data)
    done = rebuild(vault)
    assert done.exit_code == 0, done.stdout
    assert done.stdout.count("could be verified were kept") == len(vault.packs())
    check_images(vault)


def test_an_interrupted_rebuild_changes_nothing(vault: Vault) -> None:
    """Killed at any moment, the index is as it was, and the next rebuild does its work."""
    inspection = Inspection.of(vault.data_dir)
    before = sorted(inspection.rows(*tables.chunks.c))
    inspection.close()
    killed = (
        "import os\n"
        "from clouddesktop.app import rebuilding\n"
        "from clouddesktop.catalog import index_rebuild\n"
        "from clouddesktop.config import load_settings\n"
        "index_rebuild.list_contents = lambda _connection: os._exit(9)\n"
        f"rebuilding.rebuild_index(load_settings(data_dir={str(vault.data_dir)!r}), report=print)\n"
    )
    ended = subprocess.run([sys.executable, "-c", killed], check=False, capture_output=True)
    assert ended.returncode == 9
    inspection = Inspection.of(vault.data_dir)
    assert sorted(inspection.rows(*tables.chunks.c)) == before
    inspection.close()
    assert rebuild(vault).exit_code == 0
    check_images(vault)
