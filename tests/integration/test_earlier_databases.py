"""Databases of earlier versions, with what was in them, are upgraded by today's first start."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from clouddesktop.catalog import migrating
from parts.cluster import PROGRAM
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.postgres import Postgres
from parts.server import ServerProcess
from parts.vault import Vault, make_vault

_FORMER_NAMES = {("operations", "image_id"): "resource_id"}
"""Columns that are called otherwise today."""

_NEW_KINDS = {"awaited_ends", "folder_usage"}
"""Tables whose rows only say what a later version has still to do, or come from other rows."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    """What today's version has written; tests leave it as it is."""
    return make_vault(tmp_path_factory.mktemp("written"))


def make_earlier(engine: sa.Engine, revision: str, today: Path) -> None:
    """Make the tables of a revision, and put in of today's rows what they have columns for."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrating.__file__).parent / "migrations"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()
    source = sa.create_engine(f"sqlite:///{today}")
    now, then = sa.MetaData(), sa.MetaData()
    now.reflect(source)
    then.reflect(engine)
    with source.connect() as reading, engine.begin() as writing:
        for table in then.sorted_tables:
            if table.name != "alembic_version" and table.name not in _NEW_KINDS:
                copy_rows(reading, writing, now.tables[table.name], table)
        if engine.dialect.name == "postgresql":
            writing.exec_driver_sql(
                "SELECT setval(pg_get_serial_sequence('packs', 'number'), max(number)) FROM packs"
            )
    source.dispose()


def copy_rows(
    reading: sa.Connection, writing: sa.Connection, today: sa.Table, earlier: sa.Table
) -> None:
    names = {
        column.name: _FORMER_NAMES.get((earlier.name, column.name), column.name)
        for column in earlier.columns
    }
    rows = [
        {theirs: row[ours] for theirs, ours in names.items() if ours in row}
        for row in reading.execute(sa.select(today)).mappings()
        if row.get("id") != ""  # a migration makes those that belong to nobody
    ]
    if rows:
        writing.execute(sa.insert(earlier), rows)


def examine(vault: Vault, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, "doctor", "--data-dir", str(vault.data_dir), *options],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("revision", ["0001", "0006", "0013", "0015"])
def test_an_earlier_database_is_upgraded_with_its_data(
    written: Vault, tmp_path: Path, kind: str, revision: str, request: pytest.FixtureRequest
) -> None:
    """Images and what is known of files are as they were: known content is copied at once."""
    vault = written.copied_to(tmp_path / "vault")
    path = vault.data_dir / "clouddesktop.db"
    today = path.rename(tmp_path / "today.db")
    url = f"sqlite:///{path}"
    if kind == "postgres":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.make_database()
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    make_earlier(engine, revision, today)
    engine.dispose()
    settings = ("--database", url, "--store", vault.store.as_uri())
    assert "the tables of an earlier version" in examine(vault, *settings).stdout
    server = ServerProcess(
        data_dir=vault.data_dir, sources={"images": vault.sources}, options=settings
    )
    server.start()
    try:
        client = OfficialClient(server.profile)
        assert client.copy("base", "again").done
        inspection = Inspection.of_server(server)
        for name, image_id in vault.images.items():
            inspection.check_image(image_id, vault.disks[name])
        inspection.close()
        looked = examine(vault, *settings, "--source", f"images={vault.sources.as_uri()}")
        assert looked.returncode == 0, looked.stdout
    finally:
        assert server.stop() == 0, server.log.read_text()[-4000:]
