"""`clouddesktop migrate`, and a worker that is given nothing to share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

from parts.postgres import Postgres
from parts.server import ServerProcess


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a verb that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "clouddesktop", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_shared_database_is_migrated_apart(postgres: Postgres, tmp_path: Path) -> None:
    """Twice alike; the password of its URL is not shown, and no data folder is made."""
    url = postgres.make_database().replace("nobody@", "nobody:secret@")
    folder = tmp_path / "data"
    for _ in range(2):
        done = run("migrate", "--database", url, "--data-dir", str(folder))
        assert done.returncode == 0, done.stderr
        assert "have this version's form" in done.stdout
        assert "secret" not in done.stdout + done.stderr
    assert not folder.exists()
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    assert {"images", "workers"} <= set(sa.inspect(engine).get_table_names())
    assert "workflow_status" in sa.inspect(engine).get_table_names("dbos")
    engine.dispose()


def test_a_data_folders_database_is_migrated_while_no_server_runs(server: ServerProcess) -> None:
    """Then the server has to be stopped first; afterwards it starts as ever."""
    refused = run("migrate", "--data-dir", str(server.data_dir))
    assert refused.returncode == 1
    assert "Another clouddesktop server works in" in refused.stderr
    assert server.stop() == 0
    assert run("migrate", "--data-dir", str(server.data_dir)).returncode == 0
    server.start()


def test_a_worker_needs_a_database_to_share(tmp_path: Path) -> None:
    """It says which, and leaves nothing that a server would mind."""
    refused = run("worker", "--data-dir", str(tmp_path / "data"))
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "--database postgresql://" in refused.stderr
