"""The real server, killed with SIGKILL in every phase of a collection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import DeleteDesktopImageRequest

from clouddesktop.catalog import tables
from parts.disks import MIB, random_bytes, write_raw
from parts.faults import FAULTY_COMMAND
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.server import ServerProcess
from parts.store_calls import StoreCalls

pytestmark = pytest.mark.crash

PHASES = [
    "gc-contents-removed",
    "gc-packs-removed",
    "gc-examined",
    "gc-pack-put",
    "gc-packs-replaced",
    "gc-orphan-found",
]
FAR = 16 * MIB  # a hole that no range bridges: what lies behind it has a pack of its own


def make_disks(sources_dir: Path, number: int) -> None:
    """Two disks: the second has a quarter of the first one's first pack, and not its second."""
    first = [random_bytes(MIB, seed=100 * number + each) for each in range(4)]
    pieces = {index * MIB: piece for index, piece in enumerate(first)}
    far = {FAR: random_bytes(MIB, seed=100 * number + 50)}
    write_raw(sources_dir / f"old{number}.raw", size=FAR + MIB, data={**pieces, **far})
    write_raw(sources_dir / f"new{number}.raw", size=MIB, data={0: first[0]})


def test_a_collection_survives_a_kill_in_every_phase(
    make_server: Callable[..., ServerProcess], sources_dir: Path, tmp_path: Path
) -> None:
    """The next server brings it to its end by itself; nothing live is lost, nothing dead stays."""
    server = make_server(
        command=FAULTY_COMMAND, variables={"FAULT_LOG": str(tmp_path / "faults.log")}
    )
    for number, phase in enumerate(PHASES):
        make_disks(sources_dir, number)
        server.variables["FAULT_KILL"] = phase
        server.start()
        client = OfficialClient(server.profile)
        images = {}
        for name in (f"old{number}", f"new{number}"):
            images[name] = DesktopImage()
            client.wait(client.copy(name, name).id).response.Unpack(images[name])
        client.images.Delete(DeleteDesktopImageRequest(image_id=images[f"old{number}"].id))
        stray = server.data_dir / f"store/packs/e3ostray{number}/0-1-1"
        stray.parent.mkdir()
        stray.write_bytes(b"what a crash has left")
        calls = StoreCalls(server.profile)
        run_id = calls.start()
        calls.close()
        assert server.process is not None
        assert server.process.wait(60) == -9
        server.kill()
        del server.variables["FAULT_KILL"]
        server.start()
        calls = StoreCalls(server.profile)
        calls.wait(run_id)
        if number == len(PHASES) - 1:
            calls.collect()
        calls.close()
        assert not stray.exists()
        server.kill()
    inspection = Inspection.of(server.data_dir)
    try:
        for name, image_id in inspection.rows(tables.images.c.name, tables.images.c.id):
            inspection.check_image(image_id, sources_dir / f"{name}.raw")
        inspection.check_store()
        assert inspection.count(tables.chunks) == 4 * len(PHASES)
        assert len(list(inspection.manifests.iter_blobs())) == len(PHASES)
    finally:
        inspection.close()
