"""Quotas by the command line, the official stubs and HTTP, against a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from yandex.cloud.quota.quota_pb2 import QuotaFailure

from parts.disks import MIB, random_bytes, write_raw
from parts.official import OfficialClient, refused
from parts.server import ServerProcess

CLI = (sys.executable, "-m", "clouddesktop")
COUNT, SIZE = "vdi.desktopImages.count", "vdi.desktopImages.size"


@pytest.fixture
def client(server: ServerProcess) -> OfficialClient:
    return OfficialClient(server.profile)


def run(server: ServerProcess, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*CLI, "--profile", str(server.profile), "--format", "json", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def quotas(server: ServerProcess) -> dict[str, tuple[Any, Any]]:
    done = run(server, "quota", "list")
    assert done.returncode == 0, done.stderr
    return {each["quota_id"]: (each["limit"], each["usage"]) for each in json.loads(done.stdout)}


@pytest.mark.proves("quota.bound")
def test_quotas_bound_copies(
    server: ServerProcess, client: OfficialClient, sources_dir: Path
) -> None:
    """By the count at once, by the size at once for known content and as an operation for new."""
    for name in ("golden", "other"):
        data = {0: random_bytes(MIB, seed=len(name) + ord(name[0]))}
        write_raw(sources_dir / f"{name}.raw", size=2 * MIB, data=data)
    assert quotas(server) == {COUNT: ("unlimited", 0), SIZE: ("unlimited", 0)}
    done = run(server, "quota", "set", COUNT, "1")
    assert (done.returncode, json.loads(done.stdout)["limit"]) == (0, 1), done.stderr
    first = client.wait(client.copy("golden", "golden").id)
    assert first.WhichOneof("result") == "response", first
    refusal = refused(lambda: client.copy("golden", "again"))
    assert refusal.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal.message == f"Quota limit {COUNT} exceeded"
    (violation,) = refusal.get_detail(QuotaFailure).violations
    assert (violation.metric.limit, violation.metric.usage, violation.required) == (1, 1, 2)

    assert run(server, "quota", "set", COUNT, "unlimited").returncode == 0
    _, stored = quotas(server)[SIZE]
    assert run(server, "quota", "set", SIZE, str(stored)).returncode == 0
    refusal = refused(lambda: client.copy("golden", "again"))  # known content
    assert refusal.message == f"Quota limit {SIZE} exceeded"
    failed = client.wait(client.copy("other", "other").id, timeout_seconds=20)
    assert failed.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert quotas(server) == {COUNT: ("unlimited", 1), SIZE: (stored, stored)}
    assert run(server, "quota", "set", SIZE, "1T").returncode == 0
    again = client.wait(client.copy("other", "other").id)
    assert again.WhichOneof("result") == "response", again


def test_wrong_limits_are_told(server: ServerProcess) -> None:
    """What the command line cannot read, and what the server does not know."""
    assert "LIMIT" in run(server, "quota", "set", COUNT, "many").stderr
    done = run(server, "quota", "set", "vdi.desktops.count", "1")
    assert done.returncode == 1
    assert "Quota vdi.desktops.count not found" in done.stderr
