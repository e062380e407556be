"""How much memory a large copy takes."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psutil
import pytest
from yandex.cloud.operation.operation_service_pb2 import GetOperationRequest

from parts.disks import MIB
from parts.official import OfficialClient
from parts.server import ServerProcess

GIB = 1 << 30
LIMIT = 400 * MIB
DATA = 2 * GIB


@pytest.fixture
def large_disk(sources_dir: Path) -> str:
    """A raw disk of 64 GiB with 2 GiB of data that neither compresses nor repeats."""
    path = sources_dir / "large.raw"
    piece = 32 * MIB
    with Path("/dev/urandom").open("rb") as random, path.open("wb") as file:
        file.truncate(64 * GIB)
        for index in range(DATA // piece):
            file.seek(index * GIB)
            file.write(random.read(piece))
    return "large"


@pytest.mark.slow
@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_a_large_copy_stays_within_its_memory(
    make_server: Callable[..., ServerProcess],
    sources_dir: Path,
    large_disk: str,
    disk_format: str,
) -> None:
    """64 GiB with 2 GiB of data: no process of the server's exceeds 400 MiB at any time."""
    if disk_format == "qcow2":
        raw = sources_dir / f"{large_disk}.raw"
        target = sources_dir / f"{large_disk}.qcow2"
        subprocess.run(
            ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(target)], check=True
        )
        raw.unlink()
    server = make_server()
    server.start()
    client = OfficialClient(server.profile)
    assert server.process is not None
    with PeakMemory(server.process.pid) as peak:
        operation = client.wait(client.copy(large_disk, "large").id, timeout_seconds=600)
    assert operation.WhichOneof("result") == "response", operation
    _, call = client.operations.Get.with_call(GetOperationRequest(operation_id=operation.id))
    progress = json.loads(dict(call.trailing_metadata())["x-operation-progress"])
    assert progress["bytes_new"] == DATA
    print(f"peaks in MiB: {[round(each / MIB) for each in peak.sizes.values()]}")  # noqa: T201  (for the closing note)
    assert peak.sizes
    assert max(peak.sizes.values()) < LIMIT
    assert server.stop() == 0


class PeakMemory:
    """Watches the resident memory of a process, by the kernel's own peak, and of its children."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.sizes: dict[int, int] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            for each in [self._process, *self._process.children(recursive=True)]:
                try:
                    status = Path(f"/proc/{each.pid}/status").read_text()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                for line in status.splitlines():
                    if line.startswith("VmHWM:"):
                        self.sizes[each.pid] = int(line.split()[1]) * 1024
