"""Servers and workers in processes of their own, on one PostgreSQL and one store."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from clouddesktop.catalog import tables
from parts.faults import FAULTY_COMMAND
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.postgres import Postgres
from parts.server import ServerProcess

STOP_SECONDS = 30
SLOW_RANGE_SECONDS = 0.5

LEASE_SECONDS = 2
PROGRAM = (sys.executable, "-m", "clouddesktop")


@dataclass
class WorkerProcess:
    """A worker; may be killed, paused and started again, each time under a new name."""

    data_dir: Path
    variables: dict[str, str]
    process: subprocess.Popen[str] | None = None
    id: str = ""
    program: tuple[str, ...] = PROGRAM

    @property
    def log(self) -> Path:
        return self.data_dir.with_name(f"{self.data_dir.name}.log")

    def start(self) -> None:
        """Start it and wait for its ready line."""
        command = [*self.program, "worker", "--data-dir", str(self.data_dir)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **self.variables},  # noqa: TID251  (a child inherits it)
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.wait()
            raise AssertionError(f"The worker did not start:\n{self.log.read_text()[-4000:]}")
        self.id = json.loads(line)["worker"]

    def signal(self, number: signal.Signals) -> None:
        """Send SIGSTOP, SIGCONT and the like."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, *, timeout_seconds: float = STOP_SECONDS) -> int:
        """Ask it to drain; give its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout_seconds=timeout_seconds)

    def kill(self) -> int:
        """End it as a crash would."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def wait(self, *, timeout_seconds: float = STOP_SECONDS) -> int:
        """Wait for its end; give its exit status."""
        assert self.process is not None
        assert self.process.stdout is not None
        status = self.process.wait(timeout_seconds)
        self.process.stdout.close()
        self.process = None
        return status


@dataclass
class Cluster:
    """The processes of one installation. Whatever still runs at the end is killed."""

    folder: Path
    database_url: str
    store_url: str
    variables: dict[str, str] = field(default_factory=dict)
    servers: list[ServerProcess] = field(default_factory=list)
    workers: list[WorkerProcess] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def sources_dir(self) -> Path:
        return self.folder / "images"

    def make_server(self, *, workers: int = 0, program: tuple[str, ...] = PROGRAM) -> ServerProcess:
        """Make a server that accepts copies, and leaves them to others but for `workers`."""
        number = next(self._numbers)
        server = ServerProcess(
            data_dir=self.folder / f"server{number}",
            sources={"images": self.sources_dir},
            command=(*program, "serve"),
            options=(
                *("--database", self.database_url, "--store", self.store_url),
                *("--workers", str(workers)),
            ),
            variables={"CLOUDDESKTOP_WORKER_LEASE": str(LEASE_SECONDS), **self.variables},
        )
        self.servers.append(server)
        return server

    def start_server(self, *, workers: int = 0) -> tuple[ServerProcess, OfficialClient]:
        """Make a server, start it, and give its client, too."""
        server = self.make_server(workers=workers)
        server.start()
        return server, OfficialClient(server.profile)

    def make_noting_worker(self, notes: Path) -> WorkerProcess:
        """Make a worker that notes in a file which failpoints it passes."""
        return self.make_worker(program=FAULTY_COMMAND, FAULT_LOG=str(notes))

    def make_slow_worker(self, **variables: str) -> WorkerProcess:
        """Make a worker whose copies take some time, whatever their size: a bit for each range."""
        slow = {"FAULT_SLOW": str(SLOW_RANGE_SECONDS), "FAULT_LOG": os.devnull}
        return self.make_worker(program=FAULTY_COMMAND, **slow, **variables)

    def make_worker(self, *, program: tuple[str, ...] = PROGRAM, **variables: str) -> WorkerProcess:
        """Make a worker that runs two copies at a time."""
        worker = WorkerProcess(
            data_dir=self.folder / f"worker{next(self._numbers)}",
            program=program,
            variables={
                "CLOUDDESKTOP_DATABASE": self.database_url,
                "CLOUDDESKTOP_STORE": self.store_url,
                "CLOUDDESKTOP_SOURCE": f"images=file://{self.sources_dir}",
                "CLOUDDESKTOP_WORKER_LEASE": str(LEASE_SECONDS),
                **self.variables,
                **variables,
            },
        )
        self.workers.append(worker)
        return worker

    @contextmanager
    def inspected(self) -> Iterator[Inspection]:
        """Look at what is really in the database and the store."""
        inspection = Inspection.of_shared(self.database_url, self.store_url, self.variables)
        yield inspection
        inspection.close()

    def find_operation(self, operation_id: str) -> Any:
        """Give an operation's row."""
        query = sa.select(tables.operations).where(tables.operations.c.id == operation_id)
        with self.inspected() as inspection:
            return inspection.database.read(lambda each: each.execute(query).one())

    def end(self) -> None:
        """Kill what still runs."""
        for worker in self.workers:
            if worker.process is not None:
                worker.kill()
        for server in self.servers:
            if server.process is not None:
                server.kill()


@pytest.fixture
def cluster(postgres: Postgres, tmp_path: Path) -> Iterator[Cluster]:
    """An installation of which nothing runs yet."""
    made = Cluster(
        folder=tmp_path,
        database_url=postgres.make_database(),
        store_url=(tmp_path / "store").as_uri(),
    )
    made.sources_dir.mkdir()
    yield made
    made.end()
