"""Backups made while a server works, everything lost, both restored: docs/backup.md, as it says."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import DeleteDesktopImageRequest
from yandex.cloud.operation.operation_pb2 import Operation

from parts.cluster import LEASE_SECONDS
from parts.disks import MIB, is_same, random_bytes, write_raw
from parts.official import OfficialClient
from parts.postgres import Postgres
from parts.restorer import Restorer
from parts.seaweedfs import BUCKET, SeaweedFS
from parts.server import ServerProcess

SECONDS = 120
_FOLDER_PARTS = ("keys", "tls")


class Site(ABC):
    """One installation: a server, and what its operator backs up and restores."""

    def __init__(self, folder: Path, sources: Path) -> None:
        self.folder = folder
        self.sources = sources
        self.backup = folder / "backup"
        self.backup.mkdir()
        self.variables: dict[str, str] = {}
        self.server = self.make_server()

    @property
    def client(self) -> OfficialClient:
        return OfficialClient(self.server.profile)

    @abstractmethod
    def make_server(self) -> ServerProcess:
        """Make a server on what there is now."""

    @abstractmethod
    def save_catalogue(self) -> None:
        """Back the database up while it is used."""

    @abstractmethod
    def save_store(self) -> None:
        """Back the store up while it is used."""

    @abstractmethod
    def restore(self) -> None:
        """Put both where a new server finds them."""

    def save_folder(self) -> None:
        for name in _FOLDER_PARTS:
            shutil.copytree(self.server.data_dir / name, self.backup / name)

    def lose(self) -> None:
        """End the server as a crash would, and take its folder."""
        self.server.kill()
        shutil.rmtree(self.server.data_dir)

    def restore_folder(self) -> None:
        self.server.data_dir.mkdir()
        for name in _FOLDER_PARTS:
            shutil.copytree(self.backup / name, self.server.data_dir / name)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "clouddesktop", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            env={**os.environ, **self.variables},  # noqa: TID251  (a child inherits it)
        )

    def ask(self, *arguments: str) -> Any:
        """Run a verb of the client, and give its answer."""
        done = self.run(*arguments, "--profile", str(self.server.profile), "--format", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def doctor(self, *options: str) -> tuple[int, dict[str, Any]]:
        done = self.run(
            *("doctor", "--data-dir", str(self.server.data_dir), "--format", "json"),
            *("--source", f"images={self.sources.as_uri()}"),
            *self.server.options,
            *options,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def copy(self, name: str) -> DesktopImage:
        return image_of(self.client.wait(self.client.copy(name, name).id))

    def delete(self, image: DesktopImage) -> None:
        self.client.wait(self.client.images.Delete(DeleteDesktopImageRequest(image_id=image.id)).id)

    def check(self, image: DesktopImage) -> None:
        """Export an image by the command line, and compare every byte."""
        output = self.folder / "exported.raw"
        output.unlink(missing_ok=True)
        done = self.run(
            *("image", "export", image.id, "--output", str(output)),
            *("--profile", str(self.server.profile)),
        )
        assert done.returncode == 0, done.stderr
        assert is_same(output, self.sources / f"{image.name}.raw")


class LocalSite(Site):
    """SQLite, and a store in a folder."""

    def make_server(self) -> ServerProcess:
        return ServerProcess(data_dir=self.folder / "data", sources={"images": self.sources})

    def save_catalogue(self) -> None:
        database = sqlite3.connect(self.server.data_dir / "clouddesktop.db")
        database.execute("VACUUM INTO ?", (str(self.backup / "clouddesktop.db"),))
        database.close()

    def save_store(self) -> None:
        store = self.server.data_dir / "store"
        shutil.copytree(store, self.backup / "store", ignore=shutil.ignore_patterns("staging"))

    def restore(self) -> None:
        self.restore_folder()
        shutil.copy(self.backup / "clouddesktop.db", self.server.data_dir)
        shutil.copytree(self.backup / "store", self.server.data_dir / "store")


class SharedSite(Site):
    """PostgreSQL, and a store in S3."""

    def __init__(
        self, folder: Path, sources: Path, *, postgres: Postgres, seaweedfs: SeaweedFS
    ) -> None:
        self._postgres = postgres
        self._s3 = seaweedfs
        self._database = postgres.make_database()
        self._prefix = seaweedfs.new_prefix()
        super().__init__(folder, sources)
        self.variables = seaweedfs.variables

    def make_server(self) -> ServerProcess:
        return ServerProcess(
            data_dir=self.folder / "data",
            sources={"images": self.sources},
            options=(
                *("--database", self._database, "--store", f"s3://{BUCKET}/{self._prefix}"),
                *("--worker-lease", str(LEASE_SECONDS)),
            ),
            variables=self._s3.variables,
        )

    def save_catalogue(self) -> None:
        self._postgres_program("pg_dump", "--format=custom", f"--file={self.backup / 'dump'}")

    def save_store(self) -> None:
        bucket = self._s3.open_bucket(BUCKET, prefix=self._prefix)
        for batch in obstore.list(bucket):
            for each in batch:
                path = self.backup / "store" / each["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(obstore.get(bucket, each["path"]).bytes())

    def restore(self) -> None:
        self._database = self._postgres.make_database()
        self._prefix = self._s3.new_prefix()
        data_dir = self.server.data_dir
        self.server = self.make_server()
        assert self.server.data_dir == data_dir
        self.restore_folder()
        self._postgres_program("pg_restore", "--no-owner", str(self.backup / "dump"))
        bucket = self._s3.open_bucket(BUCKET, prefix=self._prefix)
        for path in (self.backup / "store").rglob("*"):
            if path.is_file():
                obstore.put(bucket, str(path.relative_to(self.backup / "store")), path.read_bytes())

    def _postgres_program(self, name: str, *options: str) -> None:
        program = self._postgres.programs / name
        subprocess.run([program, "--dbname", self._database, *options], check=True)


@pytest.fixture(params=["sqlite+folder", "postgres+s3"])
def site(request: pytest.FixtureRequest, tmp_path: Path, sources_dir: Path) -> Iterator[Site]:
    """An installation with a server that runs; disks of several ranges lie in its source."""
    for seed, name in enumerate(("first", "second", "third", "fourth", "large")):
        size = (640 if name == "large" else 40) * MIB
        data = {at: random_bytes(16 * MIB, seed=seed * 100 + at) for at in range(0, size, 40 * MIB)}
        write_raw(sources_dir / f"{name}.raw", size=size, data=data)
    if request.param == "sqlite+folder":
        made: Site = LocalSite(tmp_path, sources_dir)
    else:
        made = SharedSite(
            tmp_path,
            sources_dir,
            postgres=request.getfixturevalue("postgres"),
            seaweedfs=request.getfixturevalue("seaweedfs"),
        )
    made.server.start()
    yield made
    if made.server.process is not None:
        made.server.kill()


def image_of(operation: Operation) -> DesktopImage:
    image = DesktopImage()
    assert operation.WhichOneof("result") == "response", operation
    assert operation.response.Unpack(image)
    return image


def kinds(found: dict[str, Any], state: str) -> set[str]:
    return {each["kind"] for each in found["findings"] if each["state"] == state}


def subjects(found: dict[str, Any], kind: str) -> set[str]:
    return {each["subject"] for each in found["findings"] if each["kind"] == kind}


def test_a_backup_made_while_copies_run(site: Site) -> None:
    """What the catalogue knew when its backup was made is there, whatever was deleted since."""
    first, second = site.copy("first"), site.copy("second")
    running = site.client.copy("large", "large")
    run = site.ask("store", "hold", "--for", "3600")
    assert run["state"] == "running"
    site.delete(first)
    waiting = site.ask("store", "gc", "--async")
    site.save_catalogue()
    site.save_folder()
    site.copy("third")
    site.delete(second)
    site.save_store()
    assert site.ask("store", "runs")[0]["state"] == "waiting"
    site.ask("store", "stop", run["id"])
    site.run("store", "wait", waiting["id"], "--profile", str(site.server.profile))
    site.copy("fourth")
    site.lose()

    site.restore()
    status, found = site.doctor()
    assert status == 1
    assert "unknown_content" in kinds(found, "wrong")
    assert not kinds(found, "wrong") & {"damaged_image", "missing_pack"}
    assert subjects(found, "hold") == {run["id"]}
    site.doctor("--mend")
    restorer = Restorer(site.folder)
    rescued = [
        restorer.restored(site.backup / "store", digest)
        for digest in subjects(found, "unknown_content")
    ]
    assert any(is_same(each, site.sources / "third.raw") for each in rescued)
    site.server.start()
    site.check(second)
    outcome = site.client.wait(running.id)
    if outcome.WhichOneof("result") == "response":
        site.check(image_of(outcome))
    site.check(site.copy("third"))
    site.ask("store", "stop", run["id"])
    site.run("store", "wait", waiting["id"], "--profile", str(site.server.profile))
    site.run("store", "gc", "--profile", str(site.server.profile))
    site.check(second)
    status, found = site.doctor()
    assert (status, kinds(found, "wrong")) == (0, set()), found
    assert site.server.stop() == 0


def test_a_store_that_is_older_than_the_catalogue(site: Site) -> None:
    """Images made in between are named, and marked; a scrub takes their bytes from the source."""
    first = site.copy("first")
    site.save_store()
    second = site.copy("second")
    site.save_folder()
    site.save_catalogue()
    site.lose()

    site.restore()
    status, found = site.doctor()
    assert status == 1
    assert subjects(found, "damaged_image") == {second.id}
    assert site.doctor("--mend")[0] == 1
    site.server.start()
    site.check(first)
    refused = site.run(
        *("image", "export", second.id, "--output", str(site.folder / "refused.raw")),
        *("--profile", str(site.server.profile)),
    )
    assert refused.returncode == 1
    site.ask("store", "scrub")
    site.check(second)
    site.check(site.copy("third"))
    status, found = site.doctor()
    assert (status, kinds(found, "wrong")) == (0, set()), found
    assert site.server.stop() == 0
