"""A real PostgreSQL on this machine: one server for the tests of a module, reached by a socket."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

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

    @property
    def url(self) -> str:
        """Its database `postgres`, as SQLAlchemy has it."""
        return f"postgresql+psycopg://{self.user}@/postgres?host={self.folder}"

    @property
    def user(self) -> str:
        return _UNPRIVILEGED

    def start(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.folder, _UNPRIVILEGED)
        data = self.folder / "data"
        subprocess.run(
            [
                *(self.programs / "initdb", "--pgdata", data, "--username", self.user),
                *("--auth", "trust", "--encoding", "UTF8", "--no-sync"),
                *("--locale-provider", "icu", "--icu-locale", "en-US", "--locale", "C.UTF-8"),
            ],
            check=True,
            capture_output=True,
            **self._as_user(),
        )
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",  # its data goes with it
        }
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(self.programs / "postgres", "-D", data),
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
        wait_for(self._is_ready, "PostgreSQL answers", timeout_seconds=_READY_SECONDS)

    def stop(self) -> None:
        """End it by its pid, at once; its data goes, too."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(_STOP_SECONDS)
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
            psycopg.connect(host=str(self.folder), user=self.user, dbname="postgres").close()
        except psycopg.OperationalError:
            return False
        return True


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """The running server."""
    found = sorted(_PROGRAMS.glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    assert found, "PostgreSQL is not installed: run `scripts/setup` (postgresql)."
    # Not pytest's folder, which only its owner may enter; and a socket's path is short.
    server = Postgres(folder=Path(tempfile.mkdtemp(prefix="pg-")), programs=found[-1].parent)
    try:
        server.start()
        yield server
    finally:
        server.stop()
