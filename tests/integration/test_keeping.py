"""Collections and figures on a real server, by the command line as people use it."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from clouddesktop.client import connect
from parts.disks import MIB, is_same, random_bytes, write_raw
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.server import ServerProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def record(self) -> Any:
        assert self.status == 0, self.err
        return json.loads(self.out)


def run(server: ServerProcess, *arguments: str) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-m", "clouddesktop", "--profile", str(server.profile), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(status=done.returncode, out=done.stdout, err=done.stderr)


def make_disks(sources_dir: Path) -> None:
    """Two disks that share 3 of their 8 MiB."""
    pieces = {index * MIB: random_bytes(MIB, seed=index) for index in range(8)}
    write_raw(sources_dir / "base.raw", size=8 * MIB, data=pieces)
    changed = {index * MIB: random_bytes(MIB, seed=10 + index) for index in range(3, 8)}
    write_raw(sources_dir / "patched.raw", size=8 * MIB, data={**pieces, **changed})


def test_space_comes_back_and_what_is_left_is_exact(
    server: ServerProcess, sources_dir: Path, tmp_path: Path
) -> None:
    """Copy twice, look, delete one, dry run, collect, export the other."""
    make_disks(sources_dir)
    client = OfficialClient(server.profile)
    for name in ("base", "patched"):
        assert client.wait(client.copy(name, name).id).WhichOneof("result") == "response"

    stats = run(server, "store", "stats", "--format", "json").record
    assert stats["logical_bytes"] == 16 * MIB
    assert stats["unique_bytes"] == 13 * MIB
    assert 13 * MIB <= stats["stored_bytes"] < 14 * MIB
    assert {each["name"]: each["exclusive_bytes"] // MIB for each in stats["images"]} == {
        "base": 5,
        "patched": 5,
    }
    shown = run(server, "store", "stats")
    assert "| EXCLUSIVE |" in shown.out
    assert "Last collection: never" in shown.out

    deleted = run(server, "image", "delete", "base", "--format", "json")
    assert deleted.record["done"] is True
    assert "Deleted base" in deleted.err

    foreseen = run(server, "store", "gc", "--dry-run")
    assert foreseen.status == 0
    assert "Would give back 5.25 MB" in foreseen.err
    assert "| WHY" in foreseen.out
    assert "No image has this content" in foreseen.out
    assert run(server, "store", "stats", "--format", "json").record["dead_bytes"] >= 5 * MIB

    collected = run(server, "store", "gc", "--format", "json").record
    assert collected["state"] == "done"
    assert collected["report"]["contents_removed"] == 1
    listed = run(server, "store", "runs", "--format", "json").record
    assert listed[0]["id"] == collected["id"]
    assert yaml.safe_load(run(server, "store", "wait", collected["id"]).out)["state"] == "done"
    refused = run(server, "store", "stop", collected["id"])
    assert refused.status == 1
    assert "cannot be stopped" in refused.err

    output = tmp_path / "out.raw"
    assert run(server, "image", "export", "patched", "--output", str(output)).status == 0
    assert is_same(output, sources_dir / "patched.raw")
    run(server, "image", "delete", "patched")
    report = run(server, "store", "gc", "--format", "json").record["report"]
    assert report["bytes_freed"] > 8 * MIB
    assert run(server, "store", "stats", "--format", "json").record["stored_bytes"] == 0
    assert server.stop() == 0
    inspection = Inspection.of(server.data_dir)
    inspection.check_store()
    assert not list(inspection.chunks.iter_packs())
    assert not list(inspection.manifests.iter_blobs())
    inspection.close()


async def get_access(server: ServerProcess) -> tuple[str, ssl.SSLContext]:
    """Get a token, and what to verify the server by."""
    async with connect(server.profile) as connection:
        assert connection.tokens is not None
        return await connection.tokens.get(), connection.profile.make_ssl_context()


def test_the_paths_say_what_is_wrong(server: ServerProcess) -> None:
    """Errors are Statuses, as everywhere: no token, bad orders, unknown runs."""
    settings = yaml.safe_load(server.profile.read_text())
    token, context = asyncio.run(get_access(server))
    with httpx.Client(base_url=settings["rest"], verify=context) as http:
        for path in ("/store/v1/stats", "/store/v1/runs", "/store/v1/runs/x"):
            assert http.get(path).status_code == 401
        http.headers["authorization"] = f"Bearer {token}"
        for body, words in (
            (b"", "no JSON"),
            (b"[]", "no JSON object"),
            (b"{}", "kind: Value must be one of hold, gc, scrub"),
            (b'{"kind": "gc", "dry_run": 1, "x": 2}', "dry_run: Value must be a bool"),
            (b'{"kind": "gc", "dry_run": 1, "x": 2}', "x: A run of the kind gc has no such"),
            (b" " * 70_000, "longer than"),
        ):
            answer = http.post("/store/v1/runs", content=body)
            assert answer.status_code == 400
            assert words in answer.json()["message"]
        assert http.get("/store/v1/runs?limit=0").status_code == 400
        missing = http.get("/store/v1/runs/e3knone")
        assert missing.status_code == 404
        assert missing.json()["message"] == "KeeperRun e3knone not found"
        assert http.post("/store/v1/runs/e3knone:stop").status_code == 404
        assert http.get("/store/v1/nothing").status_code == 404
        started = http.post("/store/v1/runs", json={"kind": "gc", "dry_run": True})
        assert started.status_code == 200
        assert started.json()["options"] == {"dry_run": True}
