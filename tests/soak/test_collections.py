"""Collections in a loop beside copies and deletions of overlapping images, on a real server.

20 seconds here; `make soak ARGS=30` goes on for 30 minutes. The counts are printed.
"""

from __future__ import annotations

import os
import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import DeleteDesktopImageRequest

from clouddesktop.catalog import tables
from clouddesktop.model.manifest import CHUNK_SIZE
from parts.disks import write_raw
from parts.faults import FAULTY_COMMAND
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.server import ServerProcess
from parts.store_calls import StoreCalls

pytestmark = pytest.mark.slow

SECONDS = 60 * float(os.environ.get("SOAK_MINUTES", "0.33"))  # noqa: TID251  (make soak sets it)
COPIERS = 3
CHUNKS = 24  # of a disk, each one of POOL contents: any two disks share some
POOL = 60


class Soak:
    """What the threads share: the counts, and which disk each image must read as."""

    def __init__(self, server: ServerProcess, sources_dir: Path, *, seed: int) -> None:
        self.server = server
        self.sources_dir = sources_dir
        self.seed = seed
        self.deadline = time.monotonic() + SECONDS
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.expected: dict[str, Path] = {}

    def count(self, what: str, number: int = 1) -> None:
        with self.lock:
            self.counts[what] += number

    def copy_and_delete(self, number: int) -> None:
        """Copy disk after disk, and delete images at random, until the time is over."""
        chance = random.Random(f"{self.seed}-{number}")  # noqa: S311  (test data)
        client = OfficialClient(self.server.profile)
        mine: list[str] = []
        for turn in range(1_000_000):
            if time.monotonic() > self.deadline:
                return
            name = f"disk-{number}-{turn}"
            path = self.sources_dir / f"{name}.raw"
            pieces = {
                index * CHUNK_SIZE: random.Random(chance.randrange(POOL)).randbytes(CHUNK_SIZE)  # noqa: S311  (test data)
                for index in range(CHUNKS)
            }
            write_raw(path, size=CHUNKS * CHUNK_SIZE, data=pieces)
            operation = client.wait(client.copy(name, name).id)
            image = DesktopImage()
            assert operation.response.Unpack(image), operation
            self.count("copies")
            self.expected[image.id] = path
            mine.append(image.id)
            while len(mine) > 1 and chance.random() < 0.6:
                gone = mine.pop(chance.randrange(len(mine)))
                client.images.Delete(DeleteDesktopImageRequest(image_id=gone))
                self.expected.pop(gone).unlink()
                self.count("deletes")

    def collect(self) -> None:
        calls = StoreCalls(self.server.profile)
        while time.monotonic() < self.deadline:
            report = calls.collect()
            assert report["problems"] == []
            self.count("collections")
            for name in ("packs_removed", "packs_rewritten", "chunks_dropped", "packs_left"):
                self.count(name, report[name])
        for _ in range(2):
            calls.collect()
        calls.close()


def test_no_copy_meets_a_collection_badly(
    make_server: Callable[..., ServerProcess], sources_dir: Path, tmp_path: Path
) -> None:
    """Every copy succeeds, every image that is left reads exactly, nothing dead is left."""
    log = tmp_path / "faults.log"
    server = make_server(
        command=FAULTY_COMMAND,
        options=("--workers", str(COPIERS)),
        variables={"FAULT_LOG": str(log)},
    )
    server.start()
    seed = secrets.randbits(32)
    soak = Soak(server, sources_dir, seed=seed)
    with ThreadPoolExecutor(COPIERS + 1) as threads:
        works = [threads.submit(soak.copy_and_delete, number) for number in range(COPIERS)]
        collecting = threads.submit(soak.collect)
        for each in works:
            each.result()
        collecting.result()
    calls = StoreCalls(server.profile)
    for _ in range(2):
        calls.collect()
    calls.close()
    events = Counter(each.partition(":")[0] for each in log.read_text().split())
    soak.count("ranges re-read", events["range-begin"] - events["range-recorded"])
    print(f"soak of {SECONDS:.0f} s, seed {seed}: {dict(soak.counts)}")  # noqa: T201  (what a soak is for)
    assert soak.counts["collections"] > 3
    assert soak.counts["copies"] > 3
    assert server.stop() == 0
    inspection = Inspection.of(server.data_dir)
    try:
        assert set(inspection.column(tables.images.c.id)) == set(soak.expected)
        for image_id, path in soak.expected.items():
            inspection.check_image(image_id, path)
        inspection.check_store()
        contents = inspection.column(tables.manifests.c.digest)
        assert len(list(inspection.manifests.iter_blobs())) == len(contents)
    finally:
        inspection.close()
