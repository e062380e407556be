"""System images on a real server, by the command line and over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from clouddesktop.client import connect
from parts.disks import MIB, is_same, random_bytes, write_raw
from parts.official import OfficialClient
from parts.server import ServerProcess


def run(server: ServerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "clouddesktop", "--profile", str(server.profile), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def record_of(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_system_image_outlives_the_image_it_was_made_of(
    server: ServerProcess, sources_dir: Path, tmp_path: Path
) -> None:
    """Publish, delete the image, collect, scrub, export; withdraw, collect: the space is back."""
    disk = sources_dir / "golden.raw"
    write_raw(disk, size=8 * MIB, data={0: random_bytes(4 * MIB, seed=1)})
    client = OfficialClient(server.profile)
    client.wait(client.copy("golden", "Golden", description="It is.", labels={"os": "x"}).id)
    own = record_of(run(server, "image", "get", "Golden", "--format", "json"))

    published = record_of(run(server, "image", "publish", "Golden", "--format", "json"))
    assert published.pop("id") != own.pop("id")
    assert published.pop("created_at") > own.pop("created_at")
    assert own.pop("folder_id") == client.folder_id
    assert published == own
    again = run(server, "image", "publish", "Golden")
    assert again.returncode != 0
    assert "already exists" in again.stderr
    second = ("image", "publish", "Golden", "--name", "Second", "--format", "json")
    assert record_of(run(server, *second))["name"] == "Second"
    listed = record_of(run(server, "image", "list", "--format", "json"))
    assert [(each["name"], "folder_id" in each) for each in listed] in (
        [("Golden", True), ("Golden", False), ("Second", False)],
        [("Golden", False), ("Golden", True), ("Second", False)],
    )
    assert run(server, "image", "list").stdout.count("| yes ") == 2
    assert run(server, "image", "withdraw", "Second").returncode == 0

    assert run(server, "image", "delete", "Golden").returncode == 0  # the folder's own
    for refused in (("delete", "Golden"), ("update", "Golden", "--new-name", "New")):
        done = run(server, "image", *refused)
        assert done.returncode != 0
        assert "is a system image" in done.stderr
    assert record_of(run(server, "store", "gc", "--format", "json"))["state"] == "done"
    scrubbed = record_of(run(server, "store", "scrub", "--format", "json"))
    assert scrubbed["state"] == "done"
    output = tmp_path / "back.raw"
    assert run(server, "image", "export", "Golden", "--output", str(output)).returncode == 0
    assert is_same(disk, output)

    withdrawn = run(server, "image", "withdraw", "Golden", "--format", "json")
    assert "Withdrew Golden" in withdrawn.stderr
    assert "folder_id" not in record_of(withdrawn)
    assert record_of(run(server, "image", "list", "--format", "json")) == []
    assert record_of(run(server, "store", "gc", "--format", "json"))["state"] == "done"
    assert record_of(run(server, "store", "stats", "--format", "json"))["stored_bytes"] == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "image_id"),
        ({"image_id": 1}, "image_id"),
        ({"image_id": "x", "name": "n" * 51}, "name"),
    ],
)
async def test_what_is_wrong_with_a_request_is_named(
    server: ServerProcess, body: dict[str, Any], field: str
) -> None:
    """As the API does."""
    async with connect(server.profile) as connection:
        assert connection.tokens is not None
        token = await connection.tokens.get()
        profile = connection.profile
    async with httpx.AsyncClient(base_url=profile.rest, verify=profile.make_ssl_context()) as http:
        path = "/system-images/v1/images"
        headers = {"authorization": f"Bearer {token}"}
        answer = await http.post(path, json=body, headers=headers)
        assert answer.status_code == 400
        assert answer.json()["message"].startswith(f"Validation error:\n{field}: ")
        answer = await http.post(path, json={"image_id": "x"})
        assert answer.status_code == 401
        answer = await http.delete(f"{path}/x", headers=headers)
        assert answer.status_code == 404
