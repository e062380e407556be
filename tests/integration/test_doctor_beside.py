"""The doctor beside servers and workers: what merely changes is no fault, and mending waits."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import DeleteDesktopImageRequest

from parts.cluster import LEASE_SECONDS, PROGRAM, Cluster
from parts.disks import MIB, random_bytes, write_raw
from parts.official import OfficialClient
from parts.server import ServerProcess
from parts.store_calls import StoreCalls

LOOKS = 6


def examine(data_dir: Path, *options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [*PROGRAM, "doctor", "--data-dir", str(data_dir), "--format", "json", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def change_much(client: OfficialClient, store: StoreCalls, ended: threading.Event) -> int:
    """Copy changing files, delete and collect, over and over; gives how often."""
    rounds = 0
    while not ended.is_set():
        for name in ("one", "two"):
            done = client.wait(client.copy(name, f"{name}-{rounds}").id)
            image = DesktopImage()
            assert done.response.Unpack(image), done
            if name == "one":
                deleted = client.images.Delete(DeleteDesktopImageRequest(image_id=image.id))
                client.wait(deleted.id)
        store.collect()
        rounds += 1
    return rounds


def test_what_changes_is_no_fault(
    make_server: Callable[..., ServerProcess], sources_dir: Path
) -> None:
    """Copies, deletions and collections go on; each look finds nothing wrong."""
    for seed, name in enumerate(("one", "two")):
        write_raw(
            sources_dir / f"{name}.raw",
            size=64 * MIB,
            data={at * MIB: random_bytes(3 * MIB, seed=seed * 100 + at) for at in range(0, 64, 8)},
        )
    server = make_server()
    server.start()
    store = StoreCalls(server.profile)
    ended = threading.Event()
    rounds: list[int] = []
    worker = threading.Thread(
        target=lambda: rounds.append(change_much(OfficialClient(server.profile), store, ended))
    )
    worker.start()
    try:
        for _ in range(LOOKS):
            status, found = examine(server.data_dir, "--source", f"images={sources_dir.as_uri()}")
            assert (status, found["wrong"]) == (0, 0), found
    finally:
        ended.set()
        worker.join()
    assert rounds[0] > 0
    store.close()
    assert server.stop() == 0


def test_mending_waits_for_no_living_worker(cluster: Cluster) -> None:
    """While workers live it is refused; a dead one is waited for; then workers start again."""
    write_raw(cluster.sources_dir / "one.raw", size=MIB, data={0: random_bytes(MIB, seed=1)})
    server = cluster.make_server()
    server.start()
    worker = cluster.make_worker()
    worker.start()
    settings = (
        *("--database", cluster.database_url, "--store", cluster.store_url),
        *("--source", f"images={cluster.sources_dir.as_uri()}"),
        *("--worker-lease", str(LEASE_SECONDS)),
    )
    assert examine(cluster.folder, *settings)[0] == 0
    refused = subprocess.run(
        [*PROGRAM, "doctor", "--data-dir", str(cluster.folder), *settings, "--mend"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Stop all workers" in refused.stderr
    worker.kill()
    assert examine(cluster.folder, *settings, "--mend") == (
        0,
        {"wrong": 0, "mended": 0, "notes": 0, "findings": [], "not_listed": {}},
    )
    worker.start()
    client = OfficialClient(server.profile)
    assert client.wait(client.copy("one", "one").id).WhichOneof("result") == "response"
    assert worker.stop() == 0
    assert server.stop() == 0
