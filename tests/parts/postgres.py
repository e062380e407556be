"""A real PostgreSQL on this machine: one server for all tests of a process, reached by a socket."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg import sql

from parts.children import SHARED_PIDS
from parts.waiting import wait_for

_PROGRAMS = Path("/usr/lib/postgresql")
_UNPRIVILEGED = "nobody"
_READY_SECONDS = 60
_STOP_SECONDS = 30


@dataclass
class Postgres:
    """The server's process, its data and its socket in one folder.

    Its databases sort text as English does, so that a query that forgets to say how it sorts shows.
    """

    folder: Path
    programs: Path
    process: subprocess.Popen[bytes] | None = None
    settings: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        """Its database `postgres`."""
        return f"postgresql://{self.user}@/postgres?host={self.folder}"

    @property
    def user(self) -> str:
        return _UNPRIVILEGED

    def make_database(self) -> str:
        """Make a new database, and give its URL as users write it."""
        name = f"test_{next(self._numbers)}"
        with self.connect(autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return f"postgresql://{self.user}@/{name}?host={self.folder}"

    @property
    def socket_path(self) -> Path:
        """Where it listens."""
        return self.folder / ".s.PGSQL.5432"

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """Connect to the database `postgres`."""
        return psycopg.connect(host=str(self.folder), user=self.user, dbname="postgres", **options)

    def start(self) -> None:
        """Start it for the first time."""
        if os.geteuid() == 0:
            shutil.chown(self.folder, _UNPRIVILEGED)
        subprocess.run(
            [
                *(self.programs / "initdb", "--pgdata", self._data, "--username", self.user),
                *("--auth", "trust", "--encoding", "UTF8", "--no-sync"),
                *("--locale-provider", "icu", "--icu-locale", "en-US", "--locale", "C.UTF-8"),
            ],
            check=True,
            capture_output=True,
            **self._as_user(),
        )
        self.resume()

    def resume(self) -> None:
        """Start it on the data that it has, and wait until it answers."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",  # its data goes with it
            **self.settings,
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(self.programs / "postgres", "-D", self._data),
                    *(
                        part
                        for name, value in settings.items()
                        for part in ("-c", f"{name}={value}")
                    ),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                **self._as_user(),
            )
        SHARED_PIDS.add(self.process.pid)
        wait_for(self._is_ready, "PostgreSQL answers", timeout_seconds=_READY_SECONDS)

    def crash(self) -> None:
        """End it by its pid, at once, as a power cut would but for what the kernel has."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(_STOP_SECONDS)
            self.process = None

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Stop all of its processes: the kernel takes connections and bytes for them."""
        assert self.process is not None
        main = psutil.Process(self.process.pid)
        main.suspend()  # first of all, so that it has no more children
        try:
            for each in main.children():
                with suppress(psutil.NoSuchProcess):  # it has just ended
                    each.suspend()
            yield
        finally:
            for each in (*main.children(), main):
                with suppress(psutil.NoSuchProcess):
                    each.resume()

    def stop(self) -> None:
        """End it; its data goes, too."""
        self.crash()
        shutil.rmtree(self.folder)

    def _as_user(self) -> dict[str, Any]:
        """PostgreSQL does not run as root."""
        options: dict[str, Any] = {"cwd": self.folder}
        if os.geteuid() == 0:
            options |= {"user": _UNPRIVILEGED, "group": "nogroup", "extra_groups": []}
        return options

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()[-4000:]
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True


def find_programs() -> Path:
    """Find the folder with the programs of the newest PostgreSQL on this machine."""
    found = sorted(_PROGRAMS.glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    assert found, "PostgreSQL is not installed: run `scripts/setup` (postgresql)."
    return found[-1].parent


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a server of its own, in a folder that is gone afterwards."""
    # Not pytest's folder, which only its owner may enter; and a socket's path is short.
    server = Postgres(folder=Path(tempfile.mkdtemp(prefix="pg-")), programs=find_programs())
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The running server."""
    with running_postgres() as server:
        yield server
