"""Servers whose very first start is the installation's, at the same moment."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
import yaml

from clouddesktop.catalog import tables
from clouddesktop.catalog.engine import Database
from parts.cluster import Cluster
from parts.disks import MIB, random_bytes
from parts.official import OfficialClient
from parts.postgres import Postgres
from parts.seaweedfs import BUCKET, SeaweedFS

pytestmark = pytest.mark.crash

SERVERS = 3


def test_servers_that_start_first_together_make_one_installation(
    postgres: Postgres, seaweedfs: SeaweedFS, cluster: Cluster
) -> None:
    """One default folder and one admin, with a key for each server; what one makes all know."""
    assert postgres.process is not None
    cluster.store_url = f"s3://{BUCKET}/{seaweedfs.new_prefix()}"
    cluster.variables |= seaweedfs.variables
    (cluster.sources_dir / "disk.raw").write_bytes(random_bytes(2 * MIB, seed=1))
    servers = [cluster.make_server() for _ in range(SERVERS)]
    worker = cluster.make_worker()
    with ThreadPoolExecutor(SERVERS + 1) as threads:
        starts = [threads.submit(each.start) for each in servers]
        starts.append(threads.submit(worker.start))
        for each in starts:
            each.result()
    clients = [OfficialClient(each.profile) for each in servers]
    profiles = [yaml.safe_load(each.profile.read_text()) for each in servers]
    assert len({each["folder_id"] for each in profiles}) == 1
    keys = [json.loads((each.data_dir / "keys" / "admin.json").read_text()) for each in servers]
    assert len({each["service_account_id"] for each in keys}) == 1
    assert len({each["id"] for each in keys}) == SERVERS
    assert count(cluster, tables.service_accounts) == 1
    operation = clients[0].copy("disk", "disk")
    assert clients[1].wait(operation.id).WhichOneof("result") == "response"
    assert clients[2].copy("disk", "again").done  # its content is known
    assert worker.stop() == 0
    for server in servers:
        assert server.stop() == 0


def count(cluster: Cluster, table: sa.Table) -> int:
    database = Database(cluster.database_url)
    try:
        query = sa.select(sa.func.count()).select_from(table)
        return int(database.read(lambda each: each.execute(query).scalar_one()))
    finally:
        database.close()
