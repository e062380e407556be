"""The real server, killed or stopped while it unpacks a compressed disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage

from parts.disks import MIB, random_bytes
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.packing import make_sparse
from parts.server import ServerProcess
from parts.waiting import wait_for

pytestmark = pytest.mark.crash

SIZES = {"xz": 1 << 30, "zst": 4 << 30}  # two seconds each
DATA = random_bytes(4 * MIB, seed=1)


def is_unpacking(server: ServerProcess) -> bool:
    """Tell whether a nameless file in the spool holds all of the data, with zeros to follow."""
    assert server.process is not None
    for each in Path(f"/proc/{server.process.pid}/fd").iterdir():
        try:
            is_spooled = str(each.readlink()).startswith(str(server.data_dir / "spool" / "#"))
            if is_spooled and each.stat().st_size >= len(DATA):
                return True
        except FileNotFoundError:  # closed since it was listed
            continue
    return False


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_copy_survives_the_end_of_a_server_that_unpacks(
    make_server: Callable[..., ServerProcess],
    sources_dir: Path,
    kind: str,
    end: str,
) -> None:
    """The next one unpacks anew; the image is exact and nothing is left in the spool."""
    raw = sources_dir.parent / "disk.raw"
    make_sparse(raw, sources_dir / f"disk.raw.{kind}", kind=kind, head=DATA, size=SIZES[kind])
    server = make_server()
    server.start()
    operation_id = OfficialClient(server.profile).copy("disk", "disk").id
    wait_for(lambda: is_unpacking(server), "the disk is unpacked")
    if end == "kill":
        server.kill()
    else:
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5
    assert list((server.data_dir / "spool").iterdir()) == []
    server.start()
    operation = OfficialClient(server.profile).wait(operation_id)
    image = DesktopImage()
    assert operation.response.Unpack(image), operation
    assert server.stop() == 0
    assert list((server.data_dir / "spool").iterdir()) == []
    inspection = Inspection.of(server.data_dir)
    inspection.check_image(image.id, raw)
    inspection.check_store()
    inspection.close()
