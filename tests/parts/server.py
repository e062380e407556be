"""A real server in a process of its own, as users start it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

READY_SECONDS = 60
STOP_SECONDS = 30


@dataclass
class ServerProcess:
    """One data folder and the server that works on it; may be killed and started again."""

    data_dir: Path
    sources: dict[str, Path]
    command: tuple[str, ...] = (sys.executable, "-m", "clouddesktop", "serve")
    options: tuple[str, ...] = ()
    grpc: str = "127.0.0.1:0"
    http: str = "127.0.0.1:0"
    variables: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    ready: dict[str, Any] = field(default_factory=dict)

    @property
    def profile(self) -> Path:
        return self.data_dir / "profile.yaml"

    @property
    def database_url(self) -> str:
        """The database that its options name, or its data folder's own."""
        return self._given.get("--database", f"sqlite:///{self.data_dir / 'clouddesktop.db'}")

    @property
    def store_url(self) -> str:
        """The store that its options name, or its data folder's own."""
        return self._given.get("--store", f"file://{self.data_dir / 'store'}")

    @property
    def _given(self) -> dict[str, str]:
        return dict(zip(self.options, self.options[1:], strict=False))

    @property
    def log(self) -> Path:
        return self.data_dir.with_name(f"{self.data_dir.name}.log")

    def start(self) -> None:
        """Start it and wait for its ready line; its log goes to `log`."""
        sources = [
            option
            for name, path in self.sources.items()
            for option in ("--source", f"{name}=file://{path}")
        ]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [
                    *self.command,
                    "--data-dir",
                    str(self.data_dir),
                    "--grpc",
                    self.grpc,
                    "--http",
                    self.http,
                    *sources,
                    *self.options,
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **self.variables},  # noqa: TID251  (a child inherits it)
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self._reap()
            raise AssertionError(f"The server did not start:\n{self.log.read_text()[-4000:]}")
        self.ready = json.loads(line)
        # Later starts listen where clients look for the server.
        self.grpc = self.ready["grpc"]
        self.http = self.ready["http"].partition("://")[2]

    def stop(self) -> int:
        """Ask it to drain; give its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def kill(self) -> int:
        """End it as a crash would."""
        assert self.process is not None
        self.process.kill()
        return self._reap()

    def _reap(self) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        status = self.process.wait(STOP_SECONDS)
        self.process.stdout.close()
        self.process = None
        return status


@pytest.fixture
def sources_dir(tmp_path: Path) -> Path:
    """The folder that the server's one source is."""
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


@pytest.fixture
def make_server(tmp_path: Path, sources_dir: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Make servers on folders of their own; those that still run at the end are killed."""
    servers: list[ServerProcess] = []

    def make(**options: Any) -> ServerProcess:
        data_dir = options.pop("data_dir", tmp_path / f"data{len(servers)}")
        servers.append(ServerProcess(data_dir=data_dir, sources={"images": sources_dir}, **options))
        return servers[-1]

    yield make
    for server in servers:
        if server.process is not None:
            server.kill()


@pytest.fixture
def server(make_server: Callable[..., ServerProcess]) -> Iterator[ServerProcess]:
    """A started server; it must drain cleanly at the end."""
    process = make_server()
    process.start()
    yield process
    if process.process is not None:
        assert process.stop() == 0, process.log.read_text()[-4000:]
